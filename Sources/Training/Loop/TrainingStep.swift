import MPI
import NeuralNetwork
import Tensors

/// How much one update works on, over all ranks and micro-batches.
package struct StepSize: Equatable, Sendable {
  /// Micro-batches.
  package var minibatches = 0
  /// Unpadded frames.
  package var frames = 0
  /// Sequences, those of each micro-batch anew.
  package var sequences = 0
  /// What has a target.
  package var targets = 0
  /// Time steps of the longest sequence of each micro-batch, added up.
  package var steps = 0
  /// Rows of the embedding that have a gradient.
  package var embeddingRows = 0

  package init(
    minibatches: Int = 0, frames: Int = 0, sequences: Int = 0, targets: Int = 0, steps: Int = 0, embeddingRows: Int = 0
  ) {
    self.minibatches = minibatches
    self.frames = frames
    self.sequences = sequences
    self.targets = targets
    self.steps = steps
    self.embeddingRows = embeddingRows
  }
}

/// What one update reports.
struct StepResult {
  /// Mean cross entropy before the update in nats, over all that has a target in the global minibatch.
  var loss: Double
  /// ‖g‖₂ of the reduced gradient before clipping.
  var gradientNorm: Double
  /// What the update worked on.
  var size: StepSize
  /// Unpadded frames of all ranks.
  var frames: Int { size.frames }
  /// Targets that were not the arg max before the update.
  var errors: Int
  /// Whether any rank asked for attention (a checkpoint that is due, a signal), by the bits that `Request` names.
  var requests: Request
  /// The same in the form of an evaluation.
  var evaluation: EvaluationResult { EvaluationResult(loss: loss, frames: frames, targets: size.targets, errors: errors) }
}

/// What a rank asks of all at the end of a step; ranks agree on it with the loss.
struct Request: OptionSet {
  let rawValue: Int
  static let checkpoint = Request(rawValue: 1)
  static let stop = Request(rawValue: 2)
  /// The checkpoint that was being written has come to its end.
  static let written = Request(rawValue: 4)
}

/// One update of the model from the next minibatches: forward, backward, reduction, clipping, update.
final class TrainingStep {
  let configuration: TrainingConfiguration
  let model: SequenceModel<Float>
  let optimizer: Optimizer<Float>
  let workspace: ModelWorkspace<Float>
  let timer: PhaseTimer
  let gradients: ShardGradients
  /// Set in a training run, not in a benchmark.
  var survival: Survival? {
    didSet { timer.observer = survival.map { survival in { survival.enter($0) } } }
  }
  private let context: RankContext
  private let data: any TrainingData
  private let seed: UInt64
  // For each local shard what is summed over all at the end of a step: loss, wrong frames, and one column a request.
  private let sums: MatrixView<Double>

  /// Allocates everything that an update needs.
  init(
    _ configuration: TrainingConfiguration, model: SequenceModel<Float>, context: RankContext, data: any TrainingData
  ) throws {
    let A = configuration.training.accumulateSteps
    let timer = PhaseTimer()
    timer.trace = context.world.trace
    self.configuration = configuration
    self.model = model
    self.context = context
    self.data = data
    self.timer = timer
    seed = configuration.training.seed
    sums = MatrixView(zeros: context.localShards.count, 5)
    optimizer = Optimizer(
      configuration.optimizer.method, momentum: configuration.optimizer.momentum, decayRate: configuration.optimizer.decayRate,
      weightDecay: configuration.optimizer.weightDecay, epsilon: configuration.optimizer.epsilon, configuration: model.configuration,
      layout: model.layout)
    workspace = ModelWorkspace(model, data.capacity, training: true)
    let tokens = configuration.training.batchSize * configuration.training.unrollSteps * A
    gradients = try ShardGradients(
      model: model, context: context, embeddingRows: model.embeddingGradientRows(tokens: tokens), accumulateSteps: A,
      bucketBytes: Int(configuration.communication.bucketMegabytes * 1_048_576),
      isReproducible: configuration.communication.reproducible, format: configuration.communication.gradients.half,
      overlaps: configuration.communication.overlap, timer: timer)
    context.statistics.background = gradients.background
    context.globalStatistics.background = gradients.background
  }

  /// How gradients get from rank to rank, in words.
  var gradientExchange: String { gradients.exchange }

  private func pass(
    _ mode: Mode, _ counts: FrameCounts, noise purpose: NoiseKey.Purpose, minibatch: Int
  ) -> PassContext<Float> {
    var pass = PassContext(
      mode: mode, steps: counts.steps, counts: counts, groups: context.groups, reducer: context.statistics, timer: timer)
    pass.initialNoise = NoiseKey(seed: seed, purpose: purpose, minibatch: minibatch)
    return pass
  }

  /// What the summed cross entropy of an update is multiplied by before it is differentiated: all micro-batches count, so that they make the
  /// gradient of one minibatch of all their sequences.
  private func gradientScale(_ update: UpdateContents) -> Double {
    switch configuration.training.averageOver {
    case .sequences: 1 / Double(update.sequences)
    case .frames: 1 / Double(update.targets)
    }
  }

  /// Updates the parameters from `minibatches` of `epoch` (from 1), which become one micro-batch each.
  /// - step: number of the update, from 1.
  /// - request: what this rank asks of all ranks.
  /// - Throws: `DivergenceError` on every rank if loss or gradient is not finite; nothing is updated then.
  func update(minibatches: Range<Int>, epoch: Int, step: Int, learningRate: Double, request: Request) throws -> StepResult {
    try survival?.beginUpdate(step: step)
    timer.enter(.input)
    timer.beginStep(step)
    var contents = try data.beginUpdate(minibatches, epoch: epoch)
    if isWhiteningDue(step: step) {
      try whiten(minibatches, epoch: epoch, step: step)
      timer.enter(.input)
      contents = try data.beginUpdate(minibatches, epoch: epoch)
    }
    let tokens = contents.tokens, gradientScale = gradientScale(contents)
    sums.fill(0)
    var size = StepSize(minibatches: minibatches.count, embeddingRows: tokens.count)
    for (index, minibatch) in minibatches.enumerated() {
      if index > 0 && data.carriesState { workspace.carryState() }
      gradients.beginMicroBatch(index, of: minibatches.count, embeddingRows: tokens.count)
      timer.enter(.input)
      let loaded = try load(minibatch, epoch: epoch)
      size.frames += loaded.counts.total
      size.sequences += loaded.sequences
      size.targets += loaded.targets
      size.steps += loaded.counts.steps
      let pass = trainingPass(minibatch, of: minibatches, epoch: epoch, loaded)
      try model.forward(workspace, pass, globalReducer: context.globalStatistics)
      let shardLosses = try model.backward(workspace, pass, gradientScale: gradientScale, sink: gradients)
      for (i, shard) in shardLosses.enumerated() {
        sums[i, 0] += shard.loss
        sums[i, 1] += Double(shard.errors)
      }
    }
    try survival?.reach(.exchange, step: step)
    try gradients.finish()
    return try finish(size: size, tokens: tokens, step: step, learningRate: learningRate, request: request)
  }

  /// Whether inputs are whitened anew before update `step`.
  private func isWhiteningDue(step: Int) -> Bool {
    configuration.normalization.placement == .whitenedInput && (step - 1) % configuration.normalization.whiteningInterval == 0
  }

  /// Estimates the covariance of every layer's input over the frames of an update, as its forward passes see it, and whitens by it.
  private func whiten(_ minibatches: Range<Int>, epoch: Int, step: Int) throws {
    let saved = data.carriesState ? RecurrentState(workspace, of: model) : nil
    model.beginWhitening()
    for (index, minibatch) in minibatches.enumerated() {
      if index > 0 && data.carriesState { workspace.carryState() }
      let loaded = try load(minibatch, epoch: epoch), pass = trainingPass(minibatch, of: minibatches, epoch: epoch, loaded)
      try model.forward(workspace, pass, globalReducer: context.globalStatistics)
      timer.enter(.statisticsExchange)
      try model.addToWhitening(workspace, pass, globalReducer: context.globalStatistics)
    }
    saved?.restore(to: workspace)
    timer.enter(.normalization)
    model.finishWhitening()
    if model.whitenings.contains(where: { $0.whitening.averageCovariance.vector.firstNotFinite != nil }) {
      let (rank, place) = try firstNotFinite(model, workspace, world: context.world)
      throw DivergenceError(step: step, kind: .covariance, loss: .nan, rank: rank, place: place)
    }
    for (layer, whitening) in model.whitenings {
      // LAPACK's last bits are those of one processor, so the first rank's count for all.
      let solution = try context.world.agree {
        context.isFirst ? try whitening.solve() : MatrixView<Double>(zeros: 2, whitening.matrix.vector.count)
      }
      try context.world.broadcast(solution.vector, root: 0)
      for range in model.whiten(layer, by: solution) { optimizer.forget(range) }
    }
  }

  /// - minibatches: those of the update.
  private func trainingPass(
    _ minibatch: Int, of minibatches: Range<Int>, epoch: Int, _ loaded: LoadedMinibatch
  ) -> PassContext<Float> {
    // As many numbers an epoch as the longest one needs.
    let first = (epoch - 1) * data.minibatchBounds.upperBound, number = first + minibatch
    var pass = pass(.training(step: UInt32(truncatingIfNeeded: number), seed: seed), loaded.counts, noise: .training, minibatch: number)
    pass.firstMinibatch = UInt32(truncatingIfNeeded: first + minibatches.lowerBound)
    return pass
  }

  private func load(_ minibatch: Int, epoch: Int) throws -> LoadedMinibatch {
    if !data.carriesState { workspace.resetState() }
    return try data.load(minibatch, epoch: epoch, into: workspace)
  }

  private func finish(
    size: StepSize, tokens: [Int32], step: Int, learningRate: Double, request: Request
  ) throws -> StepResult {
    timer.enter(.gradientExchange)
    let (loss, errors, requests) = try sumLosses(asked: request)
    timer.enter(.optimizer)
    let norm = gradients.norm
    let mean = loss / Double(size.targets)
    guard mean.isFinite && norm.isFinite else {
      throw try divergence(step: step, loss: mean, norm: norm)
    }
    var scale = 1.0
    if let clip = configuration.optimizer.clipNorm, norm > clip { scale = clip / norm }
    optimizer.update(
      model.parameters, gradient: gradients.reduced, embeddingRows: tokens, gradientScale: scale, learningRate: learningRate,
      step: step)
    if data.carriesState { workspace.carryState() }
    timer.enter(.other)
    timer.endStep()
    return StepResult(loss: mean, gradientNorm: norm, size: size, errors: errors, requests: requests)
  }

  /// The sum of all shards' losses along the fixed tree, and the union of all ranks' requests.
  private func sumLosses(asked: Request) throws -> (Double, Int, Request) {
    // A rank asks through its first shard.
    if asked.contains(.checkpoint) { sums[0, 2] = 1 }
    if asked.contains(.stop) { sums[0, 3] = 1 }
    if asked.contains(.written) { sums[0, 4] = 1 }
    let sums = try context.values.sums(sums)
    var requests: Request = []
    if sums[2] > 0 { requests.insert(.checkpoint) }
    if sums[3] > 0 { requests.insert(.stop) }
    if sums[4] > 0 { requests.insert(.written) }
    return (sums[0], Int(sums[1]), requests)
  }

  /// Names the first layer with a value that is not finite, on the lowest rank that has one.
  private func divergence(step: Int, loss: Double, norm: Double) throws -> DivergenceError {
    let (rank, place) = try firstNotFinite(model, workspace, world: context.world)
    return loss.isFinite
      ? DivergenceError(
        step: step, kind: .gradient, loss: norm, rank: rank, place: place, format: configuration.communication.gradients.half)
      : DivergenceError(step: step, kind: .loss, loss: loss, rank: rank, place: place)
  }

  /// How far the loss of the last step of each sequence reaches back, on the first training minibatch with its own statistics and without dropout.
  /// - Returns: for each layer, for k from 0, the root of the mean over sequences of ‖∂L/∂h_{T-1-k}‖², where L is the sum of the cross
  ///   entropies of their last steps.
  func gradientFlow() throws -> [[Double]] {
    // The carried state belongs to training: it is put back afterwards.
    let saved = data.carriesState ? RecurrentState(workspace, of: model) : nil
    defer { saved?.restore(to: workspace) }
    workspace.resetState()
    let loaded = try load(0, epoch: 0), T = loaded.counts.steps
    model.packWeights()
    let pass = pass(.population, loaded.counts, noise: .population, minibatch: 0)
    try model.forward(workspace, pass, globalReducer: context.globalStatistics)
    let sums = try context.values.sums(try model.gradientFlow(workspace, pass)), L = model.configuration.layers
    return (0..<L).map { layer in (0..<T).map { (sums[layer * T + $0] / max(sums[L * T + $0], 1)).squareRoot() } }
  }

  /// Runs training minibatches with fixed weights and makes the evaluation statistics those of the population.
  /// - variance: whether that of all frames together, or the mean of the groups'.
  /// - count: how many minibatches from the start of the training data.
  /// - check: called before every minibatch on all ranks; when it throws the evaluation statistics are what they were.
  func estimatePopulation(_ variance: PopulationVariance, minibatches count: Int, check: () throws -> Void = {}) throws {
    if model.normalizations.isEmpty { return }
    // The carried state belongs to training: it is put back afterwards.
    let saved = data.carriesState ? RecurrentState(workspace, of: model) : nil
    defer { saved?.restore(to: workspace) }
    workspace.resetState()
    model.beginPopulation(groups: context.groups, variance: variance)
    for minibatch in 0..<count {
      try check()
      let loaded = try load(minibatch, epoch: 0)
      let pass = pass(.population, loaded.counts, noise: .population, minibatch: minibatch)
      try model.forward(workspace, pass, globalReducer: context.globalStatistics)
      if data.carriesState { workspace.carryState() }
    }
    try model.finishPopulation(groups: context.allShards, globalReducer: context.globalStatistics,
      framesPerStep: configuration.evaluation.framesPerStep)
  }
}
