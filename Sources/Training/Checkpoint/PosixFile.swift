import Glibc

/// An open file: whole reads and writes with typed errors. It is closed when the value goes away.
package struct PosixFile: ~Copyable {
  /// How a file is opened.
  package enum Mode {
    /// An existing file, to read.
    case read
    /// A new file, to write; one that exists is an error.
    case create
    /// A file to read and write at its end; made if there is none. A link is not followed: what it leads to is somebody else's.
    case append
    /// A file to read and write; made if there is none. A link is not followed.
    case update

    // O_NONBLOCK: a pipe without another end must give an error, not wait. It changes nothing for regular files.
    var flags: Int32 {
      switch self {
      case .read: O_RDONLY | O_CLOEXEC | O_NONBLOCK
      case .create: O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC
      case .append: O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW
      case .update: O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW
      }
    }
  }

  /// The path that it was opened with.
  package let path: String
  private let system: FileSystem
  /// Invariant: an open descriptor that nothing else closes, or -1 after `close`.
  private var descriptor: Int32

  /// Opens `path`, which must be a regular file. (A directory opens for reading, and refuses to be read.)
  package init(_ path: String, _ mode: Mode, system: FileSystem = FileSystem()) throws(FileError) {
    descriptor = try Self.open(path, mode, system)
    self.path = path
    self.system = system
  }

  private static func open(_ path: String, _ mode: Mode, _ system: FileSystem) throws(FileError) -> Int32 {
    let descriptor: Int32
    do {
      descriptor = Int32(try system.call(mode == .create ? .create : .open, path) { Int(unsafe Glibc.open(path, mode.flags, 0o666)) })
    } catch {
      // A link at the end of the path, where none is followed, and not a circle of them on the way.
      if error.code == ELOOP && mode != .read, (try? system.kind(path)) == .link { throw FileError(.open, path, found: "a symbolic link") }
      throw error
    }
    var status = stat()
    do { try system.call(.status, path) { Int(unsafe fstat(descriptor, &status)) } } catch {
      Glibc.close(descriptor)
      throw error
    }
    let kind = status.st_mode & S_IFMT
    guard kind == S_IFREG || kind == S_IFDIR else {
      Glibc.close(descriptor)
      throw FileError(.open, path, found: words(kind))
    }
    return descriptor
  }

  private static func words(_ kind: mode_t) -> String {
    switch kind {
    case S_IFIFO: "a pipe"
    case S_IFSOCK: "a socket"
    default: "a device"
    }
  }

  /// Takes the lock of the system on the whole file, which goes with the process.
  /// - Returns: whether another process holds it. File systems without locks cannot say that somebody does.
  package func isLockedElsewhere() -> Bool { flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK }

  deinit { if descriptor >= 0 { Glibc.close(descriptor) } }

  /// Calls `body` with a copy of the descriptor that programs inherit which are started there: they share its locks and its position.
  package func withInheritedDescriptor<R>(_ body: (Int32) -> R) -> R {
    let copy = dup(descriptor)
    defer { Glibc.close(copy) }
    return body(copy)
  }

  /// Size in bytes, and whether it is an ordinary file (a device has no size).
  package func status() throws(FileError) -> (bytes: Int, isRegular: Bool) {
    var status = stat()
    try system.call(.status, path) { Int(unsafe fstat(descriptor, &status)) }
    return (Int(status.st_size), status.st_mode & S_IFMT == S_IFREG)
  }

  /// When its content was changed last, in seconds by the clock of the file system.
  package func modified() throws(FileError) -> Double {
    var status = stat()
    try system.call(.status, path) { Int(unsafe fstat(descriptor, &status)) }
    return Double(status.st_mtim.tv_sec) + Double(status.st_mtim.tv_nsec) / 1e9
  }

  /// Writes all of `bytes` at the current position; what a short write leaves is written by further calls.
  package func write(_ bytes: RawSpan) throws(FileError) {
    var done = 0
    while done < bytes.byteCount {
      let rest = bytes.extracting(done..<bytes.byteCount)
      let count = try system.call(.write, path) {
        unsafe rest.withUnsafeBytes { unsafe Glibc.write(descriptor, $0.baseAddress, $0.count) }
      }
      // A file that takes nothing and reports nothing would make this a loop without end.
      if count == 0 { throw FileError(.write, path, code: EIO) }
      done += count
    }
  }

  /// Fills `bytes` from `offset` on, as far as the file reaches.
  /// - Returns: bytes read; fewer than asked for only at the file's end.
  package func read(into bytes: inout MutableRawSpan, at offset: Int) throws(FileError) -> Int {
    var done = 0
    let total = bytes.byteCount
    while done < total {
      let count = try system.call(.read, path) {
        unsafe bytes.withUnsafeMutableBytes { buffer in
          unsafe pread(descriptor, buffer.baseAddress! + done, total - done, off_t(offset + done))
        }
      }
      if count == 0 { break }
      done += count
    }
    return done
  }

  /// Fills `buffer` from `offset` on, as far as the file reaches.
  /// - Returns: bytes read; fewer than the buffer holds only at the file's end.
  package func read(into buffer: inout [UInt8], at offset: Int) throws(FileError) -> Int {
    var span = buffer.mutableSpan
    // A file's bytes are valid bytes whatever they are.
    var bytes = unsafe span.mutableBytes
    return try read(into: &bytes, at: offset)
  }

  /// Cuts the file to `bytes`.
  package func truncate(to bytes: Int) throws(FileError) {
    try system.call(.truncate, path) { Int(ftruncate(descriptor, off_t(bytes))) }
  }

  /// Waits until the content is on the disk.
  package func synchronize() throws(FileError) {
    try system.call(.synchronize, path) { Int(fsync(descriptor)) }
  }

  /// Asks the system to forget its cached copy of the content, so that the next read comes from the disk. Advice: it cannot fail.
  package func dropCache() { _ = posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED) }

  /// Closes the file; some file systems report a failed write only here.
  package mutating func close() throws(FileError) {
    let closing = descriptor
    descriptor = -1
    // On Linux the descriptor is gone even when `close` was interrupted, so it is never closed a second time.
    try system.call(.close, path) {
      let result = Glibc.close(closing)
      return result < 0 && errno == EINTR ? 0 : Int(result)
    }
  }
}
