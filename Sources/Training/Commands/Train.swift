import Glibc
import MPI
import NeuralNetwork
import Tensors

/// `lockstep train`: trains the model of a configuration on all ranks of `world`.
/// - Throws: on every rank the same error where ranks can agree on it.
public func train(_ request: TrainRequest, world: Communicator, console: Console) throws -> ExitCode {
  Signals.catchAll()
  let arithmetic = try Arithmetic(starting: request.threads, world: world, console: console)
  var directory = request.directory
  let requested = try loadConfiguration(request, world: world)
  let faults = try world.agree { try Faults.fromEnvironment(rank: world.rank) }
  directory.fileFaults = faults?.ofFiles
  let askedFaults = try Faults.asked(world)
  for text in askedFaults { console.warn("LOCKSTEP_FAULT is set, and makes this run suffer faults: \(text)") }
  var found = try findRun(request, directory, world: world, console: console)
  var hasBegun = false
  defer { if !hasBegun { directory.discard(found.made) } }
  let configuration = try resolve(requested, found.state, arithmetic, world: world)
  try configuration.checkShardsCanBeFilled()
  if let state = found.state {
    try checkContinuation(of: state, configuration, console: console)
    if let file = request.initializeFrom { console.warn("--initialize-from \(file) is not read: the run goes on from step \(state.step)") }
  }

  if world.size > 1 { world.pulse = try Pulse(world) }
  world.pulse?.begin(Activity.startingUp.rawValue, step: found.state?.step ?? 0)
  let watchdog = request.isDryRun ? nil : try watch(world, configuration.watchdog, directory)
  defer { watchdog?.stop() }
  if request.traceSteps != nil { world.trace = Trace() }
  let context = try RankContext(world: world, configuration)
  let data = try configuration.task.definition.openTrainingData(configuration, context, stored: found.data, for: request.newData ? .replacement : .training)
  let validation = try data.evaluationData(configuration.data.validation, key: "data.validation")
  // Read now, so that a mistake in it does not wait for the end of the run.
  let test = try configuration.data.test.map { try data.evaluationData($0, key: "data.test") }
  found.state = try found.state.map {
    let digests = CheckpointState.DataDigests(train: data.digest, validation: validation.digest)
    return try ReplacedData.adapt($0, to: digests, configuration.data, isAllowed: request.newData, console: console)
  }
  for remark in data.remarks + validation.remarks + (test?.remarks ?? []) { console.warn(remark) }
  if let state = found.state, state.position > data.minibatches(epoch: state.epoch) {
    throw UsageError(
      description: "data.train: the run stands after minibatch \(state.position) of an epoch, and the data has "
        + "\(data.minibatches(epoch: state.epoch)): not what the run began with")
  }
  let need = MemoryNeed(configuration, context, data: data, validation: validation, test: test)
  let hosts = try need.check(world)
  let model = SequenceModel<Float>(data.network)
  try setInitialWeights(model, configuration, request, isNew: found.state == nil, world: world)
  if request.isDryRun {
    return try rehearse(configuration, context, data: data, model: model, need: need, hosts: hosts, from: found.state, console: console)
  }
  let (journal, hasEvents) = try openJournal(directory, configuration, from: found.state, world: world, console: console)
  hasBegun = true
  let trainer = try Trainer(
    configuration: configuration, context: context, data: data, model: model, directory: directory, journal: journal,
    console: console, validation: validation, test: test, faults: faults)
  trainer.recording = request.traceSteps.map { TraceRecording(steps: $0, path: directory.tracePath($0), world: world, console: console) }
  let faultFields = askedFaults.isEmpty ? [] : [JSONField("faults", .array(askedFaults.map { .string($0) }))]
  try journal.write("start", try startFields(configuration, model, context, data, trainer, arithmetic) + faultFields)
  announce(configuration, model, context, data, trainer, arithmetic, console)
  if let state = found.state {
    try trainer.resume(state, found.checkpoint)
  } else {
    if hasEvents { try journal.write("restart", [JSONField("step", .integer(0))]) }
    try trainer.begin()
  }
  defer { withExtendedLifetime(found.lock) {} }
  let code: ExitCode
  do {
    code = try trainer.run()
  } catch where !(error is HungDiskError) {
    // The first error is the one to report.
    try? journal.write("end", [JSONField("reason", .string("error")), JSONField("message", .string("\(error)"))])
    throw error
  }
  // Those that have ended wait here for those that have not, and not where MPI ends, which nobody watches.
  try world.barrier()
  return code
}

/// Reads a configuration on rank 0 and sends it to all ranks, so that all have the same.
func loadConfiguration(_ request: TrainRequest, world: Communicator) throws -> TrainingConfiguration {
  let yaml = try world.agree {
    world.rank == 0 ? try TrainingConfiguration.load(path: request.configuration, overrides: request.overrides).yaml() : ""
  }
  let bytes = try world.broadcast(bytes: world.rank == 0 ? Array(yaml.utf8) : nil, root: 0)
  return try TrainingConfiguration(yaml: String(decoding: bytes, as: UTF8.self), file: request.configuration, overrides: [])
}

/// What a run directory holds of a run that is to go on.
private struct FoundRun {
  /// The state to go on from, on all ranks; nil for a new run.
  var state: CheckpointState?
  /// On rank 0: keeps others away.
  var lock: RunLock?
  /// On rank 0, the directories that were made for the run.
  var made: [String] = []
  /// On rank 0 the checkpoint.
  var checkpoint: Checkpoint?
  /// What the checkpoint holds of the data, on all ranks.
  var data: [UInt8]?
}

/// Prepares the run directory on rank 0 and finds the newest checkpoint that is whole.
private func findRun(
  _ request: TrainRequest, _ directory: RunDirectory, world: Communicator, console: Console
) throws -> FoundRun {
  var lock: RunLock?, made: [String] = []
  let checkpoint = try world.agree { () -> Checkpoint? in
    guard world.rank == 0 else { return nil }
    let holdsRun = try directory.holdsRun()
    if holdsRun && !request.resume {
      throw UsageError.holdsRun(directory)
    }
    if request.isDryRun {
      try directory.checkWritable()
      guard request.resume else { return nil }
      let (checkpoint, skipped) = try directory.store.newestValid()
      if checkpoint == nil, let damaged = skipped.first { throw damaged.reason }
      return checkpoint
    }
    made = try directory.create()
    lock = try directory.lock(host: world.hostName)
    for name in try directory.store.prepareForWriting() { console.warn("cleared \(name), left by a run that was killed") }
    guard request.resume else { return nil }
    if !holdsRun { console.print("No run lies in \(directory.path): one begins.") }
    let (checkpoint, skipped) = try directory.store.newestValid()
    for skip in skipped { console.warn("passed over a checkpoint: \(skip.reason)") }
    if checkpoint == nil, let damaged = skipped.first { throw damaged.reason }
    if checkpoint == nil && holdsRun { console.print("The run in \(directory.path) has no checkpoint: it begins again.") }
    if let checkpoint {
      for link in try directory.store.restoreLinks(checkpoint.state) { console.print("The link \(link) did not fit the checkpoint that the run goes on from, and does now.") }
    }
    return checkpoint
  }
  let isThere = try world.broadcast(bytes: world.rank == 0 ? [checkpoint == nil ? 0 : 1] : nil, root: 0)[0] == 1
  guard isThere else { return FoundRun(lock: lock, made: made) }
  let parts = try sendParts(of: checkpoint, path: directory.path, world: world)
  return FoundRun(state: parts.state, lock: lock, checkpoint: checkpoint, data: parts.data)
}

/// Sends the state of a checkpoint that rank 0 has opened, and what it holds of the data, to all ranks.
func sendParts(
  of checkpoint: Checkpoint?, path: String, world: Communicator
) throws -> (state: CheckpointState, data: [UInt8]) {
  let parts = try world.agree { () -> (state: [UInt8], data: [UInt8])? in
    guard let checkpoint else { return nil }
    // The task decides what is kept; a checkpoint of another task is refused when the configurations are compared.
    let file = try checkpoint.state.trainingConfiguration.task.definition.dataFile
    return (checkpoint.state.encoded(), try checkpoint.bytes(of: file))
  }
  let state = try world.broadcast(bytes: parts?.state, root: 0), data = try world.broadcast(bytes: parts?.data, root: 0)
  return (try CheckpointState(decoding: state, path: path), data)
}

/// Fills in what depends on the number of ranks and on their processors; a resumed run keeps its number of shards and its products.
private func resolve(
  _ requested: TrainingConfiguration, _ state: CheckpointState?, _ arithmetic: Arithmetic, world: Communicator
) throws -> TrainingConfiguration {
  var configuration = requested
  if configuration.training.shards == nil, let state { configuration.training.shards = state.shards }
  if configuration.compute.products == .automatic, let before = try state?.trainingConfiguration.compute.products {
    configuration.compute.products = before
  }
  return try configuration.resolved(rankCount: world.size, fastest: arithmetic.fastestProducts)
}

/// Begins to watch over waits for other ranks.
private func watch(
  _ world: Communicator, _ configuration: TrainingConfiguration.Watchdog, _ directory: RunDirectory
) throws -> Watchdog? {
  guard let pulse = world.pulse else { return nil }
  // Each job has a folder of its own: ranks of one before may live a while on other nodes.
  let job: [Int] = try world.allGather(time(nil) << 22 | Int(getpid()))
  let folder = "\(directory.nodesPath)/\(job[0])"
  // Reports of a run before this one would be taken for silent hosts.
  try world.agree { if world.rank == 0 { try directory.prepareNodes(folder, isNeeded: pulse.ranks.count < world.size) } }
  let limits = Watchdog.Limits(warn: configuration.warnSeconds, abort: configuration.abortSeconds)
  var watchdog: Watchdog?
  do {
    try world.agree { watchdog = try Watchdog(world, limits, folder: folder) }
  } catch {
    // Those that have begun read memory that goes with MPI.
    watchdog?.stop()
    throw error
  }
  return watchdog
}

/// Refuses to go on with another model, other data or another order of it, and says what else has changed.
private func checkContinuation(
  of state: CheckpointState, _ configuration: TrainingConfiguration, console: Console
) throws {
  let before = try state.trainingConfiguration
  let free = [
    "evaluation.", "checkpoint.", "replica_check.", "watchdog.", "communication.", "logging.", "training.epochs", "training.maximum_steps",
    "training.early_stopping", "data.validation", "data.test", "data.train", "data.on_unusable",
  ]
  var refused: [String] = []
  for difference in configuration.differences(from: before) {
    let (old, new) = (difference.old ?? "absent", difference.new ?? "absent")
    if free.contains(where: { difference.key.hasPrefix($0) }) { continue }
    let isOfOptimizer = difference.key.hasPrefix("optimizer.") && !["optimizer.method", "optimizer.momentum"].contains(difference.key)
    if isOfOptimizer || difference.key == "compute.products" {
      console.warn("\(difference.key) is \(new), and was \(old) before")
      continue
    }
    refused.append("\(difference.key) is \(new), but the run began with \(old)")
  }
  if !refused.isEmpty {
    throw UsageError(description: refused.joined(separator: "; ") + "; a run goes on only with the same")
  }
  let isOfOtherLength = configuration.training.epochs != before.training.epochs || configuration.training.maximumSteps != before.training.maximumSteps
  if configuration.optimizer.cosine != nil && isOfOtherLength {
    console.warn("optimizer.cosine falls over all updates of the run, of which there are other than before: the learning rate jumps")
  }
}

private func setInitialWeights(
  _ model: SequenceModel<Float>, _ configuration: TrainingConfiguration, _ request: TrainRequest, isNew: Bool, world: Communicator
) throws {
  guard isNew else { return }
  try world.agree {
    guard world.rank == 0 else { return }
    if let file = request.initializeFrom {
      if try model.read(weightsOf: file) { model.useEvaluationStatisticsAsRunning() }
    } else {
      model.initialize(Initialization(configuration.initialization), seed: configuration.training.seed)
    }
  }
}

/// Opens the metrics on rank 0, and says whether there are events of a run before.
private func openJournal(
  _ directory: RunDirectory, _ configuration: TrainingConfiguration, from state: CheckpointState?, world: Communicator, console: Console
) throws -> (journal: Journal, hasEvents: Bool) {
  try world.agree {
    if world.rank == 0 { try directory.write(configuration) }
    let hasEvents = world.rank == 0 ? try directory.hasEvents() : false
    let journal = try Journal(
      path: world.rank == 0 ? directory.metricsPath : nil, onError: configuration.checkpoint.onError, console: console)
    if world.rank == 0 && configuration.logging.tensorBoard {
      journal.board = TensorBoard(
        directory: directory.path, host: world.hostName, afterStep: state?.step ?? 0, configuration.task.definition, console: console)
    }
    return (journal, hasEvents)
  }
}

private func startFields(
  _ configuration: TrainingConfiguration, _ model: SequenceModel<Float>, _ context: RankContext, _ data: any TrainingData,
  _ trainer: Trainer, _ arithmetic: Arithmetic
) throws -> [JSONField] {
  let world = context.world
  func perRank(_ values: [String]) -> JSONValue { .array(values.map { .string($0) }) }
  return [
    JSONField("version", .string(Version.current)), JSONField("ranks", .integer(world.size)),
    JSONField("threads", .integer(Threads.count)), JSONField("shards", .integer(context.layout.shards)), JSONField("hosts", perRank(arithmetic.hosts)),
    JSONField("blas", .string(BLAS.version)), JSONField("blas_core", perRank(arithmetic.blasCores)),
    JSONField("instruction_set", perRank(arithmetic.instructionSets)),
    JSONField("products", .string(model.configuration.products.rawValue)), JSONField("mpi", .string(world.libraryVersion)),
    JSONField("gradient_exchange", .string(trainer.gradientExchange)),
    JSONField("parameters", .integer(model.layout.parameterCount)), JSONField("updates", .integer(trainer.updates)),
  ] + data.description
}

private func announce(
  _ configuration: TrainingConfiguration, _ model: SequenceModel<Float>, _ context: RankContext, _ data: any TrainingData,
  _ trainer: Trainer, _ arithmetic: Arithmetic, _ console: Console
) {
  let ranks = context.world.size, shards = context.layout.shards, n = configuration.normalization
  console.print(
    "Lockstep \(Version.current): \(ranks) rank\(ranks == 1 ? "" : "s")\(Threads.count == 1 ? "" : " × \(Threads.count) threads"), \(shards) shard\(shards == 1 ? "" : "s"); "
      + "\(configuration.model.layers) × \(configuration.model.hiddenSize) \(configuration.model.bidirectional ? "bidirectional " : "")"
      + "\(configuration.model.cell.rawValue), normalisation "
      + "\(n.placement.rawValue)\(n.method == .layer ? ", of layers" : n.usesBatchStatistics ? ", \(n.statistics.rawValue)" : ""), \(model.layout.parameterCount) parameters.")
  console.print(data.summary)
  let exchange = ranks == 1 ? "" : ", gradient exchange: \(trainer.gradientExchange)"
  console.print("\(arithmetic.summary(model.configuration.products))\(exchange).")
  if let words = trainer.schedule.words { console.print(words) }
  let optimizer = configuration.optimizer
  if optimizer.weightDecay > 0 && Float(1 - optimizer.learningRate * optimizer.weightDecay) == 1 {
    console.warn("optimizer.weight_decay times optimizer.learning_rate is less than single precision can take away: no weight decays")
  }
  for warning in arithmetic.warnings(model.configuration.products) { console.warn(warning) }
  let usesStatistics = model.configuration.usesBatchStatistics
  if usesStatistics && n.statistics == .frame { warnOfSmallGroups(configuration, context, data, console) }
  warnOfBatchStatistics(configuration, model, console)
  if usesStatistics && n.statistics == .sequence && configuration.task.definition.predictsInputs {
    console.warn(
      "with statistics: sequence, later words of a window enter the statistics of earlier ones in training (never in evaluation)")
  }
}

/// Warns of statistics groups that never hold two sequences, and so never have frame-wise statistics of their own.
private func warnOfSmallGroups(
  _ configuration: TrainingConfiguration, _ context: RankContext, _ data: any TrainingData, _ console: Console
) {
  let S = context.layout.shards, B = data.mostSequences
  // Sequence k of a minibatch goes to shard k mod S; where shards are equal it does not matter which.
  let sequences = context.groups.groups.map { group in group.reduce(0) { $0 + (max(0, B - $1) + S - 1) / S } }
  let small = sequences.count { $0 == 1 }, isAll = !sequences.contains { $0 > 1 }
  if small == 0 { return }
  console.warn(
    (isAll
      ? "no statistics group ever holds two sequences, which statistics: frame needs: nothing is normalised"
      : "\(small) of \(sequences.count) statistics groups never hold two sequences, which statistics: frame needs: running averages serve")
      + "; a wider normalization.scope, a larger training.batch_size or fewer training.shards would help")
}
