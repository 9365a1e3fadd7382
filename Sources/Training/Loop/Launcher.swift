import Glibc
import Synchronization

/// A process that starts ranks, or a daemon that starts them for it on one host.
final class Launcher: Sendable {
  private static let names: Set<String> = [
    "mpirun", "orterun", "orted", "mpiexec", "mpiexec.hydra", "hydra_pmi_proxy", "prterun", "prte", "prted", "slurmstepd",
  ]
  private let process: pid_t
  // When it was started: another process may have its number later.
  private let start: Substring
  private let state: Mutex<(nextLook: ContinuousClock.Instant, isGone: Bool)>

  private init(_ process: pid_t, start: Substring) {
    self.process = process
    self.start = start
    state = Mutex((.now + .seconds(1), false))
  }

  /// The nearest process above this one that is a launcher by its name; nil where there is none.
  static var ofThisProcess: Launcher? {
    var process = getppid()
    while process > 1, let entry = entry(process) {
      if names.contains(entry.name) { return Launcher(process, start: entry.start) }
      process = entry.parent
    }
    return nil
  }

  /// Whether it has ended. The system is asked once a second.
  var isGone: Bool {
    state.withLock { state in
      if !state.isGone && ContinuousClock.now >= state.nextLook {
        state.nextLook = .now + .seconds(1)
        let entry = Self.entry(process)
        state.isGone = entry.map { $0.start != start || $0.isDead } ?? (kill(process, 0) != 0 && errno == ESRCH)
      }
      return state.isGone
    }
  }

  /// What the system says of a process; nil where there is none of that number.
  private static func entry(_ process: pid_t) -> (name: String, parent: pid_t, start: Substring, isDead: Bool)? {
    // NUMBER (NAME) STATE PARENT …, with the time of the start as the 22nd field. The name may have any character.
    guard let text = systemText("/proc/\(process)/stat"), let open = text.firstIndex(of: "("), let close = text.lastIndex(of: ")"),
      open < close
    else { return nil }
    let fields = text[text.index(after: close)...].split(separator: " ")
    guard fields.count > 19, let parent = pid_t(fields[1]) else { return nil }
    return (String(text[text.index(after: open)..<close]), parent, fields[19], fields[0] == "Z" || fields[0] == "X")
  }
}
