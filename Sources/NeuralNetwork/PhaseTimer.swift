import Tensors

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
  /// Records every phase but `other`, and updates.
  public var trace: Trace?
  /// The part of the network that the phases entered from now on are about.
  public var place: Trace.Place?
  // Nanoseconds by `MonotonicClock`.
  private var last: UInt64
  private var durations = [UInt64](repeating: 0, count: Phase.allCases.count)
  private var current = Phase.other
  private var currentPlace: Trace.Place?
  private var stepBegin: UInt64?

  /// All phases zero, in phase `other`.
  public init() { last = MonotonicClock.nanoseconds }

  /// Ends the phase before and begins `phase`; returns the one before.
  @discardableResult
  public func enter(_ phase: Phase) -> Phase {
    let now = MonotonicClock.nanoseconds
    durations[current.rawValue] += now - last
    if let trace {
      if current != .other { trace.record(.span(.training), current.name, from: last, to: now, place: currentPlace) }
      currentPlace = place
    }
    last = now
    observer?(phase)
    defer { current = phase }
    return current
  }

  /// Seconds of `phase` since the last `reset`.
  public func seconds(_ phase: Phase) -> Double { Double(durations[phase.rawValue]) * 1e-9 }

  /// The phase under way is the first one of update `number`.
  public func beginStep(_ number: Int) {
    trace?.beginStep(number)
    stepBegin = last
  }

  /// The phase before the one under way was the last one of the update.
  public func endStep() {
    if let trace, let stepBegin { trace.record(.span(.training), "update", from: stepBegin, to: last) }
    stepBegin = nil
  }

  /// Sets all phases to zero and begins `other`.
  public func reset() {
    for i in durations.indices { durations[i] = 0 }
    last = MonotonicClock.nanoseconds
    current = .other
  }
}
