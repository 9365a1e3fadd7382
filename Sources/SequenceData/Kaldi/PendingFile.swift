import Glibc

/// A file that is written under a temporary name beside its own; removed unless it is committed.
final class PendingFile {
  private static let chunk = 1 << 20
  private let path: String
  private let temporary: String
  /// −1 when it is closed.
  private var descriptor: Int32
  private var isCommitted = false
  private var buffer: [UInt8] = []
  private var written = 0

  /// - Throws: `KaldiError.cannotWrite`.
  init(path: String) throws(KaldiError) {
    self.path = path
    // Another process that writes the same archive has a file of its own.
    temporary = "\(path).partial-\(getpid())"
    descriptor = unsafe open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
    if descriptor < 0 {
      // Nothing is there to be removed.
      isCommitted = true
      throw .cannotWrite(file: path, reason: systemMessage(errno))
    }
  }

  deinit {
    if descriptor >= 0 { close(descriptor) }
    if !isCommitted { _ = unsafe unlink(temporary) }
  }

  /// Bytes appended so far.
  var count: Int { written + buffer.count }

  func append(_ bytes: [UInt8]) throws(KaldiError) {
    buffer.append(contentsOf: bytes)
    if buffer.count >= Self.chunk { try flush() }
  }

  func append(littleEndian number: UInt32) throws(KaldiError) {
    for shift in stride(from: UInt32(0), to: 32, by: 8) { buffer.append(UInt8(truncatingIfNeeded: number >> shift)) }
    if buffer.count >= Self.chunk { try flush() }
  }

  /// All of it reaches the disk, and the file is closed.
  func synchronize() throws(KaldiError) {
    try flush()
    try check(fsync(descriptor))
    // The descriptor is gone whatever close says.
    let closed = close(descriptor)
    descriptor = -1
    try check(closed)
  }

  /// Gives the file its name, for good.
  func commit() throws(KaldiError) {
    try check(unsafe rename(temporary, path))
    isCommitted = true
    let directory = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
    let handle = unsafe open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    try check(handle)
    defer { close(handle) }
    let result = fsync(handle)
    // File systems that cannot synchronise a directory say EINVAL: there is nothing more to do on them.
    if result != 0, errno != EINVAL { try check(result) }
  }

  private func flush() throws(KaldiError) {
    var start = 0
    while start < buffer.count {
      // SAFETY: the pointer is used within the closure, for as many bytes as the rebased slice holds.
      let result = unsafe buffer.withUnsafeBytes { bytes in
        let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[start...])
        return unsafe write(descriptor, rest.baseAddress, rest.count)
      }
      if result < 0, errno == EINTR { continue }
      try check(Int32(truncatingIfNeeded: min(result, 0)))
      start += result
    }
    written += buffer.count
    buffer.removeAll(keepingCapacity: true)
  }

  private func check(_ result: Int32) throws(KaldiError) {
    if result < 0 { throw .cannotWrite(file: path, reason: systemMessage(errno)) }
  }
}
