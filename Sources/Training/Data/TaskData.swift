import NeuralNetwork
import Tensors

/// A minibatch that was put into a workspace.
struct LoadedMinibatch {
  /// Frames of every shard and step, of all ranks.
  var counts: FrameCounts
  /// Sequences of all ranks.
  var sequences: Int
  /// What has a target, of all ranks.
  var targets: Int
}

/// What an update works on, over all ranks and micro-batches; known before the first of them.
struct UpdateContents {
  /// Sequences, those of each micro-batch anew.
  var sequences: Int
  /// What has a target.
  var targets: Int
  /// The tokens whose rows of the embedding the update touches, ascending and the same on every rank; none without an embedding.
  var tokens: [Int32]
}

/// What training data is opened for.
enum TrainingDataUse {
  /// What a checkpoint kept of it is enough.
  case unread
  /// To begin a run, or to go on with one on the data that it began with.
  case training
  /// To go on with a run on other data.
  case replacement
}

/// The training data of a task as one rank sees it.
protocol TrainingData: AnyObject {
  /// Minibatches of an epoch (from 1; 0 for that of population statistics).
  func minibatches(epoch: Int) -> Int
  /// The most and the fewest minibatches of any epoch.
  var minibatchBounds: ClosedRange<Int> { get }
  /// How many epochs' minibatches are counted one by one, where their numbers differ; later epochs count as the mean of these.
  var epochsCounted: Int { get }
  /// The largest minibatch of this rank.
  var capacity: WorkspaceCapacity { get }
  /// Sequences of the largest minibatch, of all ranks.
  var mostSequences: Int { get }
  /// Whether the state after a minibatch is the state before the next one of the epoch.
  var carriesState: Bool { get }
  /// What a checkpoint has to keep of the data, in a file beside the tensors.
  var stored: [UInt8] { get }
  /// Tells this data from other data; the same on every rank.
  var digest: String { get }
  /// The network that a configuration describes for this data.
  var network: NetworkConfiguration { get }
  /// What the `start` event says of the data.
  var description: [JSONField] { get }
  /// The same in words.
  var summary: String { get }
  /// On rank 0, what its user should know of it: how the lines of a text end, which utterances are left out.
  var remarks: [String] { get }

  /// What a `step` event says of the data of the last update.
  var stepFields: [JSONField] { get }
  /// Seconds spent waiting for data since the last call; nil where all of it is in memory.
  func takeSecondsWaited() -> Double?

  /// Prepares an update from `minibatches` of `epoch` (from 1), one micro-batch each.
  func beginUpdate(_ minibatches: Range<Int>, epoch: Int) throws -> UpdateContents

  /// Puts a minibatch into `workspace`. Epoch 0 is the order in which population statistics are gathered.
  func load(_ minibatch: Int, epoch: Int, into workspace: ModelWorkspace<Float>) throws -> LoadedMinibatch

  /// Other data of the same kind, for evaluation.
  /// - key: the configuration's key, or the option, that names it.
  /// - keepsOrder: whether minibatches follow the order of an archive; otherwise utterances of like length go together.
  /// - Throws: on every rank the same error.
  func evaluationData(_ files: DataFiles, key: String, keepsOrder: Bool) throws -> any EvaluationData
}

extension TrainingData {
  var epochsCounted: Int { 100_000 }

  /// Updates of a run of all epochs, or of `maximumSteps` if those are fewer; of epochs past `epochsCounted` an estimate.
  func updates(_ training: TrainingConfiguration.Training) -> Int {
    let A = training.accumulateSteps, limit = training.maximumSteps ?? .max
    func updates(_ minibatches: Int) -> Int { (minibatches + A - 1) / A }
    let bounds = minibatchBounds, fewest = updates(bounds.lowerBound)
    if fewest == updates(bounds.upperBound) { return min(limit, fewest * training.epochs) }
    var sum = 0, epoch = 1
    while epoch <= min(training.epochs, epochsCounted) && sum < limit {
      sum += updates(minibatches(epoch: epoch))
      epoch += 1
    }
    let (rest, overflows) = (training.epochs - epoch + 1).multipliedReportingOverflow(by: sum)
    return overflows ? limit : min(limit, sum + rest / (epoch - 1))
  }

  /// The data for evaluation that a configuration names.
  func evaluationData(_ source: TrainingConfiguration.Source, key: String) throws -> any EvaluationData {
    try evaluationData(DataFiles(source), key: key, keepsOrder: false)
  }
}

/// Data for evaluation as one rank sees it.
protocol EvaluationData: AnyObject {
  /// The file that it comes from.
  var path: String { get }
  /// Tells this data from other data; the same on every rank.
  var digest: String { get }
  /// On rank 0, what its user should know of it.
  var remarks: [String] { get }
  /// Minibatches of all of it.
  var minibatches: Int { get }
  /// The largest minibatch of this rank.
  var capacity: WorkspaceCapacity { get }
  /// Whether the state after a minibatch is the state before the next one.
  var carriesState: Bool { get }
  /// Frames of all ranks that a loss depends on; a frame of a text is a token that is predicted.
  var frames: Int { get }
  /// What has a target, of all ranks.
  var targets: Int { get }
  /// Whether targets are known: without them there is no loss.
  var isLabelled: Bool { get }

  /// Puts a minibatch into `workspace`.
  /// - Returns: the steps of its longest sequence on any rank.
  func load(_ minibatch: Int, into workspace: ModelWorkspace<Float>) throws -> Int

  /// What writes log posteriors of this data to a Kaldi archive; minibatches must follow the order of the data.
  /// - subtractsPriors: whether the logarithms of the classes' shares of the training labels are subtracted.
  /// - Throws: on every rank the same error where the archive cannot be begun.
  func posteriorWriter(path: String, model: SequenceModel<Float>, subtractsPriors: Bool) throws -> PosteriorWriter

  /// Frames of every shard of all ranks at every step of a minibatch, [S, steps].
  func frameCounts(_ minibatch: Int) -> [Int]
}
