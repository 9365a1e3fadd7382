import DataParallel
import MPI
import NeuralNetwork
import SequenceData
import Tensors

/// Utterances to be trained on as one rank sees them.
///
/// Rank 0 reads the indices of the archives and sends them to all; each rank reads the values of its own utterances only, ahead of the step that needs them.
final class FrameData: TrainingData {
  private let configuration: TrainingConfiguration
  private let labelled: Labelled
  private let context: RankContext
  let record: FeatureRecord
  let digest: String
  /// Features that do not vary, found when the record was made.
  private var constantFeatures: [Int] = []
  private let transform: FeatureTransform
  // Nothing of these without the training data.
  private let utterances: Utterances?
  private let plan: MinibatchPlan?
  // The minibatches of an epoch, kept because their number is asked for often.
  private var planned: (epoch: Int, minibatches: [[Int]])?
  private var stream: MinibatchStream?
  let capacity: WorkspaceCapacity
  let mostSequences: Int
  let carriesState = false
  // Of the minibatches of the last update: steps times sequences, and the share of them that no frame is.
  private var rectangles: [(area: Int, padding: Double)] = []
  private var secondsWaited = 0.0

  func minibatches(epoch: Int) -> Int {
    guard let counts = plan?.counts else { return 0 }
    return counts.count == 1 ? counts.lowerBound : planned(epoch: epoch).count
  }
  var minibatchBounds: ClosedRange<Int> { plan?.counts ?? 0...0 }

  // A plan sorts all utterances.
  var epochsCounted: Int { max(20, 1_000_000 / max(1, record.utterances)) }

  private func planned(epoch: Int) -> [[Int]] {
    guard let plan else { preconditionFailure("the training data was not read") }
    if planned?.epoch != epoch { planned = (epoch, plan.minibatches(epoch: epoch)) }
    return planned!.minibatches
  }

  var stored: [UInt8] { record.encoded }
  var network: NetworkConfiguration {
    var network = NetworkConfiguration(
      configuration, input: .features(record.dimension * (1 + configuration.data.deltas)), classes: configuration.data.classes,
      steps: record.longest)
    network.outputRows =
      switch labelled {
      case .frames: .frames
      case .utterances: .sequenceEnds
      }
    return network
  }

  /// - labelled: what has a label, and so a target.
  /// - stored: the record of a checkpoint, which the training data must then agree with, or at least have the form of where it is replaced.
  init(
    _ configuration: TrainingConfiguration, labelled: Labelled, context: RankContext, stored: [UInt8]?, for use: TrainingDataUse
  ) throws {
    self.configuration = configuration
    self.labelled = labelled
    self.context = context
    let before = try context.world.agree { try stored.map { try FeatureRecord(decoding: $0) } }
    if use == .unread, let before {
      record = before
      digest = ""
      utterances = nil
      plan = nil
      mostSequences = 0
      capacity = WorkspaceCapacity(
        sequences: context.localShards.map { _ in 0 }, frames: context.localShards.map { _ in 0 }, steps: record.longest)
    } else {
      let kept = try openUtterances(
        DataFiles(configuration.data.train), labelled, maximumFrames: configuration.data.maximumFrames,
        unusable: configuration.data.onUnusable, allowsCommands: configuration.data.allowCommands, context)
      utterances = kept
      digest = try kept.contentDigest(context.world)
      switch (before, use) {
      case (let before?, .replacement): record = try Self.record(kept, configuration, context).record.continuing(before)
      case (let before?, _): record = try Self.check(before, against: kept)
      case (nil, _): (record, constantFeatures) = try Self.record(kept, configuration, context)
      }
      try Self.checkLongest(kept, configuration)
      let plan = MinibatchPlan(
        frames: kept.frames, limit: configuration.training.minibatchLimit, seed: configuration.training.seed,
        shuffle: configuration.training.shuffle)
      mostSequences = plan.mostUtterances
      capacity = Self.capacity(plan, isInOrder: !configuration.training.shuffle, context)
      self.plan = plan
    }
    transform = record.transform(configuration)
  }

  /// Looks at all of the training data.
  private static func record(
    _ kept: Utterances, _ configuration: TrainingConfiguration, _ context: RankContext
  ) throws -> (record: FeatureRecord, constant: [Int]) {
    let deltas = configuration.data.deltas, isGlobal = configuration.data.normalize == .global
    let found = try survey(kept, deltas: deltas, classes: configuration.data.classes, context)
    let scale = isGlobal ? found.moments.meanAndDeviation(deltas: deltas) : ([], [])
    let record = FeatureRecord(
      dimension: kept.dimension, longest: kept.frames.max() ?? 0, utterances: kept.frames.count, frames: kept.frames.reduce(0, +),
      digest: kept.digest, mean: scale.0, deviation: scale.1, labelCounts: found.labelCounts)
    return (record, isGlobal ? found.moments.constantFeatures(deltas: deltas) : [])
  }

  /// Refuses utterances that have more frames than a minibatch may have.
  private static func checkLongest(_ kept: Utterances, _ configuration: TrainingConfiguration) throws {
    guard let most = configuration.training.batchFrames, let longest = kept.frames.indices.max(by: { kept.frames[$0] < kept.frames[$1] }),
      kept.frames[longest] > most
    else { return }
    throw UsageError(
      description: "training.batch_frames is \(most), but \(kept.key(longest).debugDescription) of \(abbreviated(kept.featureFile, limit: 1024)) has "
        + "\(kept.frames[longest]) frames, expected at least as many, or a data.maximum_frames that leaves longer ones out")
  }

  /// Room for any minibatch of a training.
  private static func capacity(_ plan: MinibatchPlan, isInOrder: Bool, _ context: RankContext) -> WorkspaceCapacity {
    if isInOrder { return .of(plan.minibatches(epoch: 1).map { $0.map { plan.frames[$0] } }, context) }
    let S = context.layout.shards, most = (plan.mostUtterances + S - 1) / S, longest = plan.frames.sorted(by: >)
    var frames = longest[..<most].reduce(0, +)
    // Of falling lengths l_0, l_1, … the first shard has l_0 + l_S + l_2S + …, and l_S is at most the mean of l_1 to l_S.
    if case .frames(let size) = plan.limit { frames = min(frames, longest[0] + (size - longest[0]) / S) }
    return WorkspaceCapacity(
      sequences: context.localShards.map { _ in most }, frames: context.localShards.map { _ in frames }, steps: longest[0])
  }

  /// The record of a checkpoint, if it was made of these utterances.
  private static func check(_ record: FeatureRecord, against kept: Utterances) throws -> FeatureRecord {
    guard record.digest == kept.digest else {
      throw UsageError(
        description: "data.train: \(kept.frames.count) utterances of \(kept.frames.reduce(0, +)) frames, not those that the run began with "
          + "(\(record.utterances) of \(record.frames)), or in another order; \(ReplacedData.option)")
    }
    return record
  }

  var description: [JSONField] {
    [
      JSONField("classes", .integer(configuration.data.classes)), JSONField("features", .integer(network.input.width)),
      JSONField("utterances", .integer(record.utterances)), JSONField("frames", .integer(record.frames)),
      JSONField("left_out", .integer(utterances?.leftOut ?? 0)), JSONField("unusable", .integer(utterances?.unusable.count ?? 0)),
      JSONField("minibatches", .integer(minibatches(epoch: 1))),
    ]
  }

  var remarks: [String] { (utterances?.remarks ?? []) + constantRemark }

  private var constantRemark: [String] {
    if constantFeatures.isEmpty { return [] }
    let names = constantFeatures.prefix(20).map { "\($0)" }.joined(separator: ", ")
    let more = constantFeatures.count > 20 ? " and \(constantFeatures.count - 20) more" : ""
    return [
      "data.train: of features 0 to \(record.dimension - 1), \(names)\(more) have the same value in all frames, or a deviation below a hundred-thousandth of it: "
        + "they are centred and not scaled"
    ]
  }

  var summary: String {
    let leftOut = utterances?.leftOut ?? 0
    return "\(record.utterances) training utterances, \(record.frames) frames of \(network.input.width) features, "
      + "\(configuration.data.classes) classes, "
      + (configuration.training.batchFrames.map { "\(minibatches(epoch: 1)) minibatches of at most \($0) frames in the first epoch" }
        ?? "\(minibatches(epoch: 1)) minibatches of \(configuration.training.batchSize) an epoch")
      + (leftOut > 0 ? "; \(leftOut) utterances of more than \(configuration.data.maximumFrames) frames are left out." : ".")
  }

  var stepFields: [JSONField] {
    let area = rectangles.reduce(0) { $0 + $1.area }
    return [JSONField("padding", .double(rectangles.reduce(0) { $0 + $1.padding * Double($1.area) / Double(area) }))]
  }

  func takeSecondsWaited() -> Double? {
    defer { secondsWaited = 0 }
    return secondsWaited
  }

  func beginUpdate(_ minibatches: Range<Int>, epoch: Int) throws -> UpdateContents {
    rectangles.removeAll(keepingCapacity: true)
    let sizes = stream(from: minibatches.lowerBound, epoch: epoch).sizes[minibatches]
    let sequences = sizes.reduce(0) { $0 + $1.sequences }
    let targets =
      switch labelled {
      case .frames: sizes.reduce(0) { $0 + $1.frames }
      case .utterances: sequences
      }
    return UpdateContents(sequences: sequences, targets: targets, tokens: [])
  }

  /// The minibatches of `epoch`, of which `minibatch` comes next.
  private func stream(from minibatch: Int, epoch: Int) -> MinibatchStream {
    guard let utterances else { preconditionFailure("the training data was not read") }
    if let stream, stream.epoch == epoch && stream.next == minibatch { return stream }
    let new = MinibatchStream(
      utterances, planned(epoch: epoch), from: minibatch, epoch: epoch, transform: transform, classes: configuration.data.classes,
      context)
    stream = new
    return new
  }

  func load(_ minibatch: Int, epoch: Int, into workspace: ModelWorkspace<Float>) throws -> LoadedMinibatch {
    let (loaded, waited) = try stream(from: minibatch, epoch: epoch).load(into: workspace)
    rectangles.append((loaded.lengths.count * loaded.counts.steps, loaded.padding))
    // Epoch 0 is read for population statistics, and not for training.
    if epoch > 0 { secondsWaited += waited }
    return LoadedMinibatch(counts: loaded.counts, sequences: loaded.lengths.count, targets: loaded.targets)
  }

  func evaluationData(_ files: DataFiles, key: String, keepsOrder: Bool) throws -> any EvaluationData {
    try FrameEvaluationData(
      files, labelled, key: key, record: record, transform: transform, configuration, context, keepsOrder: keepsOrder)
  }
}

extension WorkspaceCapacity {
  /// Room for minibatches that are known.
  /// - minibatches: lengths of the utterances of each; utterance `k` goes to shard `k mod S`.
  static func of(_ minibatches: [[Int]], _ context: RankContext) -> WorkspaceCapacity {
    let S = context.layout.shards
    var sequences = 0, frames = 0, steps = 0
    for lengths in minibatches {
      for shard in 0..<min(S, lengths.count) {
        let own = stride(from: shard, to: lengths.count, by: S)
        sequences = max(sequences, (lengths.count - shard + S - 1) / S)
        frames = max(frames, own.reduce(0) { $0 + lengths[$1] })
      }
      steps = max(steps, lengths.max() ?? 0)
    }
    return WorkspaceCapacity(
      sequences: context.localShards.map { _ in sequences }, frames: context.localShards.map { _ in frames }, steps: steps)
  }
}

extension TrainingConfiguration.Training {
  /// How large a minibatch of utterances may be.
  var minibatchLimit: MinibatchLimit { batchFrames.map { .frames($0) } ?? .utterances(batchSize) }
}
