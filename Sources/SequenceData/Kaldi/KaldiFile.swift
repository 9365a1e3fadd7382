import Glibc
import Synchronization

/// A file of an archive or an index, or what a command writes that ends with `|`, read by position; closed with the last reference.
final class KaldiFile: Sendable {
  let path: String
  private let file: RegularFile
  /// In bytes, when it was opened.
  var size: Int { file.size }
  /// Whether it is a temporary file of what was packed or comes from a command.
  var isCopy: Bool { file.isCopy }

  /// Opens a file, or runs a command.
  /// - allowsCommands: whether a path that ends with `|` is a command; without it is a file like others.
  /// - Throws: `KaldiError.cannotOpen`, `.notARegularFile`, `.cannotUnpack`, `.command`.
  init(path: String, allowsCommands: Bool) throws(KaldiError) {
    do {
      file = allowsCommands && KaldiSource.isCommand(path) ? try RegularFile(command: String(path.dropLast())) : try RegularFile(path: path)
    } catch {
      switch error {
      case .failed(let reason): throw .cannotOpen(file: path, reason: reason)
      case .notRegular(let found): throw .notARegularFile(file: path, found: found)
      case .unpacking(.noRoom(let folder, let reason)):
        throw .cannotUnpack(file: path, reason: "a temporary file in \(folder) (TMPDIR) cannot be written: \(reason)")
      case .unpacking(.damaged(let reason)): throw .cannotUnpack(file: path, reason: reason)
      case .unpacking(.command(let ending, let message)): throw .command(path, ending: ending, message: message)
      }
    }
    self.path = path
  }

  /// Reads into `buffer[0 ..< count]`. Positions past the end of the file hold nothing: a file that shrinks gives fewer bytes, no fault.
  /// - Returns: the number of bytes read, fewer than `count` only if the file ends.
  /// - Throws: `KaldiError.cannotRead`.
  func read(at offset: Int, count: Int, into buffer: inout [UInt8]) throws(KaldiError) -> Int {
    precondition(offset >= 0 && count <= buffer.count, "the buffer has room")
    let descriptor = file.descriptor
    var filled = 0
    while filled < count {
      // SAFETY: the pointer is used within the closure, for bytes `filled ..< count` of the buffer, which has at least `count`.
      let result = unsafe buffer.withUnsafeMutableBytes { bytes in
        let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[filled..<count])
        return unsafe pread(descriptor, rest.baseAddress, rest.count, off_t(offset + filled))
      }
      if result == 0 { break }
      if result > 0 {
        filled += result
      } else {
        let code = errno
        if code != EINTR { throw .cannotRead(file: path, offset: offset + filled, reason: systemMessage(code)) }
      }
    }
    return filled
  }
}

/// The archives of a table that are packed or come from commands: they are unpacked once, for all readers.
final class KaldiArchives: Sendable {
  private let files = Mutex<[ByteString: KaldiFile]>([:])

  /// The archive at `path`.
  /// - Throws: as `KaldiFile.init`.
  func file(_ path: String, allowsCommands: Bool) throws(KaldiError) -> KaldiFile {
    let found: Result<KaldiFile, KaldiError> = files.withLock { files in
      if let file = files[ByteString(path)] { return .success(file) }
      do throws(KaldiError) {
        let file = try KaldiFile(path: path, allowsCommands: allowsCommands)
        if file.isCopy { files[ByteString(path)] = file }
        return .success(file)
      } catch {
        return .failure(error)
      }
    }
    return try found.get()
  }
}

/// Open files by number, the ones used last: an index may name more files than a process may open.
struct KaldiFileCache {
  static let limit = 64
  /// The one used last is last.
  private var slots: [(number: Int, file: KaldiFile)] = []

  /// File `number`, which is the one at `path`.
  /// - archives: what opens it, where it is an archive that the user has named.
  /// - Throws: as `KaldiFile.init`.
  mutating func file(_ number: Int, path: String, allowsCommands: Bool, archives: KaldiArchives? = nil) throws(KaldiError) -> KaldiFile {
    if let last = slots.last, last.number == number { return last.file }
    if let place = slots.firstIndex(where: { $0.number == number }) {
      slots.append(slots.remove(at: place))
    } else {
      if slots.count == Self.limit { slots.removeFirst() }
      let file =
        if let archives { try archives.file(path, allowsCommands: allowsCommands) } else { try KaldiFile(path: path, allowsCommands: allowsCommands) }
      slots.append((number, file))
    }
    return slots[slots.count - 1].file
  }
}

/// The bytes of a file by position, through a window that moves along.
///
/// A jump reads little, so that headers are read and payloads passed over; reading on from the end of the window reads more and more.
struct KaldiWindow {
  static let least = 512
  static let most = 1 << 18
  let file: KaldiFile
  private var buffer: [UInt8] = []
  private var start = 0
  private var filled = 0

  init(_ file: KaldiFile) { self.file = file }

  /// The byte at `offset`, or nil past the end of the file.
  mutating func byte(at offset: Int) throws(KaldiError) -> UInt8? {
    if offset >= start, offset - start < filled { return buffer[offset - start] }
    let isNext = filled > 0 && offset == start + filled
    let count = isNext ? min(filled * 4, Self.most) : Self.least
    if buffer.count < count { buffer = [UInt8](repeating: 0, count: count) }
    start = offset
    filled = 0
    filled = try file.read(at: offset, count: count, into: &buffer)
    return filled > 0 ? buffer[0] : nil
  }

  /// `count` bytes from `offset` on, fewer where the file ends.
  mutating func bytes(at offset: Int, count: Int) throws(KaldiError) -> [UInt8] {
    var bytes: [UInt8] = []
    while bytes.count < count, let byte = try byte(at: offset + bytes.count) { bytes.append(byte) }
    return bytes
  }
}
