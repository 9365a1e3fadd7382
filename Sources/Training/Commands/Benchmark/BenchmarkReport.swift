import NeuralNetwork
import Tensors

/// The figures of a benchmark, in words and as JSON.
struct BenchmarkReport {
  private let request: BenchmarkRequest
  private let configuration: TrainingConfiguration
  private let steps: TimedSteps
  private let machine: MachineMeasurement
  private let peakMemory: Double
  /// Of the kernels and the BLAS library in use.
  private let warnings: [String]
  /// The limit of a step, the mean over steps.
  private let limit: StepLimit
  /// Frames a second at the limit, the median over steps.
  private let limitFramesPerSecond: Double
  /// Floating-point operations a second in products while training, the median over steps.
  private let productsPerSecond: Double
  /// Floating-point operations of a step by phase, the mean over steps.
  private let operations: [Phase: Double]

  /// - work: of each step.
  /// - warnings: of the kernels and the BLAS library in use.
  init(
    request: BenchmarkRequest, configuration: TrainingConfiguration, steps: TimedSteps, machine: MachineMeasurement, work: [StepWork],
    peakMemory: Double, warnings: [String]
  ) {
    self.request = request
    self.configuration = configuration
    self.steps = steps
    self.machine = machine
    self.peakMemory = peakMemory
    self.warnings = warnings
    let limits = work.map {
      StepLimit($0, productRate: machine.rates.bestProduct.rate, bandwidth: machine.rates.updateBandwidth, ranks: machine.ranks)
    }
    limit = StepLimit(meanOf: limits)
    limitFramesPerSecond = median(zip(steps.sizes, limits).map { Double($0.frames) / $1.seconds })
    productsPerSecond = median(zip(work, steps.seconds).map { $0.operations / $1 })
    operations = work.reduce(into: [:]) { sums, step in
      sums.merge(step.products.mapValues { $0 / Double(work.count) }, uniquingKeysWith: +)
    }
  }

  private var share: Double { steps.framesPerSecond / limitFramesPerSecond }
  private var shareOfProductRate: Double { productsPerSecond / machine.rates.bestProduct.rate }

  // MARK: In words

  var lines: [String] {
    let frames = configuration.task.definition.frames, hosts = machine.description.hostNames.count
    return [
      "\(request.configuration): \(machine.ranks) rank\(machine.ranks == 1 ? "" : "s") × \(machine.description.threads) "
        + "thread\(machine.description.threads == 1 ? "" : "s") on \(hosts) host\(hosts == 1 ? "" : "s")"
    ] + machine.description.lines.map { "  \($0)" } + [
      "\(Int(steps.framesPerSecond)) \(frames)/s; step \(ms(median(steps.seconds))) ms (\(ms(steps.seconds.min() ?? 0)) to "
        + "\(ms(steps.seconds.max() ?? 0)), median of \(steps.seconds.count)), \(Int(steps.framesPerStep)) \(frames) a step",
      "limit \(Int(limitFramesPerSecond)) \(frames)/s: step \(ms(limit.seconds)) ms, products \(ms(limit.products)), optimizer "
        + "\(ms(limit.optimizer)), reduction \(ms(limit.reduction)); reached \(percent(share)) of it",
    ] + phaseLines + rateLines + memoryLines
  }

  private var memoryLines: [String] {
    let growth = "grew by \(fixed(max(0, steps.growth) / 1_048_576, 2)) MiB from the first timed step to the last"
    let peak = "peak memory of a rank \(fixed(peakMemory / 1_073_741_824, 2)) GiB; \(growth)"
    guard let allocations = steps.allocations else { return [peak] }
    return [peak, "allocated in the timed steps by a training thread: \(Int(allocations.count)) times, \(Int(allocations.bytes)) bytes"]
  }

  private var phaseLines: [String] {
    let total = steps.phases.reduce(0, +)
    var lines = ["  " + "phase".padded(to: 22) + "ms".leading(10) + "of step".leading(10) + "limit ms".leading(10) + "share".leading(10)]
    for phase in Phase.allCases where steps.phases[phase.rawValue] > 0 {
      let seconds = steps.phases[phase.rawValue]
      var line = "  " + phase.name.padded(to: 22) + ms(seconds).leading(10) + percent(seconds / total).leading(10)
      if let least = limit.phases[phase] { line += ms(least).leading(10) + percent(least / seconds).leading(10) }
      lines.append(line)
    }
    let largest = limit.largestExcess(steps.phases)
    lines.append(
      "most over its limit: \(largest.phase.name), by \(ms(largest.seconds)) ms (times of phases are means over steps and ranks)")
    return lines
  }

  private var rateLines: [String] {
    let rates = machine.rates, best = rates.bestProduct
    var lines = productLines + [
      "products: \(giga(productsPerSecond)) GFLOP/s over the whole step, \(percent(shareOfProductRate)) of \(giga(best.rate)), the best "
        + "measured (\(best.name)); BLAS at best \(giga(rates.bestBLAS.rate)) (\(rates.bestBLAS.name)), own kernels "
        + "\(giga(rates.bestOwn.rate)) (\(rates.bestOwn.name)), multiply-adds in registers \(giga(rates.arithmeticPeak))",
      "memory: \(giga(rates.memoryBandwidth)) GB/s; vectors as long as the parameters \(giga(rates.updateBandwidth)) GB/s",
    ]
    if let reduction = machine.reduction {
      lines.append(
        "reduction of a step's gradient, \(fixed(Double(reduction.bytes) / 1e6, 2)) MB, by itself: \(ms(reduction.seconds)) ms, "
          + "\(fixed(Double(reduction.bytes) / reduction.seconds / 1e9, 2)) GB/s")
    }
    if let core = machine.description.forcedCoreType {
      lines.append("OPENBLAS_CORETYPE=\(core) forces the kernels of BLAS; unset, BLAS chooses by the processor")
    }
    lines += warnings.map { "warning: \($0)" }
    let library = machine.library, loss = rates.relativeTime(by: library)
    if loss > 1.1 {
      let other = library == .own ? ProductLibrary.blas : .own
      lines.append(
        "warning: compute.products: \(library.rawValue) takes \(fixed(loss, 2)) times as long as \(other.rawValue) for those products of "
          + "this model that compute.products decides about")
    }
    return lines
  }

  /// The rates of own kernels and BLAS by shape.
  private var productLines: [String] {
    let header = "  " + "product, GFLOP/s".padded(to: 22) + "own".leading(10) + "BLAS".leading(10) + "  in training"
    return [header] + machine.rates.products.map { product in
      let used = !product.isOfModel ? "" : product.hasManyRows && machine.library == .blas ? "  BLAS" : "  own"
      return "  " + product.name.padded(to: 22) + giga(product.own).leading(10) + giga(product.blas).leading(10) + used
    }
  }

  // MARK: JSON

  var fields: [JSONField] {
    throughputFields + [
      JSONField("peak_memory_bytes", .double(peakMemory)),
      JSONField("memory_growth_bytes", .double(steps.growth)), JSONField("allocations", allocationsJSON),
      JSONField("phase_seconds", .object(Phase.allCases.map { JSONField($0.name, .double(steps.phases[$0.rawValue])) })),
      JSONField("backward_seconds", .double(steps.backward)),
      JSONField("blas_core", .string(BLAS.coreType)), JSONField("instruction_set", .string(KernelSet.inUse.name)),
      JSONField("products", .string(machine.library.rawValue)),
      JSONField("limit", limitJSON), JSONField("rates", ratesJSON), JSONField("machine", machine.description.json),
    ]
  }

  private var allocationsJSON: JSONValue {
    guard let allocations = steps.allocations else { return .null }
    return .object([JSONField("count", .double(allocations.count)), JSONField("bytes", .double(allocations.bytes))])
  }

  private var throughputFields: [JSONField] {
    [
      JSONField("frames_per_second", .double(steps.framesPerSecond)), JSONField("tokens_per_second", .double(steps.framesPerSecond)),
      JSONField("step_seconds_median", .double(median(steps.seconds))),
      JSONField("step_seconds_minimum", .double(steps.seconds.min() ?? 0)),
      JSONField("step_seconds_maximum", .double(steps.seconds.max() ?? 0)), JSONField("steps", .integer(steps.seconds.count)),
      JSONField("frames_per_step", .double(steps.framesPerStep)), JSONField("tokens_per_step", .double(steps.framesPerStep)),
      JSONField("ranks", .integer(machine.ranks)), JSONField("product_rate", .double(machine.rates.bestProduct.rate)),
      JSONField("share_of_product_rate", .double(shareOfProductRate)), JSONField("share_of_limit", .double(share)),
    ]
  }

  private var limitJSON: JSONValue {
    let largest = limit.largestExcess(steps.phases)
    let phases = Phase.allCases.compactMap { phase -> JSONField? in
      guard let least = limit.phases[phase] else { return nil }
      return JSONField(phase.name, .object([
        JSONField("seconds", .double(steps.phases[phase.rawValue])), JSONField("limit_seconds", .double(least)),
        JSONField("share", .double(least / steps.phases[phase.rawValue])),
        JSONField("floating_point_operations", .double(operations[phase] ?? 0)),
      ]))
    }
    return .object([
      JSONField("frames_per_second", .double(limitFramesPerSecond)), JSONField("step_seconds", .double(limit.seconds)),
      JSONField("product_seconds", .double(limit.products)), JSONField("optimizer_seconds", .double(limit.optimizer)),
      JSONField("reduction_seconds", .double(limit.reduction)), JSONField("phases", .object(phases)),
      JSONField("most_over_limit", .object([
        JSONField("phase", .string(largest.phase.name)), JSONField("seconds", .double(largest.seconds)),
      ])),
    ])
  }

  private var ratesJSON: JSONValue {
    let rates = machine.rates
    return .object([
      JSONField("products", .array(rates.products.map {
        .object([JSONField("name", .string($0.name)), JSONField("own", .double($0.own)), JSONField("blas", .double($0.blas))])
      })),
      JSONField("multiply_add_peak", .double(rates.arithmeticPeak)), JSONField("memory_bandwidth", .double(rates.memoryBandwidth)),
      JSONField("update_bandwidth", .double(rates.updateBandwidth)),
      JSONField("reduction", machine.reduction.map { reduction in
        .object([
          JSONField("bytes", .integer(reduction.bytes)), JSONField("seconds", .double(reduction.seconds)),
          JSONField("bytes_per_second", .double(Double(reduction.bytes) / reduction.seconds)),
        ])
      } ?? .null),
    ])
  }
}

private func giga(_ rate: Double) -> String { fixed(rate / 1e9, 1) }

/// Seconds as milliseconds.
func ms(_ seconds: Double) -> String { fixed(seconds * 1000, 2) }

/// A share in percent.
func percent(_ share: Double) -> String { "\(fixed(100 * share, 1)) %" }

extension String {
  /// Filled up with spaces on the right.
  func padded(to width: Int) -> String { self + String(repeating: " ", count: max(1, width - count)) }
  /// Filled up with spaces on the left.
  func leading(_ width: Int) -> String { String(repeating: " ", count: max(1, width - count)) + self }
}
