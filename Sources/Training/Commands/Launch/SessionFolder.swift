import Glibc
import MPI

/// Where the mpiruns of one `lockstep launch` have their temporary files, and what they leave of a job that was killed: files there, and segments of
/// shared memory.
struct SessionFolder {
  /// The folder; nil where none can be made.
  let path: String?
  private static let sharedMemory = "/dev/shm"
  private static let system = FileSystem()

  /// Makes the folder of this process, and clears those of others that were killed together with their mpiruns.
  init() {
    let parent = unsafe getenv("TMPDIR").map { unsafe String(cString: $0) } ?? "/tmp", prefix = "lockstep-launch.\(getuid())."
    for name in (try? Self.system.names(in: parent)) ?? [] where name.hasPrefix(prefix) {
      guard let process = pid_t(name.dropFirst(prefix.count)), Self.isOver(process) else { continue }
      Self.clearDeadJobs(in: "\(parent)/\(name)", Self.isOver)
      unsafe _ = rmdir("\(parent)/\(name)")
    }
    let path = "\(parent)/\(prefix)\(getpid())"
    self.path = unsafe mkdir(path, 0o700) == 0 || errno == EEXIST ? path : nil
  }

  /// Clears what an mpirun of this folder has left, which has ended: nothing, unless it was killed.
  func clearDeadJob(_ process: pid_t) {
    if let path { Self.clearDeadJobs(in: path) { $0 == process } }
  }

  /// Clears what mpiruns of a folder have left, those that are over and were of this host: process numbers of another mean nothing here.
  private static func clearDeadJobs(in folder: String, _ isOver: (pid_t) -> Bool) {
    let host = "\(folder)/ompi.\(host).\(getuid())"
    for name in (try? system.names(in: host)) ?? [] where name.hasPrefix("pid.") {
      guard let process = pid_t(name.dropFirst(4)), isOver(process) else { continue }
      if let family = family(contact: "\(host)/\(name)/contact.txt") { clearSegments(family) }
      try? system.removeTree("\(host)/\(name)")
    }
    unsafe _ = rmdir(host)
  }

  private static func isOver(_ process: pid_t) -> Bool { kill(process, 0) != 0 && errno == ESRCH }

  /// The name of this host as Open MPI writes it: without its domain.
  private static var host: String {
    String(ProcessInformation.hostName.prefix { $0 != "." })
  }

  /// Removes the folder.
  func remove() { if let path { unsafe _ = rmdir(path) } }

  /// The upper half of a job's number, from the address that mpirun has left for others: `NUMBER.0;tcp://…`.
  private static func family(contact: String) -> UInt32? {
    guard let file = try? PosixFile(contact, .read) else { return nil }
    var buffer = [UInt8](repeating: 0, count: 64)
    guard let count = try? file.read(into: &buffer, at: 0) else { return nil }
    return String(decoding: buffer[..<count], as: UTF8.self).split(separator: ".").first.flatMap { UInt32($0) }.map { $0 >> 16 }
  }

  /// Removes segments that carry the job's number: `vader_segment.HOST.USER.JOB.RANK`, JOB in hexadecimal digits.
  private static func clearSegments(_ family: UInt32) {
    for name in (try? system.names(in: sharedMemory)) ?? [] {
      let parts = name.split(separator: ".")
      guard parts.count >= 4, parts[0].hasPrefix("vader_segment") || parts[0].hasPrefix("osc_"), parts.contains("\(getuid())"),
        parts.dropFirst().contains(where: { $0.count >= 5 && UInt32($0, radix: 16).map { $0 >> 16 } == family })
      else { continue }
      unsafe _ = unlink("\(sharedMemory)/\(name)")
    }
  }
}
