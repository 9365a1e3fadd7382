import CKernels

/// The signals that ask a run to write a checkpoint and end: SIGUSR1, SIGTERM and SIGINT.
enum Signals {
  /// Notes them from now on. To be called after MPI has started, which sets handlers of its own.
  static func catchAll() { lockstep_catch_signals() }

  /// Whether one came.
  static var received: Bool { lockstep_signal_received() != 0 }
}
