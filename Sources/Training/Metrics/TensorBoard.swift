/// What TensorBoard shows of a run: rank 0 writes it beside the metrics, which stay what counts. An event file that cannot be written
/// is given up with a warning.
final class TensorBoard {
  private var file: EventFile?
  private let measure: Measure
  private let frames: String
  private let console: Console

  /// - afterStep: the update after which the process begins; 0 for a new run.
  init(directory: String, host: String, afterStep step: Int, _ task: any LearningTask, console: Console) {
    measure = task.measure
    frames = task.frames
    self.console = console
    do { file = try EventFile(directory: directory, host: host, afterStep: step) } catch { giveUp(error) }
  }

  /// Adds what an event of the metrics says, if it is one of a step or an evaluation.
  func add(_ event: String, _ fields: [JSONField]) {
    guard file != nil else { return }
    func number(_ name: String) -> Double? { fields.first { $0.name == name }?.value.number }
    guard let step = number("step"), let loss = number("loss") else { return }
    var values: [(tag: String, value: EventFile.Value)] = []
    func add(_ tag: String, _ value: Double?) { if let value { values.append((tag, .scalar(value))) } }
    switch event {
    case "step":
      add("training/loss", loss)
      add("training/\(measure.key)", measure.value(ofLoss: loss) ?? number(measure.key))
      add("training/gradient_norm", number("gradient_norm"))
      add("training/learning_rate", number("learning_rate"))
      if let count = number("frames"), let seconds = number("seconds"), seconds > 0 { add("training/\(frames)_per_second", count / seconds) }
    case "validation", "test":
      add("\(event)/loss", loss)
      add("\(event)/\(measure.key)", number(measure.key))
      add("\(event)/average_loss", number("average_loss"))
    default: return
    }
    append(step: Int(step), values)
  }

  /// Adds histograms of tensors by their names.
  func add(step: Int, histograms: [NamedTensor]) {
    if file == nil { return }
    append(step: step, histograms.map { ($0.name.replacing(".", with: "/"), .histogram(Histogram($0.values))) })
  }

  private func append(step: Int, _ values: [(tag: String, value: EventFile.Value)]) {
    do { try file?.append(step: step, values) } catch { giveUp(error) }
  }

  private func giveUp(_ error: FileError) {
    file = nil
    console.warn("\(error); TensorBoard will show nothing from here on")
  }
}
