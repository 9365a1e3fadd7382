import NeuralNetwork

/// The least time that one update can take on this machine: all products at the best product rate that was measured on all ranks at once,
/// then the bytes of the optimiser and of the reduction once each at the measured bandwidth, and nothing else. Activations are left out, so
/// no program that computes these products at that rate is faster.
package struct StepLimit: Sendable {
  /// Seconds of each phase that has products, of the optimiser, and of the reduction: what `gradientExchange` takes more is waiting.
  package let phases: [Phase: Double]
  /// Seconds of all matrix products, and of the reduction.
  package let products, reduction: Double

  /// - productRate: floating-point operations a second of all ranks together.
  /// - bandwidth: bytes a second of all ranks together.
  package init(_ work: StepWork, productRate: Double, bandwidth: Double, ranks: Int) {
    var phases = work.products.mapValues { $0 / productRate }
    products = work.operations / productRate
    phases[.optimizer] = work.optimizerBytes * Double(ranks) / bandwidth
    reduction = work.reductionBytes * Double(ranks) / bandwidth
    phases[.gradientExchange] = reduction
    self.phases = phases
  }

  /// The mean of the limits of several updates.
  package init(meanOf limits: [StepLimit]) {
    let n = Double(limits.count)
    products = limits.reduce(0) { $0 + $1.products } / n
    reduction = limits.reduce(0) { $0 + $1.reduction } / n
    phases = limits.reduce(into: [:]) { sums, limit in sums.merge(limit.phases.mapValues { $0 / n }, uniquingKeysWith: +) }
  }

  /// Seconds of the whole update.
  package var seconds: Double { products + optimizer + reduction }
  package var optimizer: Double { phases[.optimizer] ?? 0 }

  /// The phase that takes the most time over its limit, and how much.
  /// - measured: seconds of each phase, by its number.
  package func largestExcess(_ measured: [Double]) -> (phase: Phase, seconds: Double) {
    let excess = Phase.allCases.map { (phase: $0, seconds: measured[$0.rawValue] - (phases[$0] ?? 0)) }
    return excess.max { $0.seconds < $1.seconds }!
  }
}
