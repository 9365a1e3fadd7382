import DataParallel
import MPI
import NeuralNetwork
import Tensors

/// Loss of a model on data for evaluation, with fixed weights and statistics.
struct EvaluationResult {
  /// Mean cross entropy in nats, over what has a target.
  var loss: Double
  /// Frames that the loss depends on; a frame of a text is a token.
  var frames: Int
  /// What has a target.
  var targets: Int
  /// Those whose arg max is wrong.
  var errors: Int
  /// Sum of the cross entropies of each minibatch, in nats; empty where they are not known.
  var minibatchLosses: [Double] = []

  var errorRate: Double { Double(errors) / Double(targets) }
}

/// Evaluates a model: whatever has a target counts once, and the shards share the work.
final class Evaluator {
  private let model: SequenceModel<Float>
  private let context: RankContext
  private let data: any EvaluationData
  // Whether minibatches are normalised with their own statistics.
  private let usesBatchStatistics: Bool
  private let seed: UInt64
  /// Activations of the last minibatch, for a look at what went wrong.
  let workspace: ModelWorkspace<Float>
  private let timer = PhaseTimer()

  /// - seed: of the noise on initial states, where minibatches are normalised with their own statistics.
  init(
    model: SequenceModel<Float>, context: RankContext, data: any EvaluationData,
    statistics: TrainingConfiguration.EvaluationStatistics, seed: UInt64
  ) {
    self.seed = seed
    usesBatchStatistics = statistics == .batch && model.configuration.usesBatchStatistics
    self.model = model
    self.context = context
    self.data = data
    workspace = ModelWorkspace(model, data.capacity, training: false, batchStatistics: usesBatchStatistics)
    timer.trace = context.world.trace
    if let pulse = context.world.pulse { timer.observer = { _ in pulse.goOn() } }
  }

  /// Evaluates with the model's evaluation statistics, or with those of each minibatch over all shards. The result has the same bits on every rank and rank count.
  /// - writer: takes the log posteriors of every minibatch.
  /// - check: called before every minibatch on all ranks; what it throws ends the evaluation.
  func run(writing writer: PosteriorWriter? = nil, check: () throws -> Void = {}) throws -> EvaluationResult {
    // Of each shard: loss, errors, and the loss of every minibatch.
    var sums = Array(repeating: Array(repeating: 0.0, count: 2 + data.minibatches), count: workspace.sequences.count)
    try forEachMinibatch(check) { minibatch, pass in
      for (shard, result) in model.evaluateLoss(workspace, pass).enumerated() {
        sums[shard][0] += result.loss
        sums[shard][1] += Double(result.errors)
        sums[shard][2 + minibatch] = result.loss
      }
      try writer?.write(minibatch, workspace)
    }
    try writer?.finish()
    let sum = try context.values.sums(sums)
    return EvaluationResult(
      loss: sum[0] / Double(data.targets), frames: data.frames, targets: data.targets, errors: Int(sum[1]), minibatchLosses: Array(sum[2...]))
  }

  /// Runs the model over one minibatch after the other; `body` finds the outputs in `workspace`.
  private func forEachMinibatch(_ check: () throws -> Void, _ body: (_ minibatch: Int, PassContext<Float>) throws -> Void) throws {
    model.prepareEvaluation()
    workspace.resetState()
    for minibatch in 0..<data.minibatches {
      try check()
      if !data.carriesState { workspace.resetState() }
      let steps = try data.load(minibatch, into: workspace)
      // Fixed statistics need no counts.
      let frames = usesBatchStatistics ? data.frameCounts(minibatch) : Array(repeating: 0, count: context.layout.shards * steps)
      let counts = FrameCounts(perStep: frames, steps: steps, groups: context.allShards)
      var pass = PassContext(
        mode: usesBatchStatistics ? .batchEvaluation : .evaluation, steps: steps, counts: counts, groups: context.allShards,
        reducer: context.globalStatistics, timer: timer)
      if usesBatchStatistics { pass.initialNoise = NoiseKey(seed: seed, purpose: .evaluation, minibatch: minibatch) }
      try model.forward(workspace, pass, globalReducer: context.globalStatistics)
      try body(minibatch, pass)
      if data.carriesState { workspace.carryState() }
    }
  }
}
