import Glibc

/// The directory of a run: its configuration, metrics and checkpoints.
struct RunDirectory {
  let path: String
  /// Faults that a test asks for in the files of checkpoints.
  var fileFaults: FileFaults?
  private let system = FileSystem()

  var store: CheckpointStore {
    guard let fileFaults else { return CheckpointStore(runDirectory: path) }
    return CheckpointStore(runDirectory: path, system: FileSystem { fileFaults.reach($0, $1) })
  }
  var configurationPath: String { "\(path)/config.yaml" }
  var metricsPath: String { "\(path)/metrics.jsonl" }
  /// Where the trace of some updates goes.
  func tracePath(_ steps: ClosedRange<Int>) -> String { "\(path)/trace-\(steps.lowerBound)-\(steps.upperBound).json" }

  /// Whether something of a run is there.
  func holdsRun() throws -> Bool {
    for file in [configurationPath, metricsPath] where try system.kind(file, followingLinks: true) != nil { return true }
    // A command that failed before its run began leaves an empty directory of checkpoints at most.
    let checkpoints = store.directory
    guard let kind = try system.kind(checkpoints, followingLinks: true) else { return false }
    return try kind != .directory || !system.names(in: checkpoints).isEmpty
  }

  /// Whether the metrics have events of a run before.
  func hasEvents() throws -> Bool { 
    try system.kind(metricsPath) != nil && PosixFile(metricsPath, .read).status().bytes > 0
  }

  /// Makes the directory where it is missing.
  /// - Returns: what was made: parents too, the outermost first.
  func create() throws -> [String] { try system.makeDirectories(path) }

  /// Refuses a directory that this process cannot write to, or cannot make.
  func checkWritable() throws {
    var nearest = path
    while try system.kind(nearest, followingLinks: true) == nil {
      let parent = nearest.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
      nearest = parent.isEmpty ? (nearest.hasPrefix("/") ? "/" : ".") : parent
    }
    if unsafe access(nearest, W_OK | X_OK) != 0 { throw FileError(.create, path, code: errno) }
  }

  /// Removes a directory that was made for a run which did not begin, with the parents that were made for it.
  /// - made: what `create` returned.
  func discard(_ made: [String]) {
    guard made.last == path else { return }
    try? system.removeTree(path)
    for parent in made.dropLast().reversed() where (try? system.names(in: parent).isEmpty) == true { try? system.removeTree(parent) }
  }

  /// Makes this process the only one that trains in the directory, until it ends, however it ends.
  /// - host: the name of this one, for the message that others get.
  /// - Throws: `UsageError` where another one does.
  func lock(host: String) throws -> RunLock { try RunLock("\(path)/lock", directory: path, host: host) }

  /// Where nodes tell each other what their ranks do.
  var nodesPath: String { "\(path)/nodes" }
  /// In a job's folder there: a rank has ended the job, whatever mpirun makes of it.
  static var endedName: String { "ended" }
  /// Whether a rank of a job on several nodes has ended it because of a hang.
  var isEnded: Bool {
    guard let jobs = try? system.names(in: nodesPath) else { return false }
    return jobs.contains { ((try? system.kind("\(nodesPath)/\($0)/\(Self.endedName)", followingLinks: false)) ?? nil) != nil }
  }
  /// Forgets jobs before. Ranks of theirs that live on find no folder any more.
  func clearNodes() { try? system.removeTree(nodesPath) }

  /// Clears the folders of jobs before, where nodes tell each other what their ranks do, and makes one where there are several.
  func prepareNodes(_ folder: String, isNeeded: Bool) throws {
    try system.removeTree(nodesPath)
    if isNeeded { try system.makeDirectories(folder) }
  }

  /// Writes the resolved configuration, under another name first.
  func write(_ configuration: TrainingConfiguration) throws {
    // A run that was killed here has left the other name.
    try system.replaceFile(configurationPath, with: Array(configuration.yaml().utf8), temporary: configurationPath + ".partial")
  }
}
