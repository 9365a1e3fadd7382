import SequenceData

/// What a task is beside the network: its data, what of it has a target, what it is judged by, and what all that is called.
///
/// A task is a value; `TrainingConfiguration.Task` names it in a configuration.
protocol LearningTask: Sendable {
  /// What the paths of `data.train`, `data.validation` and `data.test` lead to.
  var sources: SourceForm { get }
  /// Whether targets are inputs that come later: nothing may look ahead then, and the model can write such inputs itself.
  var predictsInputs: Bool { get }
  /// Whether every shard has to hold as many sequences as the others.
  var hasEqualShards: Bool { get }
  /// What frames are called.
  var frames: String { get }
  /// What has a target, and is what losses and error rates are means over, is called.
  var targets: String { get }
  /// What a model is judged by, beside its loss.
  var measure: Measure { get }
  /// The file of a checkpoint that holds what is kept of the data.
  var dataFile: String { get }

  /// Replaces what is `auto` for this task alone.
  func resolve(_ configuration: inout TrainingConfiguration)

  /// Opens the training data of a configuration.
  /// - stored: what a checkpoint kept of the data.
  /// - use: what for; where it is not read, a checkpoint's `stored` is enough.
  /// - Throws: on every rank the same error.
  func openTrainingData(
    _ configuration: TrainingConfiguration, _ context: RankContext, stored: [UInt8]?, for use: TrainingDataUse
  ) throws -> any TrainingData
}

extension TrainingConfiguration.Task {
  /// What the name stands for.
  var definition: any LearningTask {
    switch self {
    case .languageModel: LanguageModelTask()
    case .frameClassification: ClassificationTask(labelled: .frames)
    case .sequenceClassification: ClassificationTask(labelled: .utterances)
    }
  }
}

/// The next token of a text.
struct LanguageModelTask: LearningTask {
  var sources: SourceForm { .text }
  var predictsInputs: Bool { true }
  // Streams of a text belong to one shard each.
  var hasEqualShards: Bool { true }
  var frames: String { "tokens" }
  var targets: String { "tokens" }
  var measure: Measure { .perplexity }
  var dataFile: String { "vocabulary.json" }

  func resolve(_ configuration: inout TrainingConfiguration) {
    configuration.evaluation.streams = configuration.evaluation.streams ?? configuration.training.batchSize
  }

  func openTrainingData(
    _ configuration: TrainingConfiguration, _ context: RankContext, stored: [UInt8]?, for use: TrainingDataUse
  ) throws -> any TrainingData {
    try LanguageModelData(configuration, context: context, vocabulary: stored, readsTraining: use != .unread)
  }
}

/// The class of every frame of an utterance, or of the utterance.
struct ClassificationTask: LearningTask {
  let labelled: Labelled

  var sources: SourceForm { .archives }
  var predictsInputs: Bool { false }
  // Utterances are dealt out, and shards may hold unequal numbers.
  var hasEqualShards: Bool { false }
  var frames: String { "frames" }
  var targets: String {
    switch labelled {
    case .frames: frames
    case .utterances: "sequences"
    }
  }
  var measure: Measure {
    switch labelled {
    case .frames: .frameErrorRate
    case .utterances: .sequenceErrorRate
    }
  }
  var dataFile: String { "features.json" }

  func resolve(_ configuration: inout TrainingConfiguration) {}

  func openTrainingData(
    _ configuration: TrainingConfiguration, _ context: RankContext, stored: [UInt8]?, for use: TrainingDataUse
  ) throws -> any TrainingData {
    try MemoryNeed.checkClasses(configuration, context.world)
    return try FrameData(configuration, labelled: labelled, context: context, stored: stored, for: use)
  }
}
