import MPI
import NeuralNetwork
import Tensors

/// `lockstep evaluate`: the loss of a checkpoint on its validation data, or on other data.
/// - path: a checkpoint, a link to one, or a run directory.
/// - dataPath: a text file in place of the validation data.
public func evaluate(
  checkpoint path: String, dataPath: String?, overrides: [String], world: Communicator, console: Console
) throws -> ExitCode {
  BLAS.setThreads(1)
  let checkpoint = try world.agree { world.rank == 0 ? try CheckpointStore.open(path: path) : nil }
  let (state, stored) = try sendParts(of: checkpoint, path: path, world: world)

  var configuration = try world.agree {
    try TrainingConfiguration(yaml: state.configuration, file: "\(path): configuration", overrides: overrides)
  }
  if let dataPath { configuration.data.validation = .text(path: dataPath) }
  configuration = try configuration.resolved(rankCount: world.size)
  try configuration.checkSupported()
  let context = try RankContext(world: world, configuration)
  let needsPopulation = configuration.evaluation.statistics == .population && state.statistics != .population
    && configuration.normalization.placement != .none
  let data = try openTrainingData(configuration, context, stored: stored, readsTraining: needsPopulation)
  let model = SequenceModel<Float>(data.network)
  try loadModel(model, checkpoint, state, configuration, world: world)
  if needsPopulation {
    let count = min(configuration.evaluation.populationBatches ?? .max, data.minibatches)
    try TrainingStep(configuration, model: model, context: context, data: data).estimatePopulation(minibatches: count)
  }
  let evaluated = try data.evaluationData(configuration.data.validation, key: dataPath == nil ? "data.validation" : "--data")
  let result = try Evaluator(model: model, context: context, data: evaluated).run()
  let measure =
    configuration.task == .languageModel ? "perplexity \(result.perplexity)" : "frame error rate \(result.frameErrorRate)"
  console.print(
    "\(evaluated.path): loss \(result.loss) nats, \(measure), \(result.frames) \(configuration.task.frames) (step \(state.step))")
  return .success
}

/// Reads weights and the kind of statistics that evaluation asks for, on rank 0, and sends them to all.
private func loadModel(
  _ model: SequenceModel<Float>, _ checkpoint: Checkpoint?, _ state: CheckpointState, _ configuration: TrainingConfiguration,
  world: Communicator
) throws {
  try world.agree {
    guard let checkpoint else { return }
    _ = try checkpoint.model().read(into: model.parameterTensors + model.evaluationTensors)
    let tensors = try checkpoint.training()
    for tensor in model.runningTensors { try tensors.read(tensor.name, into: tensor.values) }
  }
  try broadcast(model, world: world)
  model.restoreRunningSteps(state.runningSteps)
  if configuration.evaluation.statistics == .running { model.useRunningStatistics() }
}

/// Sends rank 0's parameters and statistics to all ranks.
func broadcast(_ model: SequenceModel<Float>, world: Communicator) throws {
  try world.broadcast(model.parameters, root: 0)
  for normalization in model.normalizations {
    for statistics in [normalization.running, normalization.evaluation] {
      try world.broadcast(statistics.mean.vector, root: 0)
      try world.broadcast(statistics.variance.vector, root: 0)
      // How many slots hold values decides what the next batch does to them, so it must be the same everywhere too.
      statistics.markSeen(slots: try world.allGather(statistics.slotsSeen)[0])
    }
  }
}
