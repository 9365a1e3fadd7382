import DataParallel
import Glibc
import MPI
import NeuralNetwork
import Tensors

/// What `lockstep benchmark` is asked for.
public struct BenchmarkRequest: Sendable {
  public var configuration: String
  public var overrides: [String]
  /// Steps that are timed, after two that are not.
  public var steps: Int
  /// Whether the last line is a JSON object.
  public var json: Bool
  /// What is asked about communication, if anything.
  public var communication: CommunicationRequest?
  /// Threads of each rank.
  public var threads: Int
  /// Where a trace of the timed steps goes, if one is asked for.
  public var trace: String?

  /// The arguments as the command line gives them.
  public init(
    configuration: String, overrides: [String], steps: Int, json: Bool, communication: CommunicationRequest? = nil, threads: Int = 1, trace: String? = nil
  ) {
    self.configuration = configuration
    self.overrides = overrides
    self.steps = steps
    self.json = json
    self.communication = communication
    self.threads = threads
    self.trace = trace
  }
}

/// `lockstep benchmark`: training throughput, the time of each phase of a step, the machine's limit for that step, and the share reached.
public func benchmark(_ request: BenchmarkRequest, world: Communicator, console: Console) throws -> ExitCode {
  guard request.steps >= 1 else { throw UsageError(description: "--steps must be 1 or more") }
  let arithmetic = try Arithmetic(starting: request.threads, world: world, console: console)
  let network = try request.communication.map { try $0.checked(ranks: world.size) }
  let train = TrainRequest(configuration: request.configuration, overrides: request.overrides)
  let configuration = try loadConfiguration(train, world: world).resolved(rankCount: world.size, fastest: arithmetic.fastestProducts)
  try configuration.checkShardsCanBeFilled()
  let recording = try request.trace.map { path in
    world.trace = Trace()
    let recording = TraceRecording(steps: warmUpSteps + 1...warmUpSteps + request.steps, path: path, world: world, console: console)
    try recording.checkWritable()
    return recording
  }
  let context = try RankContext(world: world, configuration)
  let data = try configuration.task.definition.openTrainingData(configuration, context, stored: nil, for: .training)
  _ = try MemoryNeed(configuration, context, data: data).check(world)
  let model = SequenceModel<Float>(data.network)
  model.initialize(Initialization(configuration.initialization), seed: configuration.training.seed)
  try broadcast(model, world: world)
  let step = try TrainingStep(configuration, model: model, context: context, data: data)
  let steps = try timeSteps(request.steps, step, context, data, recording)
  // Before measuring takes memory of its own.
  let memory = try peakMemory(world)
  let machine = try measureMachine(step, context, steps, arithmetic)
  let work = steps.sizes.map { StepWork($0, configuration, model.configuration, carriesState: data.carriesState, ranks: world.size) }
  let report = BenchmarkReport(
    request: request, configuration: configuration, steps: steps, machine: machine, work: work, peakMemory: memory,
    warnings: arithmetic.warnings(model.configuration.products))
  for line in report.lines { console.print(line) }
  var fields = report.fields
  if let network, let gradient = machine.reduction {
    let costs = try CommunicationCosts(step, context, gradient: gradient)
    let prediction = CommunicationReport(
      network, costs: costs, step: ScalingModel.Step(step, context, steps, costs), steps: steps, machine: machine.description)
    for line in prediction.lines { console.print(line) }
    fields.append(JSONField("communication", prediction.json))
  }
  if request.json { console.print(JSONValue.object(fields).text) }
  return .success
}

/// Steps of training that were timed.
struct TimedSteps {
  /// Of each step.
  var seconds: [Double] = []
  var sizes: [StepSize] = []
  /// What the training thread allocated in them on any rank; nil where nothing counted.
  var allocations: Allocations?
  /// Bytes by which the resident memory of any rank grew from the first to the last of them.
  var growth = 0.0
  /// Seconds of a step that its reduction can hide behind (`ShardGradients.backwardSeconds`), the mean over steps and ranks.
  var backward = 0.0
  /// Seconds a step, by phase, the mean over steps and ranks.
  var phases = Array(repeating: 0.0, count: Phase.allCases.count)

  var framesPerStep: Double { median(sizes.map { Double($0.frames) }) }
  /// The median over steps of each step's own rate: steps of different lengths count alike.
  var framesPerSecond: Double { median(zip(sizes, seconds).map { Double($0.frames) / $1 }) }
  /// Seconds of a step, the mean.
  var meanSeconds: Double { seconds.reduce(0, +) / Double(seconds.count) }
  /// Seconds of a step in exchanges of statistics and of gradients, the mean over steps and ranks.
  var exchanges: Double { phases[Phase.statisticsExchange.rawValue] + phases[Phase.gradientExchange.rawValue] }
  /// Rows of the embedding that a step touches.
  var embeddingRows: Int { Int(median(sizes.map { Double($0.embeddingRows) })) }
}

/// Steps that are not timed, before those that are.
private let warmUpSteps = 2

/// Times `count` steps after two that are not timed.
/// - recording: a trace of those that are timed.
func timeSteps(
  _ count: Int, _ step: TrainingStep, _ context: RankContext, _ data: any TrainingData, _ recording: TraceRecording? = nil
) throws -> TimedSteps {
  let configuration = step.configuration
  let rate = Schedule(configuration, updates: 1).rate(update: 1, epoch: 1, .init())
  let warmUp = warmUpSteps, clock = ContinuousClock(), span = configuration.training.accumulateSteps, minibatches = data.minibatches(epoch: 1)
  var steps = TimedSteps(), allocations = Allocations(), resident = 0
  steps.seconds.reserveCapacity(count)
  steps.sizes.reserveCapacity(count)
  let counter = AllocationCounter()
  for number in 0..<warmUp + count {
    let first = number * span % max(1, minibatches - span + 1)
    try recording?.begin(before: number + 1)
    step.timer.reset()
    if number == warmUp { resident = residentBytes() }
    let before = counter?.now ?? Allocations()
    let start = clock.now
    let result = try step.update(
      minibatches: first..<min(first + span, minibatches), epoch: 1, step: number + 1,
      learningRate: rate, request: [])
    let elapsed = (clock.now - start) / .seconds(1)
    step.timer.enter(.other)
    let after = counter?.now ?? Allocations()
    if number < warmUp { continue }
    allocations.count += after.count - before.count
    allocations.bytes += after.bytes - before.bytes
    steps.seconds.append(elapsed)
    steps.sizes.append(result.size)
    steps.backward += step.gradients.backwardSeconds / Double(count)
    for phase in Phase.allCases { steps.phases[phase.rawValue] += step.timer.seconds(phase) / Double(count) }
    try recording?.end(after: number + 1)
  }
  steps.growth = try context.world.allGather(Double(residentBytes() - resident)).max() ?? 0
  if counter != nil {
    steps.allocations = Allocations(
      count: try context.world.allGather(allocations.count).max() ?? 0, bytes: try context.world.allGather(allocations.bytes).max() ?? 0)
  }
  let means = VectorView(steps.phases + [steps.backward])
  try context.world.allReduce(means, .sum)
  steps.phases = means.array.dropLast().map { $0 / Double(context.world.size) }
  steps.backward = means[steps.phases.count] / Double(context.world.size)
  return steps
}

/// What the machine reaches beside training.
struct MachineMeasurement {
  var description: MachineDescription
  var ranks: Int
  /// Who multiplies large matrices in the steps.
  var library: ProductLibrary
  var rates: MachineRates
  /// A reduction of as many gradients as a step's by itself; nil for a single rank.
  var reduction: (bytes: Int, messages: Int, seconds: Double)?
}

private func measureMachine(_ step: TrainingStep, _ context: RankContext, _ steps: TimedSteps, _ arithmetic: Arithmetic) throws -> MachineMeasurement {
  let world = context.world, ranks = world.size, model = step.model
  let minibatches = max(1, steps.sizes.reduce(0) { $0 + $1.minibatches })
  let rates = try MachineRates(
    model.configuration, framesOfRank: steps.sizes.reduce(0) { $0 + $1.frames } / minibatches / ranks,
    sequencesOfRank: steps.sizes.reduce(0) { $0 + $1.sequences } / minibatches / ranks, parameters: model.layout.count, world: world)
  var measurement = MachineMeasurement(description: try MachineDescription(world, arithmetic), ranks: ranks, library: model.configuration.products, rates: rates)
  if ranks > 1 {
    let rows = steps.embeddingRows
    step.gradients.clear()
    let seconds = try secondsOfAllRanks(world) { try step.gradients.reduce(embeddingRows: rows) }
    measurement.reduction = (step.gradients.bytes(embeddingRows: rows), step.gradients.messages(embeddingRows: rows), seconds)
  }
  return measurement
}

extension StepWork {
  /// The work of an update of a configuration.
  init(
    _ size: StepSize, _ c: TrainingConfiguration, _ network: NetworkConfiguration, carriesState: Bool, ranks: Int
  ) {
    guard let method = OptimizationMethod(rawValue: c.optimizer.method.rawValue) else { preconditionFailure("an unknown optimiser") }
    self.init(network, size, carriesState: carriesState, method: method, momentum: c.optimizer.momentum, ranks: ranks)
  }
}

/// The largest resident size of any rank, in bytes.
private func peakMemory(_ world: Communicator) throws -> Double {
  var usage = rusage()
  unsafe getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
  return try world.allGather(Double(usage.ru_maxrss) * 1024).max() ?? 0
}

func median(_ values: [Double]) -> Double {
  let sorted = values.sorted()
  if sorted.isEmpty { return .nan }
  return (sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
}
