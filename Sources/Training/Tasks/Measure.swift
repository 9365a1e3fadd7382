/// What a model is judged by, beside its loss.
enum Measure: Sendable {
  /// e to the mean loss.
  case perplexity
  /// The share of frames whose arg max is wrong.
  case frameErrorRate
  /// The share of sequences whose arg max is wrong.
  case sequenceErrorRate

  /// Its name in words.
  var name: String {
    switch self {
    case .perplexity: "perplexity"
    case .frameErrorRate: "frame error rate"
    case .sequenceErrorRate: "sequence error rate"
    }
  }

  /// Its name in events.
  var key: String {
    switch self {
    case .perplexity: "perplexity"
    case .frameErrorRate: "frame_error_rate"
    case .sequenceErrorRate: "sequence_error_rate"
    }
  }

  /// Its value where the mean loss in nats decides it; nil where it does not.
  func value(ofLoss loss: Double) -> Double? {
    switch self {
    case .perplexity: exponential(loss)
    case .frameErrorRate, .sequenceErrorRate: nil
    }
  }

  /// The mean of what the minibatches' mean losses give, as some publish it, in words; nil where the mean loss does not decide the measure.
  /// - losses: sum of the cross entropies of each minibatch, in nats.
  /// - targets: what each has a target for; minibatches without any are left out.
  func wordsOfMinibatches(losses: [Double], targets: [Int]) -> String? {
    let values = zip(losses, targets).filter { $1 > 0 }.compactMap { loss, targets in value(ofLoss: loss / Double(targets)) }
    guard !values.isEmpty else { return nil }
    return "mean \(name) of \(values.count) minibatches: \(values.reduce(0, +) / Double(values.count))"
  }

  private func value(_ result: EvaluationResult) -> Double { value(ofLoss: result.loss) ?? result.errorRate }

  /// The field of an event.
  func field(_ result: EvaluationResult) -> JSONField { JSONField(key, .double(value(result))) }

  /// The same in words, rounded.
  func words(_ result: EvaluationResult) -> String {
    switch self {
    case .perplexity: "\(name) \(fixed(value(result), 2))"
    case .frameErrorRate, .sequenceErrorRate: "\(name) \(fixed(100 * value(result), 2)) %"
    }
  }

  /// The same with all digits.
  func exactWords(_ result: EvaluationResult) -> String { "\(name) \(value(result))" }
}
