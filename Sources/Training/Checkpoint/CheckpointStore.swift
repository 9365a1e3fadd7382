/// The checkpoints of one run directory: `checkpoints/step-00001234`, and the links `latest` and `best` beside them.
///
/// A directory that has a checkpoint's name is whole: it is written under another name, synchronised, read back and checked, and
/// renamed last. One process writes at a time (rank 0); any number may read.
public struct CheckpointStore: Sendable {
  /// The run directory.
  public let runDirectory: String

  let system: FileSystem

  /// The checkpoints of `runDirectory`. Nothing is read or made yet.
  public init(runDirectory: String) { self.init(runDirectory: runDirectory, system: FileSystem()) }

  package init(runDirectory: String, system: FileSystem) {
    self.runDirectory = runDirectory
    self.system = system
  }

  /// The directory of the checkpoints.
  public var directory: String { "\(runDirectory)/\(CheckpointLayout.directory)" }

  /// Steps of the checkpoints that stand, ascending; none if there is no directory.
  public func steps() throws(CheckpointError) -> [Int] {
    let names = try CheckpointError.naming(directory) { () throws(FileError) -> [String] in
      try system.kind(directory, followingLinks: true) == .directory ? try system.names(in: directory) : []
    }
    return names.compactMap { CheckpointLayout.step(name: $0) }.sorted()
  }

  /// Path of the checkpoint of `step`, whether it stands or not.
  public func path(step: Int) -> String { "\(directory)/\(CheckpointLayout.name(step: step))" }

  /// A checkpoint that was passed over.
  public struct Skipped: Sendable {
    /// Its directory.
    public let path: String
    /// Why.
    public let reason: CheckpointError
  }

  /// The checkpoint of the highest step of which every file is as it was written.
  /// - Returns: it, or nil if there is none; and those of higher steps with what is wrong with them.
  /// - Throws: `CheckpointError` if the directory cannot be listed.
  public func newestValid() throws(CheckpointError) -> (checkpoint: Checkpoint?, skipped: [Skipped]) {
    var skipped: [Skipped] = []
    for step in try steps().reversed() {
      do throws(CheckpointError) {
        let checkpoint = try Checkpoint(verifying: path(step: step), system: system)
        guard checkpoint.state.step == step else {
          throw CheckpointError(path(step: step), .misplaced(step: checkpoint.state.step))
        }
        return (checkpoint, skipped)
      } catch {
        skipped.append(Skipped(path: path(step: step), reason: error))
      }
    }
    return (nil, skipped)
  }

  /// Opens what a user names: a checkpoint's directory, a link to one, or a run directory, whose `best` is taken, and `latest` where there is no best.
  /// - Throws: `CheckpointError` if there is no checkpoint, or a file of it is not as it was written.
  public static func open(path: String) throws(CheckpointError) -> Checkpoint {
    let system = FileSystem()
    let links = [CheckpointLayout.best, CheckpointLayout.latest].map { "\(path)/\(CheckpointLayout.directory)/\($0)" }
    let found = try CheckpointError.naming(path) { () throws(FileError) -> String? in
      func holdsState(_ place: String) throws(FileError) -> Bool {
        try system.kind("\(place)/\(CheckpointLayout.state)", followingLinks: true) != nil
      }
      if try holdsState(path) { return path }
      // A link without a target, or to a checkpoint that lost its state: opening it says what is missing.
      for link in links {
        if let target = try Self.pointed(link, system) { return target }
        if try holdsState(link) { return link }
        if try system.linkTarget(link) != nil { return link }
      }
      if let target = try Self.pointed(path, system) { return target }
      return try system.linkTarget(path) != nil ? path : nil
    }
    guard let found else { throw CheckpointError(path, .notACheckpoint) }
    return try Checkpoint(verifying: found, system: system)
  }

  /// The step that `latest` names, if that checkpoint stands.
  public func latestStep() throws(CheckpointError) -> Int? { try linkedStep(CheckpointLayout.latest) }

  /// The step that `best` names, if that checkpoint stands.
  public func bestStep() throws(CheckpointError) -> Int? { try linkedStep(CheckpointLayout.best) }

  /// The checkpoint that a file in place of a link names, on file systems without links; nil for any other file.
  private static func pointed(_ link: String, _ system: FileSystem) throws(FileError) -> String? {
    guard let name = try system.line(link), CheckpointLayout.step(name: name) != nil else { return nil }
    return "\(FileSystem.parent(of: link))/\(name)"
  }

  private func linkedStep(_ link: String) throws(CheckpointError) -> Int? {
    try CheckpointError.naming("\(directory)/\(link)") { () throws(FileError) -> Int? in
      let path = "\(directory)/\(link)"
      var target = try system.linkTarget(path)
      if target == nil { target = try system.line(path) }
      guard let target, let step = CheckpointLayout.step(name: target),
        try system.kind(self.path(step: step)) == .directory
      else { return nil }
      return step
    }
  }
}
