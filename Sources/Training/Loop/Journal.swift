import Glibc

/// The metrics of a run: written by rank 0, ignored on the others.
final class Journal {
  private var log: MetricsLog?

  /// - path: the file; nil on ranks after the first.
  init(path: String?) throws { log = try path.map { path throws(MetricsError) in try MetricsLog(path: path) } }

  /// Appends an event.
  func write(_ kind: String, _ fields: [JSONField]) throws {
    guard log != nil else { return }
    try log?.append(MetricsEvent(kind, fields))
  }

  /// Appends the event of an evaluation.
  func evaluation(
    _ kind: String, _ result: EvaluationResult, _ task: TrainingConfiguration.Task, step: Int, epoch: Int, seconds: Double
  ) throws {
    try write(kind, [
      JSONField("step", .integer(step)), JSONField("epoch", .integer(epoch)), JSONField("loss", .double(result.loss)),
      task.measure(result), JSONField("frames", .integer(result.frames)),
      JSONField("seconds", .double(seconds)),
    ])
  }
}

/// ln x.
func logarithm(_ x: Double) -> Double { log(x) }

/// e^x.
func exponential(_ x: Double) -> Double { exp(x) }
