import Glibc

/// A regular file that is read from its start, piece by piece; closed when the value ends.
struct FileReader: ~Copyable {
  let path: String
  private let descriptor: Int32
  private var offset = 0

  /// - Throws: `CorpusError.cannotOpen`, `.notARegularFile`.
  init(path: String) throws(CorpusError) {
    // O_NONBLOCK: opening a pipe that nobody writes to must give an error, not wait. It changes nothing for regular files.
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw .cannotOpen(file: path, reason: systemMessage(errno)) }
    var status = stat()
    // SAFETY: `status` outlives the call, which writes one `struct stat`.
    guard unsafe fstat(descriptor, &status) == 0 else {
      let reason = systemMessage(errno)
      close(descriptor)
      throw .cannotOpen(file: path, reason: reason)
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      close(descriptor)
      throw .notARegularFile(file: path, found: Self.kind(status.st_mode))
    }
    self.path = path
    self.descriptor = descriptor
  }

  deinit { close(descriptor) }

  /// Reads on into `buffer[start...]`.
  /// - Returns: the number of bytes read; 0 at the end of the file only.
  /// - Throws: `CorpusError.cannotRead`.
  mutating func read(into buffer: inout [UInt8], from start: Int) throws(CorpusError) -> Int {
    precondition(start < buffer.count, "no room to read into")
    while true {
      // SAFETY: the pointer is used within the closure, for as many bytes as the rebased slice holds.
      let count = unsafe buffer.withUnsafeMutableBytes { bytes in
        let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[start...])
        return unsafe Glibc.read(descriptor, rest.baseAddress, rest.count)
      }
      if count >= 0 {
        offset += count
        return count
      }
      let code = errno
      if code != EINTR { throw .cannotRead(file: path, offset: offset, reason: systemMessage(code)) }
    }
  }

  private static func kind(_ mode: mode_t) -> String {
    switch mode & S_IFMT {
    case S_IFDIR: "directory"
    case S_IFIFO: "pipe"
    case S_IFSOCK: "socket"
    default: "device"
    }
  }
}

/// The system's words for an error number.
private func systemMessage(_ code: Int32) -> String {
  // SAFETY: strerror returns a terminated string, which is copied before any other call.
  unsafe String(cString: strerror(code))
}
