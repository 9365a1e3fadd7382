import CKernels
import MPI

/// What asks a run to write a checkpoint and end: SIGUSR1, SIGTERM, SIGINT and SIGHUP, and the end of the launcher of a single rank. Several
/// ranks are ended by MPI when their launcher is killed; a single one does not start MPI.
enum Signals {
  /// The launcher of this process, if this process is its only rank.
  private static let launcher: Launcher? = LaunchedJob.current.flatMap { $0.mayHaveOthers ? nil : Launcher.ofThisProcess }

  /// Notes them from now on. To be called after MPI has started, which sets handlers of its own.
  static func catchAll() {
    lockstep_catch_signals()
    _ = launcher
  }

  /// Whether one came.
  static var received: Bool { lockstep_signal_received() != 0 || launcher?.isGone == true }

  /// All ranks ask together, in work that takes longer than a step.
  /// - Throws: `StoppedBySignal` on all if a signal has come to any.
  static func check(_ world: Communicator) throws {
    if try world.allGather(received ? 1 : 0).contains(1) { throw StoppedBySignal() }
  }
}

/// A signal came in a validation, a test or population statistics, which all ranks have given up for it. A resumed run does them again.
struct StoppedBySignal: Error {}
