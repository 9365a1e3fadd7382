import DataParallel
import MPI
import NeuralNetwork
import Tensors

/// The training loop of one rank.
final class Trainer {
  private let configuration: TrainingConfiguration
  private let task: any LearningTask
  private let context: RankContext
  private let data: any TrainingData
  private let model: SequenceModel<Float>
  private let step: TrainingStep
  private let average: WeightAverage?
  private let checkpointing: Checkpointing
  private let checkpoints: CheckpointSchedule
  private let survival: Survival
  private let directory: RunDirectory
  private let journal: Journal
  private let console: Console
  private let validation: Evaluator
  private let testData: (any EvaluationData)?
  /// A trace of some updates, where one is asked for.
  var recording: TraceRecording?
  private let clock = ContinuousClock()
  private var progress: Progress
  /// Updates of the whole run.
  let updates: Int
  /// Learning rates, and the end that validations may bring.
  let schedule: Schedule
  private var speed = SpeedMeter()
  /// What the evaluation statistics of the model hold now, and at which step they were made.
  private var populationStep: Int?
  private var validatedStep: Int?
  /// The schedule before the validation whose model is being written as the best one, where that validation counted.
  private var scheduleBeforeBest: Schedule.State?
  /// Whether the run has said from which time step on there are too few frames for statistics.
  private var namedSteps: String?
  /// Seconds that a run which fails waits for its disk, where the watchdog has no limit.
  private static let longestPatience = 600.0

  init(
    configuration: TrainingConfiguration, context: RankContext, data: any TrainingData, model: SequenceModel<Float>,
    directory: RunDirectory, journal: Journal, console: Console, validation: any EvaluationData, test: (any EvaluationData)?,
    faults: Faults?
  ) throws {
    self.configuration = configuration
    task = configuration.task.definition
    self.context = context
    self.data = data
    self.model = model
    self.directory = directory
    self.journal = journal
    self.console = console
    step = try TrainingStep(configuration, model: model, context: context, data: data)
    average = configuration.evaluation.average.map { WeightAverage($0, layout: model.layout) }
    checkpointing = Checkpointing(
      configuration: configuration, context: context, model: model, optimizer: step.optimizer, average: average, workspace: step.workspace,
      store: directory.store, data: data,
      digests: CheckpointState.DataDigests(train: data.digest, validation: validation.digest))
    checkpoints = CheckpointSchedule(
      configuration.checkpoint, contents: checkpointing, context: context, journal: journal, console: console,
      patience: configuration.watchdog.abortSeconds ?? Self.longestPatience)
    survival = try Survival(
      configuration.replicaCheck, world: context.world,
      tensors: model.parameterTensors + step.optimizer.tensors(layout: model.layout) + model.runningTensors
        + (average?.tensors(layout: model.layout) ?? []), faults: faults)
    step.survival = survival
    self.validation = Evaluator(
      model: model, context: context, data: validation, statistics: configuration.evaluation.statistics,
      seed: configuration.training.seed)
    testData = test
    updates = data.updates(configuration.training)
    schedule = Schedule(configuration, updates: updates)
    progress = Progress()
  }

  /// How gradients get from rank to rank, in words.
  var gradientExchange: String { step.gradientExchange }

  /// Sends rank 0's initial weights to all ranks.
  func begin() throws { try checkpointing.broadcastModel() }

  /// Takes up a run where a checkpoint left it. All ranks know `state`, rank 0 has the checkpoint.
  func resume(_ state: CheckpointState, _ checkpoint: Checkpoint?) throws {
    try checkpointing.restore(checkpoint, state)
    model.restoreRunningSteps(state)
    progress = Progress(
      step: state.step, epoch: state.epoch, minibatch: state.position, frames: state.frames, validation: state.validation,
      schedule: state.schedule ?? Schedule.State(bestLoss: state.validation?.bestLoss))
    let evaluation = configuration.evaluation, before = try state.trainingConfiguration
    if evaluation.statistics.populationVariance != nil && state.statistics == evaluation.statistics.stored
      && hasSameSteps(configuration, before)
    {
      populationStep = state.step
    }
    checkpoints.resume(step: state.step)
    validatedStep = state.validation?.step
    try journal.write("resume", [JSONField("step", .integer(state.step))])
    console.print("Resumed at step \(state.step), epoch \(state.epoch).")
  }

  /// Trains to the end, or until a signal.
  func run() throws -> ExitCode {
    do {
      do { return try train() } catch is StoppedBySignal { return try stop() }
    } catch where error is RemoteFailure || error is any AgreedError {
      // The ranks end in order, so there is time for what is being written. One that fails alone takes the others with it at once.
      try checkpoints.abandon(error)
      throw error
    }
  }

  private func train() throws -> ExitCode {
    // A signal stopped the run after the last update of an epoch.
    if isEndOfEpoch { try finishEpoch() }
    while !isDone {
      if progress.minibatch == 0 { step.workspace.resetState() }
      try record { try $0.begin(before: progress.step + 1) }
      let requests = try update()
      try record { try $0.end(after: progress.step) }
      try survival.reach(.update, step: progress.step)
      try compareReplicas(always: false)
      if requests.contains(.stop) { return try stop() }
      if requests.contains(.written) { try settle() }
      if isEndOfEpoch { try finishEpoch() }
      if !isDone && checkpoints.isDue(step: progress.step, requests) { try writeCheckpoint(isBest: false) }
    }
    return try finish()
  }

  /// A trace that cannot be written ends no run.
  private func record(_ body: (TraceRecording) throws -> Void) throws {
    guard let recording else { return }
    do { try body(recording) } catch where error is FileError || error is RemoteFailure {
      console.warn("no trace is written: \(error)")
      self.recording = nil
    }
  }

  private var isDone: Bool { endingKey != nil }

  /// The key that ends the run where it stands.
  private var endingKey: String? {
    if progress.epoch > configuration.training.epochs { return "training.epochs" }
    if progress.step >= configuration.training.maximumSteps ?? .max { return "training.maximum_steps" }
    return schedule.isStopped(progress.schedule) ? "training.early_stopping" : nil
  }

  /// Whether all minibatches of the epoch are done.
  private var isEndOfEpoch: Bool { progress.minibatch == data.minibatches(epoch: progress.epoch) }

  // MARK: One update

  private func update() throws -> Request {
    let start = clock.now
    let last = min(data.minibatches(epoch: progress.epoch), progress.minibatch + configuration.training.accumulateSteps)
    let rate = schedule.rate(update: progress.step + 1, epoch: progress.epoch, progress.schedule)
    let result = try step.update(
      minibatches: progress.minibatch..<last, epoch: progress.epoch, step: progress.step + 1, learningRate: rate, request: request())
    average?.add(model.parameters)
    progress.minibatch = last
    progress.step += 1
    progress.frames += result.frames
    let seconds = (clock.now - start) / .seconds(1)
    var fields = [
      JSONField("step", .integer(progress.step)), JSONField("epoch", .integer(progress.epoch)),
      JSONField("loss", .double(result.loss)), JSONField("gradient_norm", .double(result.gradientNorm)),
      JSONField("learning_rate", .double(rate)), JSONField("frames", .integer(result.frames)),
      JSONField("seconds", .double(seconds)),
    ]
    // What the loss does not say.
    if task.measure.value(ofLoss: result.loss) == nil { fields.append(task.measure.field(result.evaluation)) }
    try journal.write("step", fields + data.stepFields)
    speed.add(frames: result.frames, seconds: seconds)
    console.progress { progressLine(result) }
    return result.requests
  }

  /// Compares the ranks' replicas where that is due; says what was healed.
  private func compareReplicas(always: Bool) throws {
    guard let healed = try survival.compare(step: progress.step, always: always) else { return }
    try journal.write("heal", [
      JSONField("step", .integer(progress.step)), JSONField("ranks", .array(healed.ranks.map { .integer($0) })),
      JSONField("tensors", .array(healed.tensors.map { .string($0) })),
    ])
    console.warn("step \(progress.step): healed \(healed.words): they have again what most ranks have")
  }

  private func request() -> Request {
    Signals.received ? checkpoints.request.union(.stop) : checkpoints.request
  }

  private func checkSignals() throws { try Signals.check(context.world) }

  private func progressLine(_ result: StepResult) -> String {
    let left = Double(updates - progress.step) * speed.secondsPerStep
    return "epoch \(progress.epoch)/\(configuration.training.epochs)  step \(progress.step)/\(updates)  loss \(fixed(result.loss, 4))  "
      + "\(task.measure.words(result.evaluation))  "
      + "\(Int(speed.framesPerSecond)) \(task.frames)/s  "
      + "\(duration(seconds: left)) left"
  }

  // MARK: Epochs, validation, checkpoints

  private func finishEpoch() throws {
    let epoch = progress.epoch
    if let seconds = data.takeSecondsWaited() {
      try journal.write("epoch", [
        JSONField("epoch", .integer(epoch)), JSONField("step", .integer(progress.step)), JSONField("seconds_waited", .double(seconds)),
      ])
    }
    let before = progress
    progress.epoch += 1
    progress.minibatch = 0
    guard epoch % configuration.evaluation.everyEpochs == 0 || isDone else { return }
    do { try validate(epoch: epoch) } catch let signal as StoppedBySignal {
      // A resumed run begins with this end of the epoch.
      progress = before
      throw signal
    }
  }

  /// Makes the evaluation statistics of the configured kind, unless they are of this step already.
  private func prepareStatistics() throws {
    try makeStatistics()
    let words = model.stepsInWords(configuration.evaluation)
    if let words, words != namedSteps { console.print(words) }
    namedSteps = words
  }

  private func makeStatistics() throws {
    guard let variance = configuration.evaluation.statistics.populationVariance else {
      return model.useRunningStatistics(framesPerStep: configuration.evaluation.framesPerStep)
    }
    if populationStep != progress.step {
      survival.begin(.population, step: progress.step)
      try survival.reach(.population, step: progress.step)
      try estimatePopulation(variance)
      populationStep = progress.step
    }
  }

  private func validate(epoch: Int) throws {
    let start = clock.now
    // Statistics and losses of weights that differ would go into the checkpoint.
    try compareReplicas(always: true)
    // Before the first update there is no average.
    let averaged = average?.updates ?? 0 > 0 ? try evaluateAverage(validation) : nil
    try prepareStatistics()
    survival.begin(.validation, step: progress.step)
    try survival.reach(.validation, step: progress.step)
    let result = try validation.run(check: checkSignals)
    guard result.loss.isFinite else {
      let (rank, place) = try firstNotFinite(model, validation.workspace, world: context.world)
      throw DivergenceError(step: progress.step, kind: .validation, loss: result.loss, rank: rank, place: place)
    }
    // Whether the last one stands decides what is best so far.
    try settle()
    // One that comes only because the run ends counts for nothing: a run that goes on later is that of one that never ended.
    let isRegular = progress.minibatch == 0 && epoch % configuration.evaluation.everyEpochs == 0, scheduleBefore = progress.schedule
    if isRegular { schedule.validated(result.loss, &progress.schedule) }
    if isDone { try rescueBest() }
    let before = progress.validation
    let isBest = result.loss < progress.validation?.bestLoss ?? .infinity
    progress.validation = CheckpointState.Validation(
      loss: result.loss, bestLoss: isBest ? result.loss : progress.validation?.bestLoss ?? result.loss,
      bestStep: isBest ? progress.step : progress.validation?.bestStep ?? progress.step, step: progress.step)
    scheduleBeforeBest = isBest && isRegular ? scheduleBefore : nil
    validatedStep = progress.step
    try journal.evaluation(
      "validation", result, task, step: progress.step, epoch: epoch, seconds: (clock.now - start) / .seconds(1), averaged: averaged)
    try reportNormalization(epoch: epoch)
    try reportGradientFlow(epoch: epoch)
    console.print(
      "Epoch \(epoch), step \(progress.step): validation loss \(fixed(result.loss, 4)), "
        + "\(task.measure.words(result))\(isBest ? " (best so far)" : "")\(words(averaged)).")
    if progress.schedule.divisions > scheduleBefore.divisions && !isDone {
      console.print("The learning rate is \(ConfigurationValue.number(schedule.rate(update: progress.step + 1, epoch: epoch + 1, progress.schedule)).yaml) from here on (optimizer.plateau).")
    }
    try writeCheckpoint(isBest: isBest, validationBefore: before)
    if isDone { try settle(isLast: true) }
  }

  /// Evaluates the averaged weights, if there are any. Evaluation statistics are those of the average afterwards.
  private func evaluateAverage(_ evaluator: Evaluator) throws -> EvaluationResult? {
    guard let average else { return nil }
    return try average.substitute(for: model.parameters) {
      if model.configuration.usesBatchStatistics && configuration.evaluation.statistics != .batch {
        survival.begin(.population, step: progress.step)
        // Until the statistics are those of the weights again.
        populationStep = nil
        try estimatePopulation(configuration.evaluation.statistics.populationVariance ?? .pooled)
      }
      survival.begin(.validation, step: progress.step)
      return try evaluator.run(check: checkSignals)
    }
  }

  private func estimatePopulation(_ variance: PopulationVariance) throws {
    let minibatches = min(configuration.evaluation.populationBatches ?? .max, data.minibatches(epoch: 0))
    try step.estimatePopulation(variance, minibatches: minibatches, check: checkSignals)
  }

  private func words(_ averaged: EvaluationResult?) -> String {
    averaged.map { "; averaged weights: loss \(fixed($0.loss, 4)), \(task.measure.words($0))" } ?? ""
  }

  /// Says at a validation what has become of γ and of the statistics.
  private func reportNormalization(epoch: Int) throws {
    guard context.isFirst else { return }
    let isPopulation = configuration.evaluation.statistics.populationVariance != nil && populationStep == progress.step
    let terms = model.normalizationFields(hasPopulation: isPopulation)
    if !terms.isEmpty {
      try journal.write("normalization", [JSONField("step", .integer(progress.step)), JSONField("epoch", .integer(epoch)), JSONField("terms", .array(terms))])
    }
    journal.board?.add(step: progress.step, histograms: model.histogramTensors)
  }

  /// Says at a validation how far the loss of a sequence's end reaches back in time.
  private func reportGradientFlow(epoch: Int) throws {
    survival.begin(.validation, step: progress.step)
    // More digits than single precision has say nothing.
    let layers = try step.gradientFlow().map { norms in JSONValue.array(norms.map { .double(Double(Float($0).description) ?? $0) }) }
    try journal.write(
      "gradient_flow", [JSONField("step", .integer(progress.step)), JSONField("epoch", .integer(epoch)), JSONField("layers", .array(layers))])
  }

  /// Waits for the checkpoint that is being written. A best model that was lost counts no longer as the best.
  private func settle(isLast: Bool = false) throws {
    if checkpoints.isWriting { survival.begin(.checkpoint, step: progress.step) }
    guard let lost = try checkpoints.settle(isLast: isLast), lost.isBest else { return }
    progress.validation = lost.validationBefore
    if let before = scheduleBeforeBest {
      progress.schedule.bestLoss = before.bestLoss
      progress.schedule.validationsSinceBest = before.validationsSinceBest + 1
    }
  }

  /// Before the last checkpoint of all takes the place of its copy, a best model that was lost gets its last chance.
  private func rescueBest() throws {
    survival.begin(.checkpoint, step: progress.step)
    if let validation = try checkpoints.rescueBest() { progress.validation = validation }
  }

  private func writeCheckpoint(isBest: Bool, validationBefore: CheckpointState.Validation? = nil) throws {
    try settle()
    try compareReplicas(always: true)
    survival.begin(.checkpoint, step: progress.step)
    try survival.reach(.checkpoint, step: progress.step)
    let statistics = configuration.evaluation.statistics
    let isPopulation = statistics.populationVariance != nil && populationStep == progress.step
    if !isPopulation { model.useRunningStatistics(framesPerStep: configuration.evaluation.framesPerStep) }
    try checkpoints.begin(
      progress, statistics: isPopulation ? statistics.stored : .running, isBest: isBest, validationBefore: validationBefore)
  }

  // MARK: The end

  private func stop() throws -> ExitCode {
    try record { try $0.close() }
    try settle()
    try rescueBest()
    if checkpoints.lastStep != progress.step { try writeCheckpoint(isBest: false) }
    try settle(isLast: true)
    try journal.write("end", [JSONField("reason", .string("signal"))])
    console.print("Stopped by a signal after step \(progress.step); go on with --resume.")
    return .stoppedBySignal
  }

  private func finish() throws -> ExitCode {
    let epoch = progress.minibatch == 0 ? progress.epoch - 1 : progress.epoch
    if validatedStep != progress.step { try validate(epoch: epoch) }
    try record { try $0.close() }
    survival.begin(.ending, step: progress.step)
    if let testData { try runTest(testData, epoch: epoch) }
    guard let key = endingKey else { preconditionFailure("a run that is not done ends") }
    try journal.write("end", [JSONField("reason", .string("done")), JSONField("by", .string(key))])
    if key == "training.early_stopping" {
      console.print(
        "The run has ended after epoch \(epoch) of \(configuration.training.epochs): \(progress.schedule.validationsSinceBest) validations without a new best one "
          + "(training.early_stopping).")
    }
    if let validation = progress.validation {
      let measure = task.measure.value(ofLoss: validation.bestLoss).map { " (\(task.measure.name) \(fixed($0, 2)))" } ?? ""
      console.print("Best validation loss \(fixed(validation.bestLoss, 4))\(measure) at step \(validation.bestStep).")
    }
    console.print("The run lies in \(directory.path).")
    return .success
  }

  /// Gives the model of an earlier checkpoint evaluation statistics of the configured kind, where it was stored with others.
  private func replaceStatistics(ofStep best: Int) throws {
    guard let variance = configuration.evaluation.statistics.populationVariance else {
      return console.warn(
        "the checkpoint of step \(best) has evaluation statistics of before evaluation.statistics or evaluation.frames_per_step was changed")
    }
    survival.begin(.population, step: progress.step)
    try estimatePopulation(variance)
    survival.begin(.ending, step: progress.step)
  }

  /// Evaluates the model of the best validation on the test data.
  private func runTest(_ data: any EvaluationData, epoch: Int) throws {
    let best = progress.validation?.bestStep ?? progress.step
    var hasAverage = average?.updates ?? 0 > 0
    if best == progress.step {
      // A run that was resumed at its end may want other statistics than it had.
      try prepareStatistics()
    } else {
      let hasOtherStatistics = try context.world.agree {
        guard context.isFirst else { return 0 }
        let checkpoint = try CheckpointStore.open(path: directory.store.path(step: best))
        _ = try checkpoint.model().read(into: model.parameterTensors + model.evaluationTensors)
        hasAverage = try average?.read(from: checkpoint, layout: model.layout) ?? false
        let before = try checkpoint.state.trainingConfiguration
        let isSame = checkpoint.state.statistics == configuration.evaluation.statistics.stored && hasSameSteps(configuration, before)
        return isSame || !configuration.normalization.usesBatchStatistics ? 0 : 1
      }
      try checkpointing.broadcastModel()
      hasAverage = try context.world.allGather(hasAverage ? 1 : 0)[0] != 0
      if hasAverage, let average { try context.world.broadcast(average.values, root: 0) }
      if try context.world.allGather(hasOtherStatistics)[0] != 0 { try replaceStatistics(ofStep: best) }
    }
    let start = clock.now
    let evaluator = Evaluator(
      model: model, context: context, data: data, statistics: configuration.evaluation.statistics, seed: configuration.training.seed)
    let result = try evaluator.run(check: checkSignals)
    let averaged = hasAverage ? try evaluateAverage(evaluator) : nil
    survival.begin(.ending, step: progress.step)
    try journal.evaluation(
      "test", result, task, step: best, epoch: epoch, seconds: (clock.now - start) / .seconds(1), averaged: averaged)
    console.print(
      "Test loss \(fixed(result.loss, 4)), \(task.measure.words(result)) (model of step \(best))\(words(averaged)).")
  }
}
