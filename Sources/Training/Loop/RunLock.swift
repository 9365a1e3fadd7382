import Glibc

/// A lock of the system on a file, which goes with the process. Who holds it stands in the file, for a message only: what a killed run
/// has left there is in nobody's way.
final class RunLock {
  /// Invariant: an open descriptor that only `deinit` closes.
  private let descriptor: Int32

  /// - directory: what is locked, in words.
  /// - Throws: `UsageError` where another process holds the lock; `FileError`.
  init(_ path: String, directory: String, host: String) throws {
    let system = FileSystem()
    let descriptor = Int32(try system.call(.open, path) { Int(unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)) })
    if flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
      // File systems without locks cannot say that somebody holds one.
      if errno == EWOULDBLOCK {
        var text = [UInt8](repeating: 0, count: 300)
        let count = unsafe pread(descriptor, &text, text.count, 0)
        close(descriptor)
        let holder = String(decoding: text.prefix(max(0, count)), as: UTF8.self).split(separator: "\n").first.map { " (\($0))" } ?? ""
        throw UsageError(description: "\(directory): another process trains there now\(holder); wait for its end, or name another --run-directory")
      }
    }
    self.descriptor = descriptor
    ftruncate(descriptor, 0)
    let text = Array("host \(host), process \(getpid())\n".utf8)
    _ = unsafe pwrite(descriptor, text, text.count, 0)
  }

  deinit { close(descriptor) }
}
