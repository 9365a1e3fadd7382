import Glibc

/// A lock of the system on a file, which goes with the process. Who holds it stands in the file, for a message only: what a killed run
/// has left there is in nobody's way.
final class RunLock {
  private let file: PosixFile
  /// What the message says where another process holds the lock.
  static let isHeld = "another process trains there now"

  /// - directory: what is locked, in words.
  /// - Throws: `UsageError` where another process holds the lock; `FileError`.
  init(_ path: String, directory: String, host: String) throws {
    file = try PosixFile(path, .update)
    if file.isLockedElsewhere() {
      var text = [UInt8](repeating: 0, count: 300)
      let count = (try? file.read(into: &text, at: 0)) ?? 0
      let holder = String(decoding: text.prefix(count), as: UTF8.self).split(separator: "\n").first.map { " (\($0))" } ?? ""
      throw UsageError(description: "\(directory): \(Self.isHeld)\(holder); wait for its end, or name another --run-directory")
    }
    try? file.truncate(to: 0)
    try? unsafe file.write(Array("host \(host), process \(getpid())\n".utf8).span.bytes)
  }
}
