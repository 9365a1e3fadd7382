/// What the metrics of a run say: losses, steps and times. Steps that were done twice, before and after a kill, count once.
struct RunRecord: Equatable, Sendable {
  struct Step: Equatable, Sendable {
    var epoch: Int
    var loss, seconds: Double
  }

  struct Validation: Equatable, Sendable {
    var loss, seconds: Double
  }

  /// Whether the last start has trained to its end.
  var isDone = false
  var ranks: Int?
  /// Updates of the whole run.
  var updates: Int?
  /// By step, from 1.
  private(set) var steps: [Int: Step] = [:]
  /// By step.
  private(set) var validations: [Int: Validation] = [:]
  private(set) var test: Validation?

  init() {}

  /// Reads a metrics file; nothing where there is none. Lines that are no events are left out.
  init(path: String) throws(MetricsError) {
    if ((try? FileSystem().kind(path, followingLinks: true)) ?? nil) == nil { return }
    var reader = try MetricsReader(path: path)
    while true {
      do {
        guard let event = try reader.next() else { break }
        add(event)
      } catch {
        guard case .line = error.problem else { throw error }
      }
    }
  }

  mutating func add(_ event: MetricsEvent) {
    switch event.kind {
    case "start":
      isDone = false
      ranks = event["ranks"]?.integer
      updates = event["updates"]?.integer
    case "restart": forget(after: 0)
    case "resume": if let step = event["step"]?.integer { forget(after: step) }
    case "step":
      guard let step = count(event["step"]), let epoch = count(event["epoch"]), let loss = event["loss"]?.number else { return }
      steps[step] = Step(epoch: epoch, loss: loss, seconds: event["seconds"]?.number ?? 0)
    case "validation":
      guard let step = count(event["step"]), let validation = Validation(event) else { return }
      validations[step] = validation
    case "test": test = Validation(event)
    case "end": isDone = event["reason"]?.string == "done"
    default: break
    }
  }

  /// A number from 1 that is not beyond what a run can have: damaged metrics may say anything.
  private func count(_ value: JSONValue?) -> Int? { value?.integer.flatMap { (1...unboundedCount).contains($0) ? $0 : nil } }

  /// What came after a checkpoint comes once more.
  private mutating func forget(after step: Int) {
    steps = steps.filter { $0.key <= step }
    validations = validations.filter { $0.key <= step }
    test = nil
  }

  var lastStep: Int { steps.keys.max() ?? 0 }
  var lastEpoch: Int { steps[lastStep]?.epoch ?? 0 }

  /// The lowest loss, the earliest of equal ones.
  var best: (step: Int, loss: Double)? {
    validations.min { ($0.value.loss, $0.key) < ($1.value.loss, $1.key) }.map { ($0.key, $0.value.loss) }
  }

  var lastValidationLoss: Double? { validations.max { $0.key < $1.key }?.value.loss }

  /// Mean loss of the steps of the last epoch, in order of the steps.
  var lastTrainingLoss: Double? {
    guard let epoch = steps[lastStep]?.epoch else { return nil }
    let losses = steps.filter { $0.value.epoch == epoch }.sorted { $0.key < $1.key }.map(\.value.loss)
    return losses.reduce(0, +) / Double(losses.count)
  }

  /// Seconds of steps, validations and test.
  var seconds: Double {
    let parts = steps.sorted { $0.key < $1.key }.map(\.value.seconds) + validations.sorted { $0.key < $1.key }.map(\.value.seconds)
    return parts.reduce(0, +) + (test?.seconds ?? 0)
  }

  var stepSecondsMedian: Double? { steps.isEmpty ? nil : median(steps.values.map(\.seconds)) }
}

extension RunRecord.Validation {
  init?(_ event: MetricsEvent) {
    guard let loss = event["loss"]?.number else { return nil }
    self.init(loss: loss, seconds: event["seconds"]?.number ?? 0)
  }
}
