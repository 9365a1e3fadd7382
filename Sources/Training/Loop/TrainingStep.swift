import MPI
import NeuralNetwork
import Tensors

/// What one update reports.
struct StepResult {
  /// Mean cross entropy before the update, nats a frame, over all frames of the global minibatch.
  var loss: Double
  /// ‖g‖₂ of the reduced gradient before clipping.
  var gradientNorm: Double
  /// Unpadded frames of all ranks.
  var frames: Int
  /// Whether any rank asked for attention (a checkpoint that is due, a signal), by the bits that `Request` names.
  var requests: Request
}

/// What a rank asks of all at the end of a step; ranks agree on it with the loss.
struct Request: OptionSet {
  let rawValue: Int
  static let checkpoint = Request(rawValue: 1)
  static let stop = Request(rawValue: 2)
}

/// One update of the model from the next windows: forward, backward, reduction, clipping, update.
final class TrainingStep {
  let configuration: TrainingConfiguration
  let model: SequenceModel<Float>
  let optimizer: Optimizer<Float>
  let workspace: ModelWorkspace<Float>
  let timer: PhaseTimer
  private let context: RankContext
  private let data: LanguageModelData
  private let gradients: ShardGradients
  private let rows: EmbeddingRows
  private let counts: FrameCounts
  private let seed: UInt64

  /// Allocates everything that an update needs.
  init(
    _ configuration: TrainingConfiguration, model: SequenceModel<Float>, context: RankContext, data: LanguageModelData
  ) throws {
    let T = configuration.training.unrollSteps, B = configuration.training.batchSize
    let A = configuration.training.accumulateSteps
    let timer = PhaseTimer()
    self.configuration = configuration
    self.model = model
    self.context = context
    self.data = data
    self.timer = timer
    seed = configuration.training.seed
    guard let method = OptimizationMethod(rawValue: configuration.optimizer.method.rawValue) else {
      preconditionFailure("an unknown optimiser")
    }
    optimizer = Optimizer(
      method, momentum: configuration.optimizer.momentum, configuration: model.configuration, layout: model.layout)
    let perShard = B / context.layout.shards
    workspace = ModelWorkspace(
      model, sequences: context.localShards.map { _ in perShard }, firstExamples: context.localShards.map { $0 * perShard },
      steps: T, training: true)
    counts = FrameCounts(
      perStep: Array(repeating: perShard, count: context.layout.shards * T), steps: T, groups: context.groups)
    let tokens = (0..<context.world.size).map { context.layout.run(of: $0).count * perShard * T * A }
    rows = try EmbeddingRows(
      world: context.world, vocabularySize: model.configuration.vocabularySize, tokensOfRank: tokens,
      maximumWindows: A)
    gradients = try ShardGradients(
      model: model, context: context, embeddingRows: model.embeddingGradientRows(tokens: B * T * A), accumulateSteps: A,
      bucketBytes: Int(configuration.communication.bucketMegabytes * 1_048_576),
      isReproducible: configuration.communication.reproducible, timer: timer)
  }

  private func pass(_ mode: Mode) -> PassContext<Float> {
    PassContext(
      mode: mode, steps: configuration.training.unrollSteps, counts: counts, groups: context.groups,
      reducer: context.statistics, timer: timer)
  }

  /// What the summed cross entropy is divided by before it is differentiated.
  private var gradientScale: Double {
    switch configuration.training.averageOver {
    case .sequences: 1 / Double(configuration.training.batchSize)
    case .frames: 1 / Double(counts.total)
    }
  }

  /// Updates the parameters from `windows` of `epoch` (from 1), which become one micro-batch each.
  /// - step: number of the update, from 1.
  /// - request: what this rank asks of all ranks.
  /// - Throws: `DivergenceError` on every rank if loss or gradient is not finite; nothing is updated then.
  func update(windows: Range<Int>, epoch: Int, step: Int, learningRate: Double, request: Request) throws -> StepResult {
    timer.enter(.input)
    try rows.collect(windows: windows, shards: context.localShards.count) { window, shard, tokens in
      data.fillInputs(window: window, shard: shard, into: tokens)
    }
    var losses = Array(repeating: 0.0, count: context.localShards.count)
    for (index, window) in windows.enumerated() {
      if index > 0 { workspace.carryState(steps: configuration.training.unrollSteps) }
      gradients.beginMicroBatch(index, of: windows.count, embeddingRows: rows.tokens.count)
      timer.enter(.input)
      for i in 0..<context.localShards.count {
        data.fill(window: window, shard: i, inputs: workspace.inputs[i], targets: workspace.targets[i])
        rows.lookUp(workspace.inputs[i], into: workspace.embeddingSlots[i])
      }
      let minibatch = UInt32(truncatingIfNeeded: (epoch - 1) * data.windows + window)
      let context = pass(.training(step: minibatch, seed: seed))
      try model.forward(workspace, context, globalReducer: self.context.globalStatistics)
      let shardLosses = try model.backward(workspace, context, gradientScale: gradientScale, sink: gradients)
      for (i, loss) in shardLosses.enumerated() { losses[i] += loss }
    }
    try gradients.finish()
    return try finish(losses, frames: counts.total * windows.count, step: step, learningRate: learningRate, request: request)
  }

  private func finish(
    _ losses: [Double], frames: Int, step: Int, learningRate: Double, request: Request
  ) throws -> StepResult {
    timer.enter(.gradientExchange)
    let (loss, requests) = try sumLosses(losses, asked: request)
    timer.enter(.optimizer)
    let gradient = gradients.reduced
    let dense = gradient[0..<model.layout.embedding.lowerBound]
    let E = model.configuration.embeddingSize
    let sparse = gradient[model.layout.embedding.lowerBound..<model.layout.embedding.lowerBound + rows.tokens.count * E]
    let norm = (dense.sumOfSquares + sparse.sumOfSquares).squareRoot()
    let mean = loss / Double(frames)
    guard mean.isFinite && norm.isFinite else {
      throw try divergence(step: step, loss: mean, norm: norm)
    }
    var scale = 1.0
    if let clip = configuration.optimizer.clipNorm, norm > clip { scale = clip / norm }
    optimizer.update(
      model.parameters, gradient: gradient, embeddingRows: rows.tokens, gradientScale: scale, learningRate: learningRate,
      step: step)
    timer.enter(.other)
    workspace.carryState(steps: configuration.training.unrollSteps)
    return StepResult(loss: mean, gradientNorm: norm, frames: frames, requests: requests)
  }

  /// The sum of all shards' losses along the fixed tree, and the union of all ranks' requests.
  private func sumLosses(_ losses: [Double], asked: Request) throws -> (Double, Request) {
    // A rank asks through its first shard.
    let values = losses.enumerated().map { i, loss in
      [loss, i == 0 && asked.contains(.checkpoint) ? 1 : 0, i == 0 && asked.contains(.stop) ? 1 : 0]
    }
    let sums = try context.values.sums(values)
    var requests: Request = []
    if sums[1] > 0 { requests.insert(.checkpoint) }
    if sums[2] > 0 { requests.insert(.stop) }
    return (sums[0], requests)
  }

  /// Names the first layer with a value that is not finite, on the lowest rank that has one.
  private func divergence(step: Int, loss: Double, norm: Double) throws -> DivergenceError {
    let (rank, place) = try firstNotFinite(
      model, workspace, steps: configuration.training.unrollSteps, world: context.world)
    return loss.isFinite
      ? DivergenceError(step: step, kind: .gradient, loss: norm, rank: rank, place: place)
      : DivergenceError(step: step, kind: .loss, loss: loss, rank: rank, place: place)
  }

  /// Runs the training windows with fixed weights and makes the evaluation statistics those of the population.
  /// - windows: how many minibatches from the start of the training data.
  func estimatePopulation(windows: Int) throws {
    if model.normalizations.isEmpty { return }
    // The carried state belongs to training: it is put back afterwards.
    let saved = RecurrentState(workspace, layers: model.configuration.layers)
    workspace.resetState()
    model.beginPopulation(groups: context.groups)
    let pass = pass(.population)
    for window in 0..<windows {
      for i in 0..<context.localShards.count {
        data.fill(window: window, shard: i, inputs: workspace.inputs[i], targets: workspace.targets[i])
      }
      try model.forward(workspace, pass, globalReducer: context.globalStatistics)
      workspace.carryState(steps: configuration.training.unrollSteps)
    }
    try model.finishPopulation(groups: context.allShards, globalReducer: context.globalStatistics)
    saved.restore(to: workspace)
  }
}
