import Glibc

/// The metrics of a run: written by rank 0, ignored on the others.
final class Journal {
  private var log: MetricsLog?
  private let isTolerant: Bool
  private let console: Console
  /// What shows the same in TensorBoard.
  var board: TensorBoard?
  // Events since the last one that could be written.
  private var lost = 0

  /// - path: the file; nil on ranks after the first.
  /// - onError: whether an event that cannot be written ends the run, or is left out.
  init(path: String?, onError: TrainingConfiguration.OnError, console: Console) throws {
    log = try path.map { path throws(MetricsError) in try MetricsLog(path: path) }
    isTolerant = onError == .continue
    self.console = console
  }

  /// Appends an event.
  func write(_ kind: String, _ fields: [JSONField]) throws {
    guard log != nil else { return }
    board?.add(kind, fields)
    do {
      if lost > 0 { try log?.append(MetricsEvent("lost", [JSONField("events", .integer(lost))])) }
      lost = 0
      try log?.append(MetricsEvent(kind, fields))
    } catch {
      guard isTolerant else { throw error }
      if lost == 0 { console.warn("\(error); events are left out until there is room again, and the run goes on") }
      lost += 1
    }
  }

  /// Appends the event of an evaluation.
  /// - averaged: the same of the averaged weights, if there are any.
  func evaluation(
    _ kind: String, _ result: EvaluationResult, _ task: any LearningTask, step: Int, epoch: Int, seconds: Double,
    averaged: EvaluationResult? = nil
  ) throws {
    var fields = [
      JSONField("step", .integer(step)), JSONField("epoch", .integer(epoch)), JSONField("loss", .double(result.loss)),
      task.measure.field(result), JSONField("frames", .integer(result.frames)),
    ]
    // How many the means are over, where these are not frames.
    if task.targets != task.frames { fields.append(JSONField(task.targets, .integer(result.targets))) }
    if let averaged {
      let field = task.measure.field(averaged)
      fields += [JSONField("average_loss", .double(averaged.loss)), JSONField("average_" + field.name, field.value)]
    }
    try write(kind, fields + [JSONField("seconds", .double(seconds))])
  }
}

/// ln x.
func logarithm(_ x: Double) -> Double { log(x) }

/// e^x.
func exponential(_ x: Double) -> Double { exp(x) }
