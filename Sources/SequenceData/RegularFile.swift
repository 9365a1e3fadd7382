import Glibc

/// A regular file that is open for reading; closed when the value ends. What gzip has packed is unpacked to a temporary file.
struct RegularFile: ~Copyable {
  let descriptor: Int32
  /// In bytes, when it was opened.
  let size: Int
  /// Whether it is a temporary file of what was packed or comes from a command.
  let isCopy: Bool

  /// Why a path could not be opened as a regular file.
  enum OpeningError: Error {
    /// The system's reason.
    case failed(reason: String)
    /// A directory, pipe, socket or device.
    case notRegular(found: String)
    /// Packed by gzip, or a command, and there is no plain file of it.
    case unpacking(UnpackingError)
  }

  init(path: String) throws(OpeningError) {
    // O_NONBLOCK: opening a pipe that nobody writes to must give an error, not wait. It changes nothing for regular files.
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw .failed(reason: systemMessage(errno)) }
    var status = stat()
    // SAFETY: `status` outlives the call, which writes one `struct stat`.
    guard unsafe fstat(descriptor, &status) == 0 else {
      let reason = systemMessage(errno)
      close(descriptor)
      throw .failed(reason: reason)
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      close(descriptor)
      throw .notRegular(found: Self.kind(status.st_mode))
    }
    var start: [UInt8] = [0, 0]
    // SAFETY: two bytes are read into a buffer of two. What cannot be read is found out by whoever reads on.
    if unsafe pread(descriptor, &start, 2, 0) == 2, isGzip(start) {
      do {
        self.init(try unpack(closing: descriptor))
      } catch {
        throw .unpacking(error)
      }
      return
    }
    self.init(descriptor: descriptor, size: Int(status.st_size), isCopy: false)
  }

  /// What a command of the shell writes.
  init(command: String) throws(OpeningError) {
    do {
      self.init(try output(ofCommand: command))
    } catch {
      throw .unpacking(error)
    }
  }

  private init(_ file: consuming TemporaryFile) {
    let size = file.size
    self.init(descriptor: file.take(), size: size, isCopy: true)
  }

  private init(descriptor: Int32, size: Int, isCopy: Bool) {
    self.descriptor = descriptor
    self.size = size
    self.isCopy = isCopy
  }

  deinit { close(descriptor) }

  private static func kind(_ mode: mode_t) -> String {
    switch mode & S_IFMT {
    case S_IFDIR: "directory"
    case S_IFIFO: "pipe"
    case S_IFSOCK: "socket"
    default: "device"
    }
  }
}

/// What stands at a path, links followed.
struct FileStatus {
  /// `S_IFREG` and the like.
  let kind: mode_t
  private let device: dev_t
  private let number: ino_t

  /// Nil where nothing is, or nothing that can be looked at.
  init?(_ path: String) {
    var status = stat()
    // SAFETY: `status` outlives the call, which writes one `struct stat`.
    guard unsafe stat(path, &status) == 0 else { return nil }
    kind = status.st_mode & S_IFMT
    device = status.st_dev
    number = status.st_ino
  }

  /// Whether both are one file, under whatever names.
  func isSameFile(as other: FileStatus) -> Bool { device == other.device && number == other.number }
}

/// The system's words for an error number.
func systemMessage(_ code: Int32) -> String {
  // SAFETY: strerror returns a terminated string, which is copied before any other call.
  unsafe String(cString: strerror(code))
}

/// What may be the matter with a path that cannot be opened, for the end of a message; empty where it looks like any other.
package func remark(onPath path: String) -> String {
  if path.hasPrefix("~") { return " (a leading ~ is not expanded: write the whole path)" }
  if path.unicodeScalars.contains("\r") { return " (the name has a carriage return, U+000D: do lines end with CR?)" }
  if let found = InvisibleCharacter.first(in: path) { return " (the name has \(found.character), character \(found.column))" }
  for quote in ["\"", "'"] where path.count > 1 && path.hasPrefix(quote) && path.hasSuffix(quote) {
    return " (the quotes count as part of the name)"
  }
  return path.hasPrefix(" ") || path.hasSuffix(" ") ? " (the name begins or ends with a space)" : ""
}
