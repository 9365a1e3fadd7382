/// The learning rate of every update, and when validations end a run before its epochs are over (mathematics.md, section 6).
///
/// All of it follows from the configuration, the number of the update, and the losses of the validations before it, by operations that IEEE 754
/// defines, so that every rank on every processor finds the same bits.
package struct Schedule {
  private let optimizer: TrainingConfiguration.Optimizer
  private let earlyStopping: TrainingConfiguration.EarlyStopping?
  /// Updates of the whole run.
  private let updates: Int

  package init(_ configuration: TrainingConfiguration, updates: Int) {
    optimizer = configuration.optimizer
    earlyStopping = configuration.training.earlyStopping
    self.updates = updates
  }

  /// What validations have done to the schedule so far.
  package struct State: Codable, Equatable, Sendable {
    /// The lowest validation loss, nats; nil before the first validation.
    package var bestLoss: Double?
    /// Validations since the one with the lowest loss.
    package var validationsSinceBest = 0
    /// Validations in a row without the progress that `plateau` asks for, since the last division.
    package var validationsOnPlateau = 0
    /// How often `plateau` has divided the learning rate.
    package var divisions = 0

    /// Before the first validation, or after those of a run that kept only the lowest loss.
    package init(bestLoss: Double? = nil) { self.bestLoss = bestLoss }

    /// Forgets the losses, because those to come are of other data; divisions stay.
    package mutating func forgetLosses() {
      bestLoss = nil
      validationsSinceBest = 0
      validationsOnPlateau = 0
    }
  }

  /// The learning rate of an update.
  /// - update: its number in the run, from 1.
  /// - epoch: that it belongs to, from 1.
  /// - state: after the validations before it.
  package func rate(update: Int, epoch: Int, _ state: State) -> Double {
    var rate = optimizer.learningRate
    if let decay = optimizer.decay { rate /= power(decay.factor, max(0, epoch - decay.after)) }
    if let plateau = optimizer.plateau { rate /= power(plateau.factor, state.divisions) }
    if update <= optimizer.warmupSteps { rate *= Double(update) / Double(optimizer.warmupSteps) }
    if let cosine = optimizer.cosine {
      let passed = min(1, Double(update - 1) / Double(max(1, updates - 1)))
      rate *= cosine.final + (1 - cosine.final) * (1 + Self.cosine(halfTurns: passed)) / 2
    }
    return rate
  }

  /// Takes a validation's loss into account.
  package func validated(_ loss: Double, _ state: inout State) {
    if let plateau = optimizer.plateau {
      let hasProgress = state.bestLoss.map { loss < $0 * (1 - plateau.threshold) } ?? true
      state.validationsOnPlateau = hasProgress ? 0 : state.validationsOnPlateau + 1
      if state.validationsOnPlateau >= plateau.patience {
        state.divisions += 1
        state.validationsOnPlateau = 0
      }
    }
    let isBest = state.bestLoss.map { loss < $0 } ?? true
    state.validationsSinceBest = isBest ? 0 : state.validationsSinceBest + 1
    if isBest { state.bestLoss = loss }
  }

  /// Whether validations have ended the run.
  package func isStopped(_ state: State) -> Bool {
    earlyStopping.map { state.validationsSinceBest >= $0.patience } ?? false
  }

  /// What changes the learning rate during the run, in words; nil if that is an epoch's decay alone, or nothing.
  var words: String? {
    func number(_ value: Double) -> String { ConfigurationValue.number(value).yaml }
    var parts: [String] = []
    if optimizer.warmupSteps > 0 { parts.append("rises over \(optimizer.warmupSteps) updates") }
    if let plateau = optimizer.plateau {
      let s = plateau.patience == 1 ? "" : "s in a row"
      parts.append("is divided by \(number(plateau.factor)) after \(plateau.patience) validation\(s) without progress by the share \(number(plateau.threshold))")
    }
    if let cosine = optimizer.cosine { parts.append("falls along a cosine to the share \(number(cosine.final)) at update \(updates)") }
    if parts.isEmpty { return nil }
    if let decay = optimizer.decay { parts.append("is divided by \(number(decay.factor)) in each epoch past \(decay.after)") }
    return "The learning rate \(number(optimizer.learningRate)) \(list(parts, "and"))."
  }

  private func power(_ base: Double, _ exponent: Int) -> Double {
    var result = 1.0
    for _ in 0..<exponent { result *= base }
    return result
  }

  /// cos(πx) for x from 0 to 1, off by less than 1e-15. The C library's cosine may have other last bits on another processor.
  package static func cosine(halfTurns x: Double) -> Double {
    // cos(πx) = sin(π(1/2 − x)), by the series of the sine at up to π/2 from 0.
    let angle = Double.pi * (0.5 - x), square = angle * angle
    var sum = 0.0
    for n in stride(from: 21, through: 3, by: -2) { sum = (1 + sum) * -square / Double(n * (n - 1)) }
    return angle * (1 + sum)
  }
}
