/// How the program ends: the exit status of the process, after BSD's `sysexits.h`.
public enum ExitCode: Int32, Sendable, CaseIterable {
  /// The command did what it was asked.
  case success = 0
  /// The command line or the configuration is wrong.
  case usage = 64
  /// The training data or a checkpoint is wrong.
  case badData = 65
  /// A fault of the program itself.
  case internalFault = 70
  /// Input or output failed: a full disk, say.
  case inputOutput = 74
  /// Stopped by a signal after a checkpoint was written: the same command with `--resume` goes on.
  case stoppedBySignal = 75
}
