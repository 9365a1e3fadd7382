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

  /// Writes the first `count` bytes of `bytes` at the end.
  func append(_ bytes: [UInt8], count: Int) throws(UnpackingError) {
    var written = 0
    while written < count {
      // SAFETY: the pointer is used within the closure, for bytes `written ..< count` of the buffer.
      let result = unsafe bytes.withUnsafeBytes { unsafe write(descriptor, $0.baseAddress! + written, count - written) }
      if result >= 0 {
        written += result
      } else if errno != EINTR {
        throw .noRoom(folder: Self.folder, reason: systemMessage(errno))
      }
    }
  }

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
  // SAFETY: the stream is closed on every path below, by `gzclose_r`, and closes the descriptor.
  guard let stream = unsafe gzdopen(descriptor, "rb") else {
    close(descriptor)
    throw .damaged(reason: "zlib has no memory")
  }
  var buffer = [UInt8](repeating: 0, count: 1 << 18)
  var fault: UnpackingError?
  while fault == nil {
    let room = UInt32(buffer.count)
    // SAFETY: zlib writes at most `room` bytes to the buffer.
    let count = unsafe buffer.withUnsafeMutableBytes { unsafe gzread(stream, $0.baseAddress!, room) }
    if count == 0 { break }
    if count < 0 {
      var code: Int32 = 0
      // SAFETY: gzerror returns a terminated string that lives until the stream is closed, and is copied.
      let message = unsafe String(cString: gzerror(stream, &code))
      // It begins with the name that zlib gives to a descriptor.
      fault = .damaged(reason: message.hasPrefix("<fd:") ? String(message.drop { $0 != " " }.dropFirst()) : message)
      break
    }
    do { try output.append(buffer, count: Int(count)) } catch { fault = error }
  }
  let end = unsafe gzclose_r(stream)
  if fault == nil && end == Z_BUF_ERROR { fault = .damaged(reason: "the file ends in the middle of a stream") }
  if let fault { throw fault }
  return output
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
