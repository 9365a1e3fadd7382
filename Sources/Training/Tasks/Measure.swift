/// What a model is judged by, beside its loss.
enum Measure: Equatable, Sendable {
  /// e to the mean loss.
  case perplexity
  /// The share of what has a target whose arg max is wrong; the name is of one of these.
  case errorRate(of: String)

  /// The name in words.
  var name: String {
    switch self {
    case .perplexity: "perplexity"
    case .errorRate(let noun): "\(noun) error rate"
    }
  }

  /// Its value for a mean loss in nats and a share of errors.
  func value(loss: Double, errorRate: Double) -> Double {
    switch self {
    case .perplexity: exponential(loss)
    case .errorRate: errorRate
    }
  }

  /// The field of an event: `perplexity`, `frame_error_rate`.
  func field(_ result: EvaluationResult) -> JSONField {
    JSONField(name.replacing(" ", with: "_"), .double(value(loss: result.loss, errorRate: result.errorRate)))
  }

  /// The same in words, rounded.
  func words(_ result: EvaluationResult) -> String {
    let value = value(loss: result.loss, errorRate: result.errorRate)
    return switch self {
    case .perplexity: "\(name) \(fixed(value, 2))"
    case .errorRate: "\(name) \(fixed(100 * value, 2)) %"
    }
  }

  /// The same with all digits.
  func exactWords(_ result: EvaluationResult) -> String { "\(name) \(value(loss: result.loss, errorRate: result.errorRate))" }

  /// What it says where only the loss is known; nil where the loss does not decide it.
  func value(ofLoss loss: Double) -> Double? {
    switch self {
    case .perplexity: exponential(loss)
    case .errorRate: nil
    }
  }
}
