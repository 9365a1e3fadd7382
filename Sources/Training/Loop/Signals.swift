import CKernels
import MPI

/// The signals that ask a run to write a checkpoint and end: SIGUSR1, SIGTERM, SIGINT and SIGHUP.
enum Signals {
  /// Notes them from now on. To be called after MPI has started, which sets handlers of its own.
  static func catchAll() { lockstep_catch_signals() }

  /// Whether one came.
  static var received: Bool { lockstep_signal_received() != 0 }

  /// All ranks ask together, in work that takes longer than a step.
  /// - Throws: `StoppedBySignal` on all if a signal has come to any.
  static func check(_ world: Communicator) throws {
    if try world.allGather(received ? 1 : 0).contains(1) { throw StoppedBySignal() }
  }
}

/// A signal came in a validation, a test or population statistics, which all ranks have given up for it. A resumed run does them again.
struct StoppedBySignal: Error {}
