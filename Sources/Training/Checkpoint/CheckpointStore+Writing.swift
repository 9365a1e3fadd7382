extension CheckpointStore {
  /// Makes the directory if it is missing, and clears what a killed run left half done.
  ///
  /// Half-written and half-removed checkpoints are removed. Where a checkpoint was being replaced by one of the same step and the
  /// new one does not stand, the old one is put back.
  /// - Returns: the names that were cleared, for the log.
  /// - Throws: `CheckpointError`.
  public func prepareForWriting() throws(CheckpointError) -> [String] {
    try CheckpointError.naming(directory) { () throws(FileError) in
      try system.makeDirectories(directory)
      var cleared: [String] = []
      for temporary in try system.names(in: directory) {
        guard let (name, kind) = CheckpointLayout.leftOver(temporary) else { continue }
        let path = "\(directory)/\(temporary)"
        let isStanding = try system.kind("\(directory)/\(name)") != nil
        if kind == .replaced && !isStanding {
          try system.rename(path, to: "\(directory)/\(name)")
        } else {
          try system.removeTree(path)
        }
        cleared.append(temporary)
      }
      if !cleared.isEmpty { try system.synchronizeDirectory(directory) }
      return cleared
    }
  }

  /// Writes the checkpoint of `state.step` and points `latest`, and with `isBest` also `best`, to it.
  ///
  /// The directory must be prepared. When this throws, the checkpoints that stood before still stand.
  /// - model: tensors of `model.safetensors`.
  /// - training: tensors of `training.safetensors`.
  /// - files: further files, such as `vocabulary.json`.
  /// - state: everything else; its `files` are filled in here. Where it names another checkpoint as the best so far, `best` is made to point there.
  /// - Returns: the checkpoint's path.
  /// - Throws: `CheckpointError`.
  @discardableResult
  public func write(
    model: [NamedTensor], training: [NamedTensor], files: [(name: String, bytes: [UInt8])] = [],
    state: CheckpointState, isBest: Bool = false
  ) throws(CheckpointError) -> String {
    let reserved = [CheckpointLayout.model, CheckpointLayout.training, CheckpointLayout.state]
    precondition(
      files.allSatisfy { !reserved.contains($0.name) && !$0.name.contains("/") && !$0.name.hasPrefix(".") }
        && Set(files.map(\.name)).count == files.count, "impossible names of further files")
    let name = CheckpointLayout.name(step: state.step)
    let partial = "\(directory)/\(CheckpointLayout.temporary(name, .partial))"
    do throws(CheckpointError) {
      try writeFiles(in: partial, model: model, training: training, files: files, state: state)
      try CheckpointError.naming(partial) { () throws(FileError) in try place(partial, as: name) }
    } catch {
      // The first error is the one to report; what cannot be removed now is cleared when the run is next started.
      try? system.removeTree(partial)
      throw error
    }
    try setLink(CheckpointLayout.latest, to: name)
    try setBest(isBest ? state.step : state.validation?.bestStep)
    return path(step: state.step)
  }

  /// Points `best` to where the state says that the best model is, if that stands and the link says something else: a run that was killed, or a disk
  /// that failed, between a checkpoint and its links leaves them apart.
  private func setBest(_ step: Int?) throws(CheckpointError) {
    guard let step, (try? bestStep()) != step else { return }
    let isThere = try CheckpointError.naming(path(step: step)) { () throws(FileError) in try system.kind(path(step: step)) == .directory }
    if isThere { try setLink(CheckpointLayout.best, to: CheckpointLayout.name(step: step)) }
  }

  /// Points the links to where a run stands that goes on with `state`: one that was killed between a checkpoint and its links left them behind, and
  /// `latest` may name a checkpoint that was passed over as damaged.
  /// - Returns: the links that were changed, for the log.
  /// - Throws: `CheckpointError`.
  public func restoreLinks(_ state: CheckpointState) throws(CheckpointError) -> [String] {
    let before = (try? latestStep(), try? bestStep())
    if before.0 != state.step { try setLink(CheckpointLayout.latest, to: CheckpointLayout.name(step: state.step)) }
    try setBest(state.validation?.bestStep)
    let after = (try latestStep(), try bestStep())
    return [(CheckpointLayout.latest, before.0 == after.0), (CheckpointLayout.best, before.1 == after.1)].filter { !$0.1 }.map(\.0)
  }

  /// Points `best` to the checkpoint of `step`, which must stand.
  /// - Throws: `CheckpointError`.
  public func markBest(step: Int) throws(CheckpointError) {
    let isThere = try CheckpointError.naming(path(step: step)) { () throws(FileError) in try system.kind(path(step: step)) == .directory }
    guard isThere else { throw CheckpointError(path(step: step), .notACheckpoint) }
    try setLink(CheckpointLayout.best, to: CheckpointLayout.name(step: step))
  }

  /// Removes old checkpoints: of those up to `latest` the `keep` newest stay, and what `best` names.
  ///
  /// Checkpoints past `latest` are those that a resumed run passed over as damaged: they stay until the run comes to their step. Without
  /// a `latest` that stands nothing is removed.
  /// - keep: at least 1.
  /// - Returns: steps that were removed, ascending.
  /// - Throws: `CheckpointError`.
  @discardableResult
  public func prune(keep: Int) throws(CheckpointError) -> [Int] {
    precondition(keep >= 1, "at least the newest checkpoint is kept")
    guard let latest = try latestStep() else { return [] }
    let best = try bestStep()
    let old = try steps().filter { $0 <= latest }.dropLast(keep).filter { $0 != best }
    for step in old {
      let name = CheckpointLayout.name(step: step)
      let removed = "\(directory)/\(CheckpointLayout.temporary(name, .removed))"
      try CheckpointError.naming(path(step: step)) { () throws(FileError) in
        // Renamed first, so that no half-removed directory ever has a checkpoint's name.
        try system.removeTree(removed)
        try system.rename(path(step: step), to: removed)
        try system.removeTree(removed)
      }
    }
    if !old.isEmpty { try CheckpointError.naming(directory) { () throws(FileError) in try system.synchronizeDirectory(directory) } }
    return Array(old)
  }

  /// Writes all files of a checkpoint, `state.json` last, and checks what the disk then holds.
  private func writeFiles(
    in partial: String, model: [NamedTensor], training: [NamedTensor], files: [(name: String, bytes: [UInt8])],
    state: CheckpointState
  ) throws(CheckpointError) {
    var state = state
    state.files = [:]
    try CheckpointError.naming(partial) { () throws(FileError) in
      try system.removeTree(partial)
      try system.makeDirectory(partial)
    }
    for (name, tensors) in [(CheckpointLayout.model, model), (CheckpointLayout.training, training)] {
      do {
        state.files[name] = try SafetensorsWriter.write(
          tensors, metadata: [:], toNew: "\(partial)/\(name)", system: system)
      } catch { throw CheckpointError(partial, file: name, .tensors(error)) }
    }
    for (name, bytes) in files { state.files[name] = try writeFile(bytes, name, in: partial) }
    _ = try writeFile(state.encoded(), CheckpointLayout.state, in: partial)
    try CheckpointError.naming(partial) { () throws(FileError) in try system.synchronizeDirectory(partial) }
    try verify(partial, holds: state)
  }

  /// Reads back what has just been written. Damage is the disk's fault here, and may be gone at the next try.
  private func verify(_ partial: String, holds state: CheckpointState) throws(CheckpointError) {
    let written: CheckpointState
    do throws(CheckpointError) {
      written = try Checkpoint(verifying: partial, system: system).state
    } catch {
      throw error.isInputOutput ? error : CheckpointError(partial, file: error.file, .readBack(error.problem))
    }
    // Compared as bytes: a loss that is not a number is equal to itself there.
    guard written.encoded() == state.encoded() else {
      throw CheckpointError(partial, file: CheckpointLayout.state, .readBack(.state("another state than was written")))
    }
  }

  private func writeFile(_ bytes: [UInt8], _ name: String, in partial: String) throws(CheckpointError) -> FileRecord {
    try CheckpointError.naming(partial, file: name) { () throws(FileError) in
      var writer = try ChecksummedWriter("\(partial)/\(name)", system: system)
      try unsafe writer.write(bytes.span.bytes)
      return try writer.finish()
    }
  }

  /// Gives a whole checkpoint its name. One that has the name already makes room first; it comes back if the new one cannot take its place.
  private func place(_ partial: String, as name: String) throws(FileError) {
    let path = "\(directory)/\(name)"
    let replaced = "\(directory)/\(CheckpointLayout.temporary(name, .replaced))"
    let isReplacing = try system.kind(path) != nil
    if isReplacing {
      try system.removeTree(replaced)
      try system.rename(path, to: replaced)
    }
    do {
      try system.rename(partial, to: path)
    } catch {
      if isReplacing { try? system.rename(replaced, to: path) }
      throw error
    }
    try system.synchronizeDirectory(directory)
    if isReplacing { try system.removeTree(replaced) }
  }

  private func setLink(_ link: String, to name: String) throws(CheckpointError) {
    let path = "\(directory)/\(link)"
    try CheckpointError.naming(path) { () throws(FileError) in
      try system.replaceLink(path, target: name, temporary: "\(directory)/\(CheckpointLayout.temporary(link, .partial))")
      try system.synchronizeDirectory(directory)
    }
  }
}
