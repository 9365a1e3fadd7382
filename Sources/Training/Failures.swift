import MPI
import SequenceData
import Tensors

// The exit code of each error that comes from outside: what `agree` carries from the failing rank to all.

// Configurations are read inside `agree`; what is checked outside it, all ranks check alike.
extension ConfigurationError: AgreedError {
  public var exitCode: Int32 { ExitCode.usage.rawValue }
}

extension CheckpointError: ExitCodeError {
  public var exitCode: Int32 { (isInputOutput ? ExitCode.inputOutput : .badData).rawValue }
}

extension SafetensorsError: ExitCodeError {
  public var exitCode: Int32 { (isInputOutput ? ExitCode.inputOutput : .badData).rawValue }
}

extension MetricsError: ExitCodeError {
  public var exitCode: Int32 { (isInputOutput ? ExitCode.inputOutput : .badData).rawValue }
}

extension FileError: ExitCodeError {
  public var exitCode: Int32 { (isInputOutput ? ExitCode.inputOutput : .badData).rawValue }
}

extension EigenError: ExitCodeError {
  public var exitCode: Int32 {
    switch self {
    case .noLibrary: ExitCode.usage.rawValue
    case .failed: ExitCode.badData.rawValue
    }
  }
}

extension CorpusError: ExitCodeError {
  public var exitCode: Int32 {
    if case .cannotRead = self { return ExitCode.inputOutput.rawValue }
    return ExitCode.badData.rawValue
  }
}

extension KaldiError: ExitCodeError {
  public var exitCode: Int32 {
    switch self {
    case .cannotRead, .cannotWrite: ExitCode.inputOutput.rawValue
    case .outputPath: ExitCode.usage.rawValue
    default: ExitCode.badData.rawValue
    }
  }
}

extension UtteranceError: ExitCodeError {
  public var exitCode: Int32 { ExitCode.badData.rawValue }
}

extension FeatureRecordError: ExitCodeError {
  var exitCode: Int32 { ExitCode.badData.rawValue }
}

/// An error that every rank throws alike, so that all can end in order.
protocol AgreedError: ExitCodeError {}

extension DivergenceError: AgreedError {
  var exitCode: Int32 { ExitCode.badData.rawValue }
}

extension NotFiniteError: ExitCodeError {
  var exitCode: Int32 { ExitCode.badData.rawValue }
}

/// A command that cannot be carried out as it was given.
struct UsageError: AgreedError, CustomStringConvertible {
  var description: String
  var exitCode: Int32 { ExitCode.usage.rawValue }
  var isOfUsage: Bool { true }

  /// A run is there that nobody asked to go on with.
  static func holdsRun(_ directory: RunDirectory) -> UsageError {
    UsageError(description: "\(directory.path) holds a run already; go on with it by --resume, or name another --run-directory")
  }
}

/// How a command ended on this rank.
public enum Termination {
  /// All ranks end alike: MPI can be finalised.
  case orderly(ExitCode)
  /// This rank alone failed: the others are to be aborted.
  case abort(code: Int32, message: String)
}

/// Runs the body of a command and says how to end. Rank 0 prints the one error that all ranks agree on; a rank that failed alone prints its own.
/// - command: its name, whose help an error of usage names.
public func run(_ command: String, world: Communicator, _ body: () throws -> ExitCode) -> Termination {
  do {
    return .orderly(try body())
  } catch let error as any ExitCodeError where error is RemoteFailure || error is any AgreedError {
    if world.rank == 0 { printError(oneLine(error, of: command)) }
    return .orderly(ExitCode(rawValue: error.exitCode) ?? .internalFault)
  } catch {
    let code = (error as? any ExitCodeError)?.exitCode ?? ExitCode.internalFault.rawValue
    return .abort(code: code, message: (world.size > 1 ? "rank \(world.rank): " : "") + oneLine(error, of: command))
  }
}

/// Runs the body of a command of one process; returns the exit code after printing the error, if any.
public func runAlone(_ command: String, _ body: () throws -> Void) -> Int32 {
  do {
    try body()
    return ExitCode.success.rawValue
  } catch {
    printError(oneLine(error, of: command))
    return (error as? any ExitCodeError)?.exitCode ?? ExitCode.internalFault.rawValue
  }
}

/// What an error says, on one line whatever names are in it. One of usage ends with the command that shows more.
func oneLine(_ error: any Error, of command: String) -> String {
  abbreviated("\(error)", limit: .max) + ((error as? any ExitCodeError)?.isOfUsage == true ? " (lockstep \(command) --help shows more)" : "")
}
