import CKernels
import Glibc

/// Programs that this one starts, and that die with it.
enum ChildProcess {
  /// Starts a program. To be called by the main thread: the child is told to end where the thread that started it does.
  /// - output, errors: descriptors for what it says; negative ones: where this program says it.
  /// - Returns: its process number, or a negative number.
  static func spawn(_ command: [String], environment: [String]? = nil, output: Int32 = -1, errors: Int32 = -1) -> Int32 {
    var arguments = unsafe command.map { unsafe strdup($0) } + [nil]
    var variables = unsafe (environment ?? []).map { unsafe strdup($0) } + [nil]
    defer { for unsafe text in unsafe arguments + variables { unsafe free(text) } }
    // SAFETY: strings that live until the call has returned, and a null pointer after the last of each.
    if environment == nil { return unsafe lockstep_spawn(&arguments, nil, output, errors, SIGTERM) }
    return unsafe lockstep_spawn(&arguments, &variables, output, errors, SIGTERM)
  }

  /// The exit code of a process, as a shell has it; nil while it runs.
  static func exitCode(_ process: Int32) -> Int32? {
    var status: Int32 = 0
    let found = unsafe waitpid(process, &status, WNOHANG)
    if found == 0 || found < 0 && errno == EINTR { return nil }
    if found < 0 { return ExitCode.internalFault.rawValue }
    return status & 0x7F == 0 ? status >> 8 & 0xFF : 128 + status & 0x7F
  }
}
