/// The arguments of `lockstep train`.
public struct TrainRequest: Sendable {
  /// The configuration file.
  public var configuration: String
  /// Where the run lies; nil for `Runs/<name of the configuration>`.
  public var runDirectory: String?
  /// Whether a run that is there goes on.
  public var resume: Bool
  /// A safetensors file with initial weights.
  public var initializeFrom: String?
  /// Whether a run goes on with other training data than it began with.
  public var newData: Bool
  /// Whether nothing is trained and nothing written: the run is checked, and what it takes is said.
  public var isDryRun: Bool
  /// The updates of which a trace is written into the run directory, from 1.
  public var traceSteps: ClosedRange<Int>?
  /// `KEY=VALUE`, later ones win.
  public var overrides: [String]
  /// Threads of each rank.
  public var threads: Int

  /// The arguments as the command line gives them.
  public init(
    configuration: String, runDirectory: String? = nil, resume: Bool = false, initializeFrom: String? = nil,
    newData: Bool = false, isDryRun: Bool = false, traceSteps: ClosedRange<Int>? = nil, overrides: [String] = [], threads: Int = 1
  ) {
    self.configuration = configuration
    self.runDirectory = runDirectory
    self.resume = resume
    self.initializeFrom = initializeFrom
    self.newData = newData
    self.isDryRun = isDryRun
    self.traceSteps = traceSteps
    self.overrides = overrides
    self.threads = threads
  }

  /// The run directory, with its default.
  var directory: RunDirectory {
    if let runDirectory { return RunDirectory(path: runDirectory) }
    var name = configuration.split(separator: "/").last.map(String.init) ?? configuration
    for suffix in [".yaml", ".yml"] where name.hasSuffix(suffix) && name.count > suffix.count {
      name.removeLast(suffix.count)
    }
    return RunDirectory(path: "Runs/\(name)")
  }
}
