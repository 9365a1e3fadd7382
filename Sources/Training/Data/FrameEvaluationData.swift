import MPI
import NeuralNetwork
import SequenceData
import Tensors

/// Utterances for evaluation as one rank sees them.
final class FrameEvaluationData: EvaluationData {
  let path: String
  let capacity: WorkspaceCapacity
  let carriesState = false
  /// Frames of all utterances.
  let frames: Int
  let targets: Int
  let digest: String
  /// The utterances of each minibatch.
  let members: [[Int]]
  private let utterances: Utterances
  private let record: FeatureRecord
  private let transform: FeatureTransform
  private let classes: Int
  private let context: RankContext
  private var stream: MinibatchStream?

  /// Pairs features and labels and looks at every frame, so that a mistake in them does not wait.
  /// - files: where there are no labels, they count as of class 0.
  /// - labelled: what has a label, and so a target.
  /// - record: of the features that the model was trained on, which these must be like.
  /// - keepsOrder: whether minibatches follow the order of the archive, as they always do with statistics of their own; otherwise
  ///   utterances of like length go together.
  /// - Throws: on every rank the same error.
  init(
    _ files: DataFiles, _ labelled: Labelled, key: String, record: FeatureRecord, transform: FeatureTransform,
    _ configuration: TrainingConfiguration, _ context: RankContext, keepsOrder: Bool
  ) throws {
    let utterances = try openUtterances(files, labelled, unusable: configuration.data.onUnusable, allowsCommands: configuration.data.allowCommands, context)
    path = files.path
    self.record = record
    self.transform = transform
    self.context = context
    classes = configuration.data.classes
    if utterances.dimension != record.dimension {
      throw UsageError(
        description: "\(key): \(path) has \(utterances.dimension) features a frame, but the model was trained on \(record.dimension)")
    }
    self.utterances = utterances
    digest = try utterances.contentDigest(context.world)
    _ = try survey(utterances, deltas: 0, classes: classes, context)
    let plan = MinibatchPlan(frames: utterances.frames, limit: configuration.training.minibatchLimit, seed: 0, shuffle: false)
    // Where results depend on what is evaluated together, that is the archive's order, so that it can be told without the lengths.
    let inOrder = keepsOrder || configuration.evaluation.statistics == .batch
    members = inOrder ? plan.minibatches(epoch: 1) : plan.minibatchesByLength()
    frames = utterances.frames.reduce(0, +)
    targets = utterances.frames.reduce(0) { $0 + labelled.count(frames: $1) }
    capacity = .of(members.map { $0.map { utterances.frames[$0] } }, context)
  }

  var minibatches: Int { members.count }

  var isLabelled: Bool { utterances.isLabelled }

  var remarks: [String] { utterances.remarks }

  /// The files of features and labels.
  var sources: [String] { utterances.sources }

  /// The key of an utterance.
  func key(_ utterance: Int) -> String { utterances.key(utterance) }

  /// The length of an utterance.
  func length(_ utterance: Int) -> Int { utterances.frames[utterance] }

  func frameCounts(_ minibatch: Int) -> [Int] {
    framesPerStep(members[minibatch].map(length), shards: context.layout.shards)
  }

  func load(_ minibatch: Int, into workspace: ModelWorkspace<Float>) throws -> Int {
    if stream == nil || stream!.next != minibatch {
      stream = MinibatchStream(
        utterances, members, from: minibatch, epoch: 0, transform: transform, classes: classes, context)
    }
    let loaded = try stream!.load(into: workspace)
    if stream!.isAtEnd { stream = nil }
    return loaded.minibatch.counts.steps
  }

  func posteriorWriter(path: String, model: SequenceModel<Float>, subtractsPriors: Bool) throws -> PosteriorWriter {
    try PosteriorWriter(path: path, self, model: model, context: context, priors: subtractsPriors ? record.labelCounts : nil)
  }
}

/// Looks at every frame of a set, each rank at some of the chunks.
/// - Returns: moments of features and deltas, and how often each label occurs; the same bits on any number of ranks.
/// - Throws: on every rank the same error.
func survey(
  _ utterances: Utterances, deltas: Int, classes: Int, _ context: RankContext
) throws -> (moments: FeatureMoments, labelCounts: [Int]) {
  let survey = FeatureSurvey(utterances, deltas: deltas, classes: classes), world = context.world
  let width = FeatureMoments.serializedCount(width: utterances.dimension * (1 + deltas)), chunks = survey.chunks.count
  // Rank r has the chunks r, r + P, …; where they do not come out even, the last places stay empty.
  let perRank = (chunks + world.size - 1) / world.size
  var counts = Array(repeating: 0, count: classes)
  let local = VectorView<Double>(zeros: perRank * width)
  try world.agree {
    let reader = utterances.makeReader()
    for (place, chunk) in stride(from: world.rank, to: chunks, by: world.size).enumerated() {
      let moments = try survey.moments(ofChunk: chunk, reader, labelCounts: &counts)
      local[place * width..<(place + 1) * width].copy(from: moments.serialized.span)
    }
  }
  let all = VectorView<Double>(zeros: local.count * world.size), total = VectorView<Int64>(counts.map { Int64($0) })
  try world.allGather(local, into: all)
  try world.allReduce(total, .sum)
  let values = all.array
  let moments = (0..<chunks).map { chunk in
    let start = (chunk % world.size * perRank + chunk / world.size) * width
    return FeatureMoments(serialized: values[start..<start + width])
  }
  return (FeatureSurvey.merge(moments), total.array.map { Int($0) })
}
