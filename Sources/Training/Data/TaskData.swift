import NeuralNetwork
import Tensors

/// A minibatch that was put into a workspace.
struct LoadedMinibatch {
  /// Frames of every shard and step, of all ranks.
  var counts: FrameCounts
  /// Sequences of all ranks.
  var sequences: Int
}

/// The training data of a task as one rank sees it.
protocol TrainingData: AnyObject {
  /// Minibatches of an epoch.
  var minibatches: Int { get }
  /// The largest minibatch of this rank.
  var capacity: WorkspaceCapacity { get }
  /// Whether the state after a minibatch is the state before the next one of the epoch.
  var carriesState: Bool { get }
  /// What a checkpoint has to keep of the data, in a file beside the tensors.
  var stored: [UInt8] { get }
  /// The network that a configuration describes for this data.
  var network: NetworkConfiguration { get }
  /// What the `start` event says of the data.
  var description: [JSONField] { get }
  /// The same in words.
  var summary: String { get }

  /// What a `step` event says of the data of the last update.
  var stepFields: [JSONField] { get }
  /// Seconds spent waiting for data since the last call; nil where all of it is in memory.
  func takeSecondsWaited() -> Double?

  /// Prepares an update from `minibatches` of `epoch` (from 1).
  /// - Returns: the tokens whose rows of the embedding it touches, ascending and the same on every rank; none without an embedding.
  func beginUpdate(_ minibatches: Range<Int>, epoch: Int) throws -> [Int32]

  /// Puts a minibatch into `workspace`. Epoch 0 is the order in which population statistics are gathered.
  func load(_ minibatch: Int, epoch: Int, into workspace: ModelWorkspace<Float>) throws -> LoadedMinibatch

  /// Other data of the same kind, for evaluation.
  /// - key: the configuration's key that names it.
  /// - Throws: on every rank the same error.
  func evaluationData(_ source: TrainingConfiguration.Source, key: String) throws -> any EvaluationData
}

/// Opens the training data of a configuration.
/// - stored: what a checkpoint kept of the data.
/// - readsTraining: whether minibatches will be asked for; without it a checkpoint's `stored` is enough.
/// - Throws: on every rank the same error.
func openTrainingData(
  _ configuration: TrainingConfiguration, _ context: RankContext, stored: [UInt8]?, readsTraining: Bool = true
) throws -> any TrainingData {
  switch configuration.task {
  case .languageModel:
    try LanguageModelData(configuration, context: context, vocabulary: stored, readsTraining: readsTraining)
  case .frameClassification: try FrameData(configuration, context: context, stored: stored, readsTraining: readsTraining)
  }
}

extension TrainingConfiguration.Task {
  /// The file of a checkpoint that holds what is kept of the data.
  var dataFile: String { self == .languageModel ? "vocabulary.json" : "features.json" }
}

/// Data for evaluation as one rank sees it.
protocol EvaluationData: AnyObject {
  /// The file that it comes from.
  var path: String { get }
  /// Minibatches of all of it.
  var minibatches: Int { get }
  /// The largest minibatch of this rank.
  var capacity: WorkspaceCapacity { get }
  /// Whether the state after a minibatch is the state before the next one.
  var carriesState: Bool { get }
  /// Frames of all ranks that have a target.
  var frames: Int { get }

  /// Puts a minibatch into `workspace`.
  /// - Returns: the steps of its longest sequence on any rank.
  func load(_ minibatch: Int, into workspace: ModelWorkspace<Float>) throws -> Int

  /// Frames of every shard of all ranks at every step of a minibatch, [S, steps].
  func frameCounts(_ minibatch: Int) -> [Int]
}
