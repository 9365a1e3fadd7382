import Glibc

/// Where the mpiruns of one `lockstep launch` have their temporary files, and what they leave of a job that was killed: files there, and segments of
/// shared memory.
struct SessionFolder {
  /// The folder; nil where none can be made.
  let path: String?
  private static let sharedMemory = "/dev/shm"
  private let system = FileSystem()

  /// Makes the folder of this process, and removes those of others that have ended without doing so, if they are empty.
  init() {
    let parent = unsafe getenv("TMPDIR").map { unsafe String(cString: $0) } ?? "/tmp", prefix = "lockstep-launch.\(getuid())."
    for name in (try? system.names(in: parent)) ?? [] where name.hasPrefix(prefix) {
      guard let process = pid_t(name.dropFirst(prefix.count)), kill(process, 0) != 0, errno == ESRCH else { continue }
      unsafe _ = rmdir("\(parent)/\(name)")
    }
    let path = "\(parent)/\(prefix)\(getpid())"
    self.path = unsafe mkdir(path, 0o700) == 0 || errno == EEXIST ? path : nil
  }

  /// Clears what an mpirun of this folder has left, which has ended: nothing, unless it was killed.
  func clearDeadJob(_ process: pid_t) {
    guard let path else { return }
    for host in (try? system.names(in: path)) ?? [] {
      let job = "\(path)/\(host)/pid.\(process)"
      if let family = family(contact: "\(job)/contact.txt") { clearSegments(family) }
      try? system.removeTree(job)
      unsafe _ = rmdir("\(path)/\(host)")
    }
  }

  /// Removes the folder.
  func remove() { if let path { unsafe _ = rmdir(path) } }

  /// The upper half of a job's number, from the address that mpirun has left for others: `NUMBER.0;tcp://…`.
  private func family(contact: String) -> UInt32? {
    guard let file = try? PosixFile(contact, .read) else { return nil }
    var buffer = [UInt8](repeating: 0, count: 64)
    guard let count = try? file.read(into: &buffer, at: 0) else { return nil }
    return String(decoding: buffer[..<count], as: UTF8.self).split(separator: ".").first.flatMap { UInt32($0) }.map { $0 >> 16 }
  }

  /// Removes segments that carry the job's number: `vader_segment.HOST.USER.JOB.RANK`, JOB in hexadecimal digits.
  private func clearSegments(_ family: UInt32) {
    for name in (try? system.names(in: Self.sharedMemory)) ?? [] {
      let parts = name.split(separator: ".")
      guard parts.count >= 4, parts[0].hasPrefix("vader_segment") || parts[0].hasPrefix("osc_"), parts.contains("\(getuid())"),
        parts.dropFirst().contains(where: { $0.count >= 5 && UInt32($0, radix: 16).map { $0 >> 16 } == family })
      else { continue }
      unsafe _ = unlink("\(Self.sharedMemory)/\(name)")
    }
  }
}
