/// What the time of a training step goes to.
public enum Phase: Int, CaseIterable, Sendable {
  case input, inputProduct, normalization, recurrence, softmax, weightGradients, statisticsExchange, gradientExchange, optimizer,
    other

  /// The phase in words, as in the output of `lockstep benchmark`.
  public var name: String {
    switch self {
    case .input: "input"
    case .inputProduct: "input_product"
    case .normalization: "normalization"
    case .recurrence: "recurrence"
    case .softmax: "softmax"
    case .weightGradients: "weight_gradients"
    case .statisticsExchange: "statistics_exchange"
    case .gradientExchange: "gradient_exchange"
    case .optimizer: "optimizer"
    case .other: "other"
    }
  }
}

/// Adds up the seconds of each phase: between two calls of `enter` the time belongs to the phase that was entered.
public final class PhaseTimer {
  /// Told of every phase that is entered.
  public var observer: ((Phase) -> Void)?
  private let clock = ContinuousClock()
  private var last: ContinuousClock.Instant
  private var current = Phase.other
  private var durations = [Duration](repeating: .zero, count: Phase.allCases.count)

  /// All phases zero, in phase `other`.
  public init() { last = clock.now }

  /// Ends the phase before and begins `phase`; returns the one before.
  @discardableResult
  public func enter(_ phase: Phase) -> Phase {
    let now = clock.now
    durations[current.rawValue] += now - last
    last = now
    observer?(phase)
    defer { current = phase }
    return current
  }

  /// Seconds of `phase` since the last `reset`.
  public func seconds(_ phase: Phase) -> Double { durations[phase.rawValue] / .seconds(1) }

  /// Sets all phases to zero and begins `other`.
  public func reset() {
    for i in durations.indices { durations[i] = .zero }
    last = clock.now
    current = .other
  }
}
