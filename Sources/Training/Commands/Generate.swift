import Glibc
import NeuralNetwork
import SequenceData
import Tensors

/// What `lockstep generate` is asked for.
public struct GenerationRequest: Sendable {
  /// Text that comes first.
  public var prompt: String
  /// Tokens to add to it.
  public var tokens: Int
  /// 1 draws from the model's distribution, less sharpens it, 0 takes the most likely token.
  public var temperature: Double
  public var seed: UInt64

  /// The arguments as the command line gives them.
  public init(prompt: String, tokens: Int, temperature: Double, seed: UInt64) {
    self.prompt = prompt
    self.tokens = tokens
    self.temperature = temperature
    self.seed = seed
  }
}

/// `lockstep generate`: text from the language model of a checkpoint, in one process.
public func generate(checkpoint path: String, _ request: GenerationRequest, console: Console) throws {
  let arithmetic = try Arithmetic()
  guard request.tokens >= 0, request.temperature >= 0, request.temperature.isFinite else {
    throw UsageError(description: "--tokens and --temperature must be 0 or more")
  }
  let checkpoint = try CheckpointStore.open(path: path)
  console.note("model of step \(checkpoint.state.step)")
  let configuration = try TrainingConfiguration(yaml: checkpoint.state.configuration, file: path, overrides: [])
  guard configuration.task.definition.predictsInputs else {
    throw UsageError(description: "\(path): a model for \(configuration.task.rawValue), which generates no text")
  }
  let vocabulary = try Vocabulary(serialized: checkpoint.bytes(of: configuration.task.definition.dataFile))
  let model = SequenceModel<Float>(NetworkConfiguration(configuration, vocabularySize: vocabulary.count))
  _ = try checkpoint.model().read(into: model.parameterTensors + model.evaluationTensors)
  model.restoreRunningSteps(checkpoint.state)
  if configuration.evaluation.statistics == .batch && model.configuration.usesBatchStatistics {
    console.warn("evaluation.statistics is batch, and a single text has no statistics of its own: running averages serve")
  }
  for warning in arithmetic.warnings(model.configuration.products) { console.warn(warning) }
  let unit = TextUnit(configuration.data.unit)
  var generator = Generator(model: model, steps: configuration.training.unrollSteps)
  let prompt = try vocabulary.encode(request.prompt, unit: unit, source: "--prompt")
  // A text begins after the end of a line.
  let start = vocabulary.id(of: unit == .word ? SpecialToken.endOfSentence : "\n") ?? 0
  for token in [start] + prompt { try generator.read(token) }
  var random = RandomStream(seed: request.seed, stream: 0)
  let draw = VectorView<Double>(zeros: 2)
  var tokens = prompt
  for _ in 0..<request.tokens {
    random.fillUniform(draw)
    let token = generator.sample(temperature: request.temperature, uniform: draw[0])
    tokens.append(token)
    try generator.read(token)
  }
  console.print(vocabulary.decode(tokens, unit: unit))
}

/// A model that reads one token at a time.
private struct Generator {
  let model: SequenceModel<Float>
  let workspace: ModelWorkspace<Float>
  let steps: Int
  private var position = 0
  private let groups = ShardGroups(shards: 1, local: 0..<1, groups: [0..<1])
  private let timer = PhaseTimer()

  init(model: SequenceModel<Float>, steps: Int) {
    self.model = model
    self.steps = steps
    workspace = ModelWorkspace(model, WorkspaceCapacity(sequences: [1], steps: 1), training: false)
    workspace.begin(steps: 1, firstExamples: [0])
    workspace.resetState()
    model.prepareEvaluation()
  }

  mutating func read(_ token: Int32) throws {
    if position > 0 { workspace.carryState() }
    workspace.tokens[0][0] = token
    var pass = PassContext<Float>(
      mode: .evaluation, steps: 1, counts: FrameCounts(perStep: [1], steps: 1, groups: groups), groups: groups,
      reducer: NoReduction(), timer: timer)
    pass.firstStep = position % steps
    try model.forward(workspace, pass, globalReducer: NoReduction())
    position += 1
  }

  /// The token at quantile `uniform` of the distribution after the last token read.
  func sample(temperature: Double, uniform: Double) -> Int32 {
    let logits = model.logits(workspace, step: 0)[0].array.map { Double($0) }
    guard let largest = logits.max() else { return 0 }
    if temperature == 0 { return Int32(logits.firstIndex(of: largest) ?? 0) }
    let weights = logits.map { exp(($0 - largest) / temperature) }
    var left = uniform * weights.reduce(0, +)
    for (token, weight) in weights.enumerated() {
      left -= weight
      if left < 0 { return Int32(token) }
    }
    return Int32(logits.count - 1)
  }
}

/// Statistics of one shard need no reduction.
private final class NoReduction: StatisticsReducing {
  func combineMoments(mean: MatrixView<Float>, squares: MatrixView<Float>, counts: [Int]) throws {}
  func combineSums(_ sums: MatrixView<Float>) throws {}
}
