import DataParallel
import MPI
import NeuralNetwork
import SequenceData
import Tensors

extension TextUnit {
  /// The unit that a configuration names.
  init(_ unit: TrainingConfiguration.Unit) {
    switch unit {
    case .word: self = .word
    case .character: self = .character
    }
  }
}

/// The training text as one rank sees it: the vocabulary, and the tokens of its own streams, or all of them where windows are shuffled.
final class LanguageModelData: TrainingData {
  let vocabulary: Vocabulary
  /// N of the training text; 0 if it was not read.
  let tokenCount: Int
  let digest: String
  /// On rank 0, what is odd about the lines of the training text.
  let remarks: [String]
  // One of them, or none without the training text.
  private let streams: TokenStreams?
  private var pieces: ShuffledWindows?
  private let firstStream: Int
  private let perShard: Int
  private let localShards: Int
  private let unit: TextUnit
  private let unusedTargets: VectorView<Int32>
  private let configuration: TrainingConfiguration
  private let context: RankContext
  // Nil where the gradient of the embedding has all rows.
  private let rows: EmbeddingRows?
  private let loaded: LoadedMinibatch

  func minibatches(epoch: Int) -> Int { pieces?.minibatches(epoch: epoch) ?? streams?.layout.windowsPerEpoch ?? 0 }
  var minibatchBounds: ClosedRange<Int> {
    guard let layout = pieces?.layout else { return minibatches(epoch: 1)...minibatches(epoch: 1) }
    return layout.fewestMinibatches...layout.mostMinibatches
  }
  let capacity: WorkspaceCapacity
  var mostSequences: Int { configuration.training.batchSize }
  let carriesState: Bool
  let stepFields: [JSONField] = []
  func takeSecondsWaited() -> Double? { nil }
  var stored: [UInt8] { vocabulary.serialized() }
  var network: NetworkConfiguration { NetworkConfiguration(configuration, vocabularySize: vocabulary.count) }
  var description: [JSONField] {
    [
      JSONField("vocabulary", .integer(vocabulary.count)), JSONField("tokens", .integer(tokenCount)),
      JSONField("windows", .integer(minibatches(epoch: 1))),
    ]
  }
  var summary: String {
    "\(tokenCount) training tokens, vocabulary \(vocabulary.count), \(minibatches(epoch: 1)) \(carriesState ? "" : "shuffled ")windows of "
      + "\(configuration.training.unrollSteps) × \(configuration.training.batchSize) \(minibatchBounds.count == 1 ? "an" : "in the first") epoch."
  }

  /// Reads the training text: rank 0 makes the vocabulary, then every rank reads its own streams, or all of the text.
  /// - vocabulary: the one of a checkpoint, which the text must then agree with.
  /// - readsTraining: whether the training text is needed at all.
  /// - Throws: on every rank the same error.
  init(
    _ configuration: TrainingConfiguration, context: RankContext, vocabulary stored: [UInt8]?, readsTraining: Bool = true
  ) throws {
    let world = context.world, unit = TextUnit(configuration.data.unit)
    self.unit = unit
    self.configuration = configuration
    self.context = context
    carriesState = configuration.training.windows == .continued
    localShards = context.localShards.count
    perShard = configuration.training.batchSize / context.layout.shards
    firstStream = context.localShards.lowerBound * perShard
    let T = configuration.training.unrollSteps, shards = context.layout.shards
    unusedTargets = VectorView(zeros: T * perShard)
    capacity = WorkspaceCapacity(sequences: Array(repeating: perShard, count: context.localShards.count), steps: T)
    loaded = LoadedMinibatch(
      counts: FrameCounts(perStep: Array(repeating: perShard, count: shards * T), steps: T, groups: context.groups),
      sequences: configuration.training.batchSize, targets: configuration.training.batchSize * T)
    let text = TextFile(paths: readsTraining ? DataFiles(configuration.data.train).paths : [], unit: unit), path = text.path

    var bytes: [UInt8]?, count = 0, lineEnds: LineEnds?
    try world.agree {
      guard world.rank == 0 else { return }
      if let stored {
        bytes = stored
        if readsTraining {
          let extent = try text.extent(Vocabulary(serialized: stored))
          (count, lineEnds) = (extent.tokens, extent.lineEnds)
        }
      } else {
        let built = try text.buildVocabulary(
          size: configuration.data.vocabularySize, unknown: configuration.data.unknown)
        bytes = built.vocabulary.serialized()
        (count, lineEnds) = (built.statistics.tokens, built.lineEnds)
      }
    }
    remarks = Self.remarks(lineEnds, path: path, unit)
    digest = readsTraining ? try textDigest(text, world) : ""
    let vocabulary = try Vocabulary(serialized: try world.broadcast(bytes: bytes, root: 0))
    let counts: [Int] = try world.allGather(count)
    tokenCount = counts[0]
    self.vocabulary = vocabulary
    let accumulated = configuration.training.accumulateSteps, perWindow = perShard * T
    rows = configuration.model.tiedEmbedding ? nil : try EmbeddingRows(
      world: world, vocabularySize: vocabulary.count,
      tokensOfRank: (0..<world.size).map { context.layout.run(of: $0).count * perWindow * accumulated }, maximumWindows: accumulated)
    guard readsTraining else {
      streams = nil
      return
    }
    if !carriesState {
      streams = nil
      pieces = try world.agree {
        let layout = try ShuffledLayout(
          tokens: counts[0], batch: configuration.training.batchSize, unroll: T, seed: configuration.training.seed, file: path)
        return try ShuffledWindows(reading: text, vocabulary: vocabulary, layout: layout)
      }
      return
    }
    let tokens = counts[0], local = firstStream..<firstStream + context.localShards.count * perShard
    streams = try world.agree {
      let layout = try StreamLayout(
        tokens: tokens, batch: configuration.training.batchSize, unroll: configuration.training.unrollSteps, file: path)
      return try TokenStreams(
        reading: text, vocabulary: vocabulary, layout: layout, streams: local)
    }
  }

  func beginUpdate(_ minibatches: Range<Int>, epoch: Int) throws -> UpdateContents {
    pieces?.begin(epoch: epoch)
    try rows?.collect(windows: minibatches, shards: localShards) { window, shard, tokens in
      fill(window: window, shard: shard, inputs: tokens, targets: unusedTargets)
    }
    return UpdateContents(
      sequences: minibatches.count * loaded.sequences, targets: minibatches.count * loaded.targets, tokens: rows?.tokens ?? [])
  }

  func load(_ minibatch: Int, epoch: Int, into workspace: ModelWorkspace<Float>) throws -> LoadedMinibatch {
    pieces?.begin(epoch: epoch)
    if workspace.sequences[0].steps == 0 {
      workspace.begin(
        steps: configuration.training.unrollSteps, firstExamples: (0..<localShards).map { firstStream + $0 * perShard })
    }
    for i in 0..<localShards {
      fill(window: minibatch, shard: i, inputs: workspace.tokens[i], targets: workspace.targets[i])
      rows?.lookUp(workspace.tokens[i], into: workspace.embeddingSlots[i])
    }
    return loaded
  }

  /// Writes what local shard `shard` reads and predicts in a window, [T·B] each, time-major.
  private func fill(window: Int, shard: Int, inputs: VectorView<Int32>, targets: VectorView<Int32>) {
    let first = firstStream + shard * perShard, sequences = first..<first + perShard
    inputs.withMutableSpan { inputs in
      targets.withMutableSpan { targets in
        if let pieces {
          pieces.fill(minibatch: window, sequences: sequences, inputs: &inputs, targets: &targets)
        } else if let streams {
          streams.fill(window: window, streams: sequences, inputs: &inputs, targets: &targets)
        } else {
          preconditionFailure("the training text was not read")
        }
      }
    }
  }

  func evaluationData(_ files: DataFiles, key: String, keepsOrder: Bool) throws -> any EvaluationData {
    let file = TextFile(paths: files.paths, unit: unit), path = file.path
    let text = try context.world.agree {
      let extent = try file.extent(vocabulary), count = extent.tokens
      let layout = try EvaluationLayout(
        tokens: count, runs: min(configuration.evaluation.streams ?? configuration.training.batchSize, max(1, count - 1)),
        unroll: configuration.training.unrollSteps, file: path)
      return try EvaluationText(
        file, layout: layout, vocabulary: vocabulary, context: context, remarks: Self.remarks(extent.lineEnds, path: path, unit))
    }
    text.digest = try textDigest(file, context.world)
    return text
  }

  /// What is odd about the lines of a text.
  private static func remarks(_ lineEnds: LineEnds?, path: String, _ unit: TextUnit) -> [String] {
    (lineEnds?.remark(unit)).map { ["\(path) has \($0)"] } ?? []
  }
}

/// The checksum of a text's bytes, which rank 0 reads.
/// - Throws: on every rank the same error.
private func textDigest(_ text: TextFile, _ world: Communicator) throws -> String {
  func checksum() throws -> Checksum {
    var hasher = ChecksumHasher()
    try text.forEachPiece { unsafe hasher.update($0.bytes) }
    return hasher.checksum
  }
  let digest = try world.agree { world.rank == 0 ? Array(try checksum().hexadecimal.utf8) : nil }
  return String(decoding: try world.broadcast(bytes: digest, root: 0), as: UTF8.self)
}

/// The runs of a text for evaluation that this rank's shards read.
final class EvaluationText: EvaluationData {
  let path: String
  fileprivate(set) var digest = ""
  let remarks: [String]
  /// The runs of each local shard; consecutive runs, spread over all shards as evenly as can be.
  let runsOfLocalShards: [Range<Int>]
  let capacity: WorkspaceCapacity
  let carriesState = true
  private let runs: EvaluationRuns
  // The runs of every shard.
  private let runsOfShards: [Range<Int>]

  init(_ file: TextFile, layout: EvaluationLayout, vocabulary: Vocabulary, context: RankContext, remarks: [String]) throws {
    self.remarks = remarks
    let shards = context.layout.shards
    func firstRun(_ shard: Int) -> Int { shard * (layout.runs / shards) + min(shard, layout.runs % shards) }
    runsOfShards = (0..<shards).map { firstRun($0)..<firstRun($0 + 1) }
    runsOfLocalShards = Array(runsOfShards[context.localShards])
    let local = firstRun(context.localShards.lowerBound)..<firstRun(context.localShards.upperBound)
    path = file.path
    capacity = WorkspaceCapacity(sequences: runsOfLocalShards.map(\.count), steps: layout.unroll)
    runs = try EvaluationRuns(reading: file, vocabulary: vocabulary, layout: layout, runs: local)
  }

  var minibatches: Int { runs.layout.windows }
  /// Tokens predicted by all ranks.
  var frames: Int { runs.layout.predictions }
  var targets: Int { frames }
  let isLabelled = true

  func frameCounts(_ window: Int) -> [Int] {
    runsOfShards.flatMap { runs in
      let lengths = self.runs.layout.lengths(inWindow: window, runs: runs)
      return (0..<self.runs.layout.steps(inWindow: window)).map { t in lengths.count { $0 > t } }
    }
  }

  func load(_ window: Int, into workspace: ModelWorkspace<Float>) throws -> Int {
    let steps = runs.layout.steps(inWindow: window)
    // Some runs are a position longer than others, so that the last step of the last window may have fewer of them.
    let lengths = runsOfLocalShards.map { runs.layout.lengths(inWindow: window, runs: $0) }
    workspace.begin(
      lengths.map { PackedSequences(lengths: $0) },
      examples: zip(runsOfLocalShards, lengths).map { runs, lengths in lengths.indices.map { runs.lowerBound + $0 } })
    for shard in runsOfLocalShards.indices {
      workspace.tokens[shard].withMutableSpan { inputs in
        workspace.targets[shard].withMutableSpan { targets in
          // Negative targets where a run has ended.
          runs.fill(window: window, runs: runsOfLocalShards[shard], inputs: &inputs, targets: &targets)
        }
      }
    }
    return steps
  }

  func posteriorWriter(path: String, model: SequenceModel<Float>, subtractsPriors: Bool) throws -> PosteriorWriter {
    throw UsageError(description: "\(self.path): a text, and posteriors are written of archives alone")
  }
}
