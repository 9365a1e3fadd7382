import CKernels
import CZlib
import Glibc

/// A file without a name in the folder for temporary files, open for reading and writing; it is gone when it is closed, however the process ends.
struct TemporaryFile: ~Copyable {
  let descriptor: Int32

  /// Where such files lie: `TMPDIR`, or `/tmp`.
  static var folder: String {
    // SAFETY: getenv returns a terminated string, which is copied before anything else is called.
    guard let value = unsafe getenv("TMPDIR") else { return "/tmp" }
    let text = unsafe String(cString: value)
    return text.isEmpty ? "/tmp" : text
  }

  init() throws(UnpackingError) {
    let folder = Self.folder
    // SAFETY: the text is terminated and lives until the call returns.
    let descriptor = unsafe lockstep_temporary_file(folder)
    guard descriptor >= 0 else { throw .noRoom(folder: folder, reason: systemMessage(-descriptor)) }
    self.descriptor = descriptor
  }

  deinit { close(descriptor) }

  /// Bytes in it.
  var size: Int {
    var status = stat()
    // SAFETY: `status` outlives the call, which writes one `struct stat`.
    return unsafe fstat(descriptor, &status) == 0 ? Int(status.st_size) : 0
  }

  /// Its descriptor, which the caller closes.
  consuming func take() -> Int32 {
    let descriptor = descriptor
    discard self
    return descriptor
  }
}

/// Why there is no plain file of what gzip has packed, or of what a command writes.
enum UnpackingError: Error {
  /// The temporary file cannot be made or written.
  case noRoom(folder: String, reason: String)
  /// Not what gzip writes, in zlib's words.
  case damaged(reason: String)
  /// The command cannot be started, or ended with other than 0; `message` is the last line that it wrote to standard error.
  case command(ending: String, message: String)
}

/// Whether bytes begin as those of gzip do.
func isGzip(_ start: [UInt8]) -> Bool { start.starts(with: [0x1F, 0x8B]) }

/// What gzip has packed, in a file of its own.
/// - descriptor: an open file, at its start; it is closed.
func unpack(closing descriptor: Int32) throws(UnpackingError) -> TemporaryFile {
  let output: TemporaryFile
  do {
    output = try TemporaryFile()
  } catch {
    close(descriptor)
    throw error
  }
  defer { close(descriptor) }
  var place: Int64 = 0
  // SAFETY: both descriptors are open, and `place` outlives the call.
  let code = unsafe lockstep_gunzip(descriptor, output.descriptor, &place)
  switch code {
  case 0: return output
  case ..<0: throw .noRoom(folder: TemporaryFile.folder, reason: systemMessage(-code))
  case Int32(LOCKSTEP_GZIP_CUT_OFF): throw .damaged(reason: "the file ends in the middle of a stream")
  case Int32(LOCKSTEP_GZIP_BEHIND): throw .damaged(reason: "what stands at byte \(place), behind a stream, is no stream")
  case Int32(LOCKSTEP_GZIP_UNREADABLE): throw .damaged(reason: "reading failed at byte \(place)")
  case Int32(LOCKSTEP_GZIP_MEMORY): throw .damaged(reason: "zlib has no memory")
  default: throw .damaged(reason: "the stream is damaged before byte \(place)")
  }
}

/// What a command of the shell writes to its standard output, in a file of its own.
/// - command: as it stands before the `|`.
func output(ofCommand command: String) throws(UnpackingError) -> TemporaryFile {
  let output = try TemporaryFile(), messages = try TemporaryFile()
  // SAFETY: the text is terminated and lives until the call returns; both descriptors are open.
  let code = unsafe lockstep_run_shell(command, output.descriptor, messages.descriptor)
  switch code {
  case 0: return output
  case ..<0: throw .command(ending: "cannot be started", message: systemMessage(-code))
  case 129...: throw .command(ending: "was ended by signal \(code - 128)", message: messages.lastLine)
  default: throw .command(ending: "ended with exit code \(code)", message: messages.lastLine)
  }
}

extension TemporaryFile {
  /// The last line that is not blank, shortened; empty where there is none.
  fileprivate var lastLine: String {
    let count = min(size, 4096), start = size - count
    var bytes = [UInt8](repeating: 0, count: count)
    // SAFETY: the pointer is used within the closure, for as many bytes as the buffer holds.
    let read = unsafe bytes.withUnsafeMutableBytes { unsafe pread(descriptor, $0.baseAddress, $0.count, off_t(start)) }
    let lines = String(decoding: bytes.prefix(max(0, read)), as: UTF8.self).split(whereSeparator: \.isNewline)
    let last = lines.last { !$0.allSatisfy(\.isWhitespace) } ?? ""
    return String(last.map { $0.isWhitespace ? " " : $0 }.prefix(300))
  }
}
