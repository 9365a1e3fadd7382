import MPI
import NeuralNetwork
import Tensors

/// Which weights a checkpoint is evaluated with.
public enum EvaluatedWeights: Equatable, Sendable {
  /// The trained ones.
  case trained
  /// Their average over updates, which the checkpoint holds with `evaluation.average`.
  case averaged
  /// Those of a tensor file; its statistics too, if it has any.
  case file(String)
}

/// What `lockstep evaluate` is asked for.
public struct EvaluationRequest: Sendable {
  /// A checkpoint, a link to one, or a run directory.
  public var checkpoint: String
  /// A text, or features, in place of the validation data.
  public var data: String?
  /// The labels of features in `data`.
  public var labels: String?
  /// Where log posteriors go, as a Kaldi archive.
  public var posteriors: String?
  /// Whether the logarithms of the classes' shares of the training labels are subtracted from log posteriors.
  public var subtractsPriors: Bool
  public var weights: EvaluatedWeights
  public var overrides: [String]
  /// Threads of each rank.
  public var threads: Int

  /// The arguments as the command line gives them.
  public init(
    checkpoint: String, data: String? = nil, labels: String? = nil, posteriors: String? = nil, subtractsPriors: Bool = false,
    weights: EvaluatedWeights = .trained, overrides: [String] = [], threads: Int = 1
  ) {
    self.checkpoint = checkpoint
    self.data = data
    self.labels = labels
    self.posteriors = posteriors
    self.subtractsPriors = subtractsPriors
    self.weights = weights
    self.overrides = overrides
    self.threads = threads
  }

  /// Refuses what does not belong together.
  fileprivate func check(_ sources: SourceForm) throws {
    let path = checkpoint
    switch sources {
    case .text:
      if labels != nil || posteriors != nil {
        throw UsageError(description: "\(path): a language model; --labels and --posteriors are for classification")
      }
    case .archives:
      if labels != nil && data == nil { throw UsageError(description: "--labels without --data, whose labels they would be") }
      if data != nil && labels == nil && posteriors == nil {
        throw UsageError(description: "--data without --labels: there is no error rate without labels (with --posteriors none are needed)")
      }
    }
    if subtractsPriors && posteriors == nil { throw UsageError(description: "--subtract-priors without --posteriors") }
  }
}

/// `lockstep evaluate`: the loss of a checkpoint on its validation data, or on other data, and log posteriors on request.
public func evaluate(_ request: EvaluationRequest, world: Communicator, console: Console) throws -> ExitCode {
  let arithmetic = try Arithmetic(starting: request.threads, world: world, console: console)
  let path = request.checkpoint
  let checkpoint = try world.agree { world.rank == 0 ? try CheckpointStore.open(path: path) : nil }
  let (state, stored) = try sendParts(of: checkpoint, path: path, world: world)

  func read(_ overrides: [String]) throws -> TrainingConfiguration {
    try world.agree { try TrainingConfiguration(yaml: state.configuration, file: "\(path): configuration", overrides: overrides) }
  }
  let trained = try read([]), task = trained.task.definition
  // A checkpoint, which may be anybody's, does not decide that commands are run.
  var configuration = try read((task.sources == .archives ? ["data.allow_commands=false"] : []) + request.overrides)
  try request.check(task.sources)
  try checkModel(of: configuration, trainedAs: trained)
  configuration = try configuration.resolved(rankCount: world.size, fastest: arithmetic.fastestProducts)
  let context = try RankContext(world: world, configuration)
  let statistics = configuration.evaluation.statistics
  if request.weights == .averaged && state.averagedUpdates == nil {
    throw UsageError(description: "\(path): --average: the checkpoint of step \(state.step) has no averaged weights; evaluation.average makes them")
  }
  let isStored = request.weights == .trained && state.statistics == statistics.stored && hasSameSteps(configuration, trained)
  // Running averages are of the trained weights.
  let variance = statistics.populationVariance ?? (request.weights == .trained || statistics == .batch ? nil : .pooled)
  let comeAlong = try hasStatistics(request.weights, world: world)
  let needsPopulation = variance != nil && !isStored && !comeAlong && configuration.normalization.usesBatchStatistics
  let data = try task.openTrainingData(configuration, context, stored: stored, for: needsPopulation ? .training : .unread)
  let model = SequenceModel<Float>(data.network)
  try loadModel(model, checkpoint, state, configuration, request.weights, keepsStatistics: comeAlong, world: world)
  if needsPopulation, let variance {
    let count = min(configuration.evaluation.populationBatches ?? .max, data.minibatches(epoch: 0))
    try TrainingStep(configuration, model: model, context: context, data: data).estimatePopulation(variance, minibatches: count)
  }
  for warning in arithmetic.warnings(model.configuration.products) { console.warn(warning) }
  if let words = model.stepsInWords(configuration.evaluation) { console.print(words) }
  warnOfBatchStatistics(configuration, model, console)
  let key = request.data == nil ? "data.validation" : "--data"
  let files = request.data.map { DataFiles(paths: [$0], labels: request.labels.map { [$0] }) } ?? DataFiles(configuration.data.validation)
  let evaluated = try data.evaluationData(files, key: key, keepsOrder: request.posteriors != nil)
  for remark in (needsPopulation ? data.remarks : []) + evaluated.remarks { console.warn(remark) }
  let evaluator = Evaluator(model: model, context: context, data: evaluated, statistics: statistics, seed: configuration.training.seed)
  let writer = try request.posteriors.map {
    try evaluated.posteriorWriter(path: $0, model: model, subtractsPriors: request.subtractsPriors)
  }
  let result = try evaluator.run(writing: writer)
  if evaluated.isLabelled && !result.loss.isFinite {
    let (rank, place) = try firstNotFinite(model, evaluator.workspace, world: world)
    throw DivergenceError(step: state.step, kind: .evaluation, loss: result.loss, rank: rank, place: place)
  }
  if let output = request.posteriors { console.print("Log posteriors of \(result.targets) \(task.targets) lie in \(output).") }
  if evaluated.isLabelled {
    console.print(
      "\(abbreviated(evaluated.path, limit: 1024)): loss \(result.loss) nats, \(task.measure.exactWords(result)), \(result.targets) \(task.targets) "
        + "(step \(state.step)\(request.weights.words))")
    let frames = (0..<evaluated.minibatches).map { evaluated.frameCounts($0).reduce(0, +) }
    if let words = task.measure.wordsOfMinibatches(losses: result.minibatchLosses, targets: frames) { console.print(words) }
  }
  return .success
}

/// Refuses settings that the model was trained with and that cannot be others now.
private func checkModel(of configuration: TrainingConfiguration, trainedAs trained: TrainingConfiguration) throws {
  var fixed: Set = [
    "task", "data.unit", "data.vocabulary_size", "data.unknown", "data.classes", "data.deltas", "data.normalize", "model.embedding_size",
    "model.cell", "model.layers", "model.hidden_size", "model.bidirectional", "model.peepholes", "model.initial_state",
    "model.tied_embedding", "normalization.method", "normalization.placement", "normalization.statistics", "normalization.epsilon",
  ]
  // A text's windows have as many steps as statistics are kept for.
  if trained.normalization.usesBatchStatistics && trained.normalization.statistics == .frame { fixed.insert("training.unroll_steps") }
  for difference in configuration.differences(from: trained) where fixed.contains(difference.key) {
    throw UsageError(
      description: "\(difference.key) is \(difference.new ?? "absent"), but the model was trained with \(difference.old ?? "absent")")
  }
}

extension EvaluatedWeights {
  fileprivate var words: String {
    switch self {
    case .trained: ""
    case .averaged: ", averaged weights"
    case .file(let path): ", weights of \(abbreviated(path, limit: 1024))"
    }
  }
}

/// Reads weights and the kind of statistics that evaluation asks for, on rank 0, and sends them to all.
/// - keepsStatistics: whether those that come with the weights are to serve.
private func loadModel(
  _ model: SequenceModel<Float>, _ checkpoint: Checkpoint?, _ state: CheckpointState, _ configuration: TrainingConfiguration,
  _ weights: EvaluatedWeights, keepsStatistics: Bool, world: Communicator
) throws {
  try world.agree {
    guard let checkpoint else { return }
    _ = try checkpoint.model().read(into: model.parameterTensors + model.evaluationTensors)
    let tensors = try checkpoint.training()
    for tensor in model.runningTensors { try tensors.read(tensor.name, into: tensor.values) }
    switch weights {
    case .trained: break
    case .averaged:
      let average = WeightAverage(.init(decay: 0), layout: model.layout)
      _ = try average.read(from: checkpoint, layout: model.layout)
      model.parameters.copy(from: average.values)
    case .file(let path): _ = try model.read(weightsOf: path)
    }
  }
  try broadcast(model, world: world)
  model.restoreRunningSteps(state)
  if configuration.evaluation.statistics.populationVariance == nil && !keepsStatistics {
    model.useRunningStatistics(framesPerStep: configuration.evaluation.framesPerStep)
  }
}

/// Whether statistics come with other weights than the trained ones, the same on all ranks.
private func hasStatistics(_ weights: EvaluatedWeights, world: Communicator) throws -> Bool {
  guard case .file(let path) = weights else { return false }
  let found = try world.agree {
    guard world.rank == 0 else { return 0 }
    return try SafetensorsFile(path).tensors.contains { $0.name.hasSuffix(".running_mean") } ? 1 : 0
  }
  return try world.allGather(found)[0] != 0
}

/// Whether time steps take each other's statistics by the same number of frames.
func hasSameSteps(_ a: TrainingConfiguration, _ b: TrainingConfiguration) -> Bool {
  a.normalization.statistics == .sequence || a.evaluation.framesPerStep == b.evaluation.framesPerStep
}

/// Warns where what is evaluated together decides the statistics.
func warnOfBatchStatistics(_ configuration: TrainingConfiguration, _ model: SequenceModel<Float>, _ console: Console) {
  guard configuration.evaluation.statistics == .batch && model.configuration.usesBatchStatistics else { return }
  console.warn(
    "with evaluation.statistics: batch, results depend on what is evaluated together: "
      + (configuration.task.definition.predictsInputs ? "on evaluation.streams" : "on training.batch_size and the order of the utterances"))
}

extension SequenceModel<Float> {
  /// From which time step on evaluation takes the statistics of another one for want of frames; nil where no step does.
  func stepsInWords(_ evaluation: TrainingConfiguration.Evaluation) -> String? {
    // With `batch` each step has its own.
    guard evaluation.statistics != .batch, let steps = evaluationSteps, steps.enough < steps.seen else { return nil }
    let frames = "\(evaluation.framesPerStep) frames (evaluation.frames_per_step)"
    return steps.enough == 0
      ? "No time step has \(frames) behind its statistics: evaluation takes them as they are, and for steps past \(steps.seen) those of step \(steps.seen)."
      : "From time step \(steps.enough + 1) on evaluation takes the statistics of step \(steps.enough), the last with \(frames) behind them."
  }
}

/// Sends rank 0's parameters and statistics to all ranks.
func broadcast(_ model: SequenceModel<Float>, world: Communicator) throws {
  try world.broadcast(model.parameters, root: 0)
  for (_, whitening) in model.whitenings {
    for values in [whitening.matrix.vector, whitening.mean, whitening.averageCovariance.vector, whitening.averageMean] {
      try world.broadcast(values, root: 0)
    }
  }
  for normalization in model.normalizations {
    for statistics in [normalization.running, normalization.evaluation] {
      try world.broadcast(statistics.mean.vector, root: 0)
      try world.broadcast(statistics.variance.vector, root: 0)
      // How many slots hold values decides what the next batch does to them, so it must be the same everywhere too.
      statistics.markSeen(slots: try world.allGather(statistics.slotsSeen)[0])
    }
  }
  let frames = VectorView<Int64>(model.runningFrames.map { Int64($0) })
  try world.broadcast(frames, root: 0)
  model.setRunningFrames(frames.array.map { Int($0) })
}
