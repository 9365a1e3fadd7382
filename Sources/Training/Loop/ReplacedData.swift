/// What becomes of a run whose data is not what it began with.
enum ReplacedData {
  /// What `--new-data` means, for the errors where it is missing.
  static let option = "--new-data goes on with it: the epoch begins again, and vocabulary, scale of features and optimiser stay"

  /// The state to go on from, with the data that is there now.
  /// - state: of the checkpoint.
  /// - isAllowed: whether the training data may be another.
  /// - Throws: `UsageError`, the same on every rank, where it is another and may not be.
  static func adapt(
    _ state: CheckpointState, to digests: CheckpointState.DataDigests, _ data: TrainingConfiguration.Data, isAllowed: Bool, console: Console
  ) throws -> CheckpointState {
    var state = state
    // Checkpoints of versions before do not say what they were made with: the data is another where the user says so.
    let before = state.data ?? .init(train: isAllowed ? "" : digests.train, validation: digests.validation)
    if digests.train != before.train {
      guard isAllowed else {
        throw UsageError(
          description: "data.train: \(DataFiles(data.train).path) does not hold what the run began with; \(option)")
      }
      console.warn("data.train is not what the run began with: epoch \(state.epoch) begins again with \(DataFiles(data.train).path)")
      state.position = 0
    }
    if digests.validation != before.validation {
      if state.validation != nil {
        console.warn(
          "data.validation is not what the run was judged by before: the best model is looked for anew, by \(DataFiles(data.validation).path)")
      }
      state.validation = nil
      state.schedule?.forgetLosses()
    }
    return state
  }
}
