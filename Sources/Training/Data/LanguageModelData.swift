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
  private let steps: Int
  private let unit: TextUnit

  /// Windows of an epoch.
  var windows: Int { streams?.layout.windows ?? 0 }

  /// Reads the training text: rank 0 makes the vocabulary, then every rank reads its own streams.
  /// - vocabulary: the one of a checkpoint, which the text must then agree with.
  /// - readsTraining: whether the training text is needed at all.
  /// - Throws: on every rank the same error.
  init(
    _ configuration: TrainingConfiguration, context: RankContext, vocabulary stored: [UInt8]?, readsTraining: Bool = true
  ) throws {
    let world = context.world, unit = TextUnit(configuration.data.unit)
    self.unit = unit
    steps = configuration.training.unrollSteps
    perShard = configuration.training.batchSize / context.layout.shards
    firstStream = context.localShards.lowerBound * perShard
    let path = readsTraining ? configuration.data.train.textPath : ""

    var bytes: [UInt8]?, count = 0
    try world.agree {
      guard world.rank == 0 else { return }
      if let stored {
        bytes = stored
        if readsTraining { count = try Vocabulary(serialized: stored).countTokens(file: path, unit: unit) }
      } else {
        let built = try Vocabulary.build(file: path, unit: unit, size: configuration.data.vocabularySize)
        bytes = built.vocabulary.serialized()
        count = built.tokenCount
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
        tokens: tokens, streams: configuration.training.batchSize, steps: configuration.training.unrollSteps, file: path)
      let ids = try vocabulary.readTokens(file: path, unit: unit, ranges: [layout.positions(ofStreams: local)])
      guard ids.count == local.count * layout.length else {
        throw CorpusError(.tooShort("the text has become shorter while it was read"), file: path)
      }
      return TokenStreams(layout: layout, streams: local, ids: ids)
    }
  }

  /// Writes what local shard `shard` reads in a window, [T·B] time-major.
  func fillInputs(window: Int, shard: Int, into tokens: VectorView<Int32>) {
    fill(window: window, shard: shard, offset: 0, into: tokens)
  }

  /// Writes what local shard `shard` reads and predicts in a window, [T·B] each, time-major.
  func fill(window: Int, shard: Int, inputs: VectorView<Int32>, targets: VectorView<Int32>) {
    fill(window: window, shard: shard, offset: 0, into: inputs)
    fill(window: window, shard: shard, offset: 1, into: targets)
  }

  private func fill(window: Int, shard: Int, offset: Int, into tokens: VectorView<Int32>) {
    guard let streams else { preconditionFailure("the training text was not read") }
    let first = firstStream + shard * perShard
    precondition(tokens.count == steps * perShard, "a window of another size")
    tokens.withMutableSpan { span in
      for t in 0..<steps {
        for b in 0..<perShard { span[t * perShard + b] = streams.token(window: window, step: t + offset, stream: first + b) }
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
      let count = try vocabulary.countTokens(file: path, unit: unit)
      let layout = try EvaluationLayout(
        tokens: count, streams: configuration.evaluation.streams ?? configuration.training.batchSize,
        steps: configuration.training.unrollSteps, file: path)
      return try EvaluationText(path: path, layout: layout, vocabulary: vocabulary, unit: unit, context: context)
    }
  }
}

/// The runs of a text for evaluation that this rank's shards read.
struct EvaluationText {
  let path: String
  /// The runs of each local shard; consecutive runs, spread over all shards as evenly as can be.
  let runsOfLocalShards: [Range<Int>]
  private let runs: EvaluationRuns

  init(path: String, layout: EvaluationLayout, vocabulary: Vocabulary, unit: TextUnit, context: RankContext) throws {
    let shards = context.layout.shards
    func firstRun(_ shard: Int) -> Int { shard * (layout.runs / shards) + min(shard, layout.runs % shards) }
    runsOfLocalShards = context.localShards.map { firstRun($0)..<firstRun($0 + 1) }
    let local = firstRun(context.localShards.lowerBound)..<firstRun(context.localShards.upperBound)
    let ids = try vocabulary.readTokens(file: path, unit: unit, ranges: [layout.tokens(ofRuns: local)])
    self.path = path
    runs = EvaluationRuns(layout: layout, runs: local, ids: ids)
  }

  var windows: Int { runs.layout.windows }
  /// Tokens predicted by all ranks.
  var predictions: Int { runs.layout.predictions }

  /// Steps of a window.
  func steps(ofWindow window: Int) -> Int { runs.layout.steps(ofWindow: window) }

  /// Writes what local shard `shard` reads and predicts, time-major; −1 where a run has ended.
  func fill(window: Int, shard: Int, inputs: VectorView<Int32>, targets: VectorView<Int32>) {
    let range = runsOfLocalShards[shard]
    for t in 0..<steps(ofWindow: window) {
      for (b, run) in range.enumerated() {
        let token = runs.token(window: window, step: t, run: run)
        inputs[t * range.count + b] = token.input
        targets[t * range.count + b] = token.target
      }
    }
  }
}
