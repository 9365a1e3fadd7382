import DataParallel
import MPI
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

extension TrainingConfiguration.Source {
  /// The path of a text.
  var textPath: String {
    guard case .text(let path) = self else { preconditionFailure("a language model reads texts") }
    return path
  }
}

/// The training text as one rank sees it: the vocabulary, and the tokens of its own streams.
final class LanguageModelData {
  let vocabulary: Vocabulary
  /// N of the training text; 0 if it was not read.
  let tokenCount: Int
  private let streams: TokenStreams?
  private let firstStream: Int
  private let perShard: Int
  private let unit: TextUnit
  private let unusedTargets: VectorView<Int32>

  /// Windows of an epoch.
  var windows: Int { streams?.layout.windowsPerEpoch ?? 0 }

  /// Reads the training text: rank 0 makes the vocabulary, then every rank reads its own streams.
  /// - vocabulary: the one of a checkpoint, which the text must then agree with.
  /// - readsTraining: whether the training text is needed at all.
  /// - Throws: on every rank the same error.
  init(
    _ configuration: TrainingConfiguration, context: RankContext, vocabulary stored: [UInt8]?, readsTraining: Bool = true
  ) throws {
    let world = context.world, unit = TextUnit(configuration.data.unit)
    self.unit = unit
    perShard = configuration.training.batchSize / context.layout.shards
    firstStream = context.localShards.lowerBound * perShard
    unusedTargets = VectorView(zeros: configuration.training.unrollSteps * perShard)
    let path = readsTraining ? configuration.data.train.textPath : ""

    var bytes: [UInt8]?, count = 0
    try world.agree {
      guard world.rank == 0 else { return }
      if let stored {
        bytes = stored
        if readsTraining { count = try TextFile(path: path, unit: unit).countTokens() }
      } else {
        let built = try TextFile(path: path, unit: unit).buildVocabulary(size: configuration.data.vocabularySize)
        bytes = built.vocabulary.serialized()
        count = built.statistics.tokens
      }
    }
    let vocabulary = try Vocabulary(serialized: try world.broadcast(bytes: bytes, root: 0))
    let counts: [Int] = try world.allGather(count)
    tokenCount = counts[0]
    self.vocabulary = vocabulary
    guard readsTraining else {
      streams = nil
      return
    }
    let tokens = counts[0], local = firstStream..<firstStream + context.localShards.count * perShard
    streams = try world.agree {
      let layout = try StreamLayout(
        tokens: tokens, batch: configuration.training.batchSize, unroll: configuration.training.unrollSteps, file: path)
      return try TokenStreams(
        reading: TextFile(path: path, unit: unit), vocabulary: vocabulary, layout: layout, streams: local)
    }
  }

  /// Writes what local shard `shard` reads in a window, [T·B] time-major.
  func fillInputs(window: Int, shard: Int, into tokens: VectorView<Int32>) {
    fill(window: window, shard: shard, inputs: tokens, targets: unusedTargets)
  }

  /// Writes what local shard `shard` reads and predicts in a window, [T·B] each, time-major.
  func fill(window: Int, shard: Int, inputs: VectorView<Int32>, targets: VectorView<Int32>) {
    guard let streams else { preconditionFailure("the training text was not read") }
    let first = firstStream + shard * perShard
    inputs.withMutableSpan { inputs in
      targets.withMutableSpan { targets in
        streams.fill(window: window, streams: first..<first + perShard, inputs: &inputs, targets: &targets)
      }
    }
  }

  /// The part of a text for evaluation that this rank's shards read; nil without a text.
  /// - Throws: on every rank the same error.
  func evaluationText(
    _ source: TrainingConfiguration.Source?, _ configuration: TrainingConfiguration, _ context: RankContext
  ) throws -> EvaluationText? {
    guard let source else { return nil }
    let path = source.textPath, vocabulary = vocabulary, unit = unit
    return try context.world.agree {
      let file = TextFile(path: path, unit: unit), count = try file.countTokens()
      let layout = try EvaluationLayout(
        tokens: count, runs: min(configuration.evaluation.streams ?? configuration.training.batchSize, max(1, count - 1)),
        unroll: configuration.training.unrollSteps, file: path)
      return try EvaluationText(file, layout: layout, vocabulary: vocabulary, context: context)
    }
  }
}

/// The runs of a text for evaluation that this rank's shards read.
struct EvaluationText {
  let path: String
  /// The runs of each local shard; consecutive runs, spread over all shards as evenly as can be.
  let runsOfLocalShards: [Range<Int>]
  private let runs: EvaluationRuns

  init(_ file: TextFile, layout: EvaluationLayout, vocabulary: Vocabulary, context: RankContext) throws {
    let shards = context.layout.shards
    func firstRun(_ shard: Int) -> Int { shard * (layout.runs / shards) + min(shard, layout.runs % shards) }
    runsOfLocalShards = context.localShards.map { firstRun($0)..<firstRun($0 + 1) }
    let local = firstRun(context.localShards.lowerBound)..<firstRun(context.localShards.upperBound)
    path = file.path
    runs = try EvaluationRuns(reading: file, vocabulary: vocabulary, layout: layout, runs: local)
  }

  var windows: Int { runs.layout.windows }
  /// Tokens predicted by all ranks.
  var predictions: Int { runs.layout.predictions }

  /// Steps of a window.
  func steps(ofWindow window: Int) -> Int { runs.layout.steps(inWindow: window) }

  /// Writes what local shard `shard` reads and predicts, time-major; negative targets where a run has ended.
  func fill(window: Int, shard: Int, inputs: VectorView<Int32>, targets: VectorView<Int32>) {
    inputs.withMutableSpan { inputs in
      targets.withMutableSpan { targets in
        runs.fill(window: window, runs: runsOfLocalShards[shard], inputs: &inputs, targets: &targets)
      }
    }
  }
}
