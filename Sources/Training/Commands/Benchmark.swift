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

  /// The arguments as the command line gives them.
  public init(configuration: String, overrides: [String], steps: Int, json: Bool) {
    self.configuration = configuration
    self.overrides = overrides
    self.steps = steps
    self.json = json
  }
}

/// `lockstep benchmark`: training throughput, the time of each phase of a step, and the share of the machine's product rate.
public func benchmark(_ request: BenchmarkRequest, world: Communicator, console: Console) throws -> ExitCode {
  BLAS.setThreads(1)
  guard request.steps >= 1 else { throw UsageError(description: "--steps must be 1 or more") }
  let train = TrainRequest(configuration: request.configuration, overrides: request.overrides)
  let configuration = try loadConfiguration(train, world: world).resolved(rankCount: world.size)
  try configuration.checkSupported()
  let context = try RankContext(world: world, configuration)
  let data = try openTrainingData(configuration, context, stored: nil)
  let model = SequenceModel<Float>(data.network)
  model.initialize(Initialization(configuration.initialization), seed: configuration.training.seed)
  try broadcast(model, world: world)
  let step = try TrainingStep(configuration, model: model, context: context, data: data)

  var seconds: [Double] = [], phases = Array(repeating: 0.0, count: Phase.allCases.count), frames: [Int] = []
  let warmUp = 2, clock = ContinuousClock()
  let span = configuration.training.accumulateSteps
  for number in 0..<warmUp + request.steps {
    let first = number * span % max(1, data.minibatches - span + 1)
    step.timer.reset()
    let start = clock.now
    let result = try step.update(
      minibatches: first..<min(first + span, data.minibatches), epoch: 1, step: number + 1,
      learningRate: configuration.optimizer.rate(epoch: 1), request: [])
    let elapsed = (clock.now - start) / .seconds(1)
    step.timer.enter(.other)
    if number < warmUp { continue }
    seconds.append(elapsed)
    frames.append(result.frames)
    for phase in Phase.allCases { phases[phase.rawValue] += step.timer.seconds(phase) / Double(request.steps) }
  }
  let rate = try productRate(world: world)
  let report = BenchmarkReport(
    seconds: seconds, frames: frames, phases: phases, productsPerFrame: configuration.productsPerFrame(model), productRate: rate, ranks: world.size, peakMemory: try peakMemory(world))
  report.print(configuration, request, console)
  return .success
}

/// Single-precision products of all ranks at once, in floating-point operations a second: the median of several of 1024³.
private func productRate(world: Communicator) throws -> Double {
  let n = 1024, clock = ContinuousClock()
  let a = MatrixView<Float>(zeros: n, n), b = MatrixView<Float>(zeros: n, n), c = MatrixView<Float>(zeros: n, n)
  a.fill(1)
  b.fill(0.5)
  try world.barrier()
  var seconds: [Double] = []
  for _ in 0..<9 {
    let start = clock.now
    c.setProduct(a.asIs, b.transposed)
    seconds.append((clock.now - start) / .seconds(1))
  }
  let mine = 2 * Double(n * n * n) / median(seconds)
  return try world.allGather(mine).reduce(0, +)
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

extension TrainingConfiguration {
  /// Floating-point operations in matrix products for each trained frame: two a weight forward, four backward.
  fileprivate func productsPerFrame(_ model: SequenceModel<Float>) -> Double {
    let weights = model.layout.tensors.filter { $0.shape.count == 2 && $0.name.hasSuffix("weight") && $0.name != "embedding.weight" }
    return 6 * Double(weights.reduce(0) { $0 + $1.count })
  }
}

/// The figures of a benchmark.
private struct BenchmarkReport {
  // Of each step.
  var seconds: [Double]
  var frames: [Int]
  // Seconds a step on rank 0, by phase.
  var phases: [Double]
  // Floating-point operations of a frame in products.
  var productsPerFrame: Double
  var productRate: Double
  var ranks: Int
  var peakMemory: Double

  // The median over steps of each step's own rate: steps of different lengths count alike.
  var framesPerSecond: Double { median(zip(frames, seconds).map { Double($0) / $1 }) }
  var framesPerStep: Double { median(frames.map { Double($0) }) }
  var share: Double { productsPerFrame * framesPerSecond / productRate }

  func print(_ configuration: TrainingConfiguration, _ request: BenchmarkRequest, _ console: Console) {
    let ms = { (s: Double) in fixed(s * 1000, 2) }
    console.print("\(request.configuration): \(ranks) ranks × 1 thread, BLAS kernels \(BLAS.coreType), vector kernels \(VectorKernels.instructionSet)")
    console.print(
      "\(Int(framesPerSecond)) \(configuration.task.frames)/s; step \(ms(median(seconds))) ms (\(ms(seconds.min() ?? 0)) to \(ms(seconds.max() ?? 0)), "
        + "median of \(seconds.count)), \(Int(median(frames.map { Double($0) }))) \(configuration.task.frames) a step")
    for phase in Phase.allCases where phases[phase.rawValue] > 0 {
      let name = phase.name.padding(to: 22)
      console.print("  \(name)\(ms(phases[phase.rawValue])) ms  \(fixed(100 * phases[phase.rawValue] / phases.reduce(0, +), 1)) %")
    }
    console.print(
      "products \(fixed(share * productRate / 1e9, 1)) GFLOP/s of \(fixed(productRate / 1e9, 1)) measured for 1024³: "
        + "\(fixed(100 * share, 1)) %; peak memory of a rank \(fixed(peakMemory / 1_073_741_824, 2)) GiB")
    if request.json { console.print(json) }
  }

  private var json: String {
    let phaseFields = Phase.allCases.map { JSONField($0.name, .double(phases[$0.rawValue])) }
    return JSONValue.object([
      JSONField("frames_per_second", .double(framesPerSecond)), JSONField("tokens_per_second", .double(framesPerSecond)), JSONField("step_seconds_median", .double(median(seconds))),
      JSONField("step_seconds_minimum", .double(seconds.min() ?? 0)), JSONField("step_seconds_maximum", .double(seconds.max() ?? 0)),
      JSONField("steps", .integer(seconds.count)), JSONField("frames_per_step", .double(framesPerStep)),
      JSONField("tokens_per_step", .double(framesPerStep)), JSONField("ranks", .integer(ranks)),
      JSONField("product_rate", .double(productRate)), JSONField("share_of_product_rate", .double(share)),
      JSONField("peak_memory_bytes", .double(peakMemory)), JSONField("phase_seconds", .object(phaseFields)),
      JSONField("blas_core", .string(BLAS.coreType)), JSONField("kernels", .string(VectorKernels.instructionSet)),
    ]).text
  }
}

extension String {
  fileprivate func padding(to width: Int) -> String { self + String(repeating: " ", count: max(1, width - count)) }
}
