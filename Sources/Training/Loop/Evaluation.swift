import DataParallel
import MPI
import NeuralNetwork
import Tensors

/// Loss of a model on a text, with fixed weights and statistics.
struct EvaluationResult {
  /// Mean cross entropy in nats a token.
  var loss: Double
  /// Tokens predicted.
  var frames: Int

  var perplexity: Double { exponential(loss) }
}

/// Evaluates a language model: every token but the first is predicted once, the runs spread over the shards.
final class Evaluator {
  private let model: SequenceModel<Float>
  private let context: RankContext
  private let text: EvaluationText
  /// Activations of the last window, for a look at what went wrong.
  let workspace: ModelWorkspace<Float>
  private let timer = PhaseTimer()
  private let steps: Int

  /// - steps: T of a window, as in training.
  init(model: SequenceModel<Float>, context: RankContext, text: EvaluationText, steps: Int) {
    self.model = model
    self.context = context
    self.text = text
    self.steps = steps
    workspace = ModelWorkspace(
      model, sequences: text.runsOfLocalShards.map(\.count), firstExamples: text.runsOfLocalShards.map(\.lowerBound),
      steps: steps, training: false)
  }

  /// Evaluates with the model's evaluation statistics. The result has the same bits on every rank and rank count.
  func run() throws -> EvaluationResult {
    model.prepareEvaluation()
    workspace.resetState()
    var losses = Array(repeating: 0.0, count: workspace.sequences.count)
    for window in 0..<text.windows {
      let steps = text.steps(ofWindow: window)
      let counts = FrameCounts(
        perStep: Array(repeating: 0, count: context.layout.shards * steps), steps: steps, groups: context.groups)
      let pass = PassContext(
        mode: .evaluation, steps: steps, counts: counts, groups: context.groups, reducer: context.statistics, timer: timer)
      for shard in workspace.sequences.indices {
        text.fill(window: window, shard: shard, inputs: workspace.inputs[shard], targets: workspace.targets[shard])
      }
      try model.forward(workspace, pass, globalReducer: context.globalStatistics)
      for (shard, result) in model.evaluateLoss(workspace, pass).enumerated() { losses[shard] += result.loss }
      workspace.carryState(steps: steps)
    }
    let sum = try context.values.sum(losses)
    return EvaluationResult(loss: sum / Double(text.predictions), frames: text.predictions)
  }
}
