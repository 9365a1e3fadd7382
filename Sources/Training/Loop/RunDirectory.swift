/// The directory of a run: its configuration, metrics and checkpoints.
struct RunDirectory {
  let path: String
  private let system = FileSystem()

  var store: CheckpointStore { CheckpointStore(runDirectory: path) }
  var configurationPath: String { "\(path)/config.yaml" }
  var metricsPath: String { "\(path)/metrics.jsonl" }

  /// Whether something of a run is there.
  func holdsRun() throws -> Bool {
    for part in ["config.yaml", "metrics.jsonl", "checkpoints"] {
      if try system.kind("\(path)/\(part)", followingLinks: true) != nil { return true }
    }
    return false
  }

  /// Makes the directory where it is missing.
  func create() throws { try system.makeDirectories(path) }

  /// Writes the resolved configuration, under another name first.
  func write(_ configuration: TrainingConfiguration) throws {
    let temporary = configurationPath + ".partial"
    let file = try PosixFile(temporary, .create, system: system)
    try unsafe file.write(Array(configuration.yaml().utf8).span.bytes)
    try file.synchronize()
    try system.rename(temporary, to: configurationPath)
  }
}
