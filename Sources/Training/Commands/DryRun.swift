import MPI
import NeuralNetwork

/// Steps that a dry run times.
private let timedSteps = 5

/// `lockstep train --dry-run`, after all that a run checks before it begins: says what the run takes, and times some steps of it.
/// - hosts: what the ranks of each host need together, in words.
/// - state: what the run would go on from.
func rehearse(
  _ configuration: TrainingConfiguration, _ context: RankContext, data: any TrainingData, model: SequenceModel<Float>, need: MemoryNeed,
  hosts: [String], from state: CheckpointState?, console: Console
) throws -> ExitCode {
  let ranks = context.world.size, frames = configuration.task.definition.frames
  console.print(data.summary)
  console.print(
    "\(model.layout.parameterCount) parameters; \(ranks) rank\(ranks == 1 ? "" : "s"), \(context.layout.shards) shard\(context.layout.shards == 1 ? "" : "s").")
  console.print("Memory of a rank: \(size(need.total)): " + need.parts.map { "\($0.name) \(size($0.bytes))" }.joined(separator: ", ") + ".")
  for host in hosts where !host.isEmpty { console.print("Memory of \(host).") }
  let epochs = configuration.training.epochs, updates = data.updates(configuration.training), accumulated = configuration.training.accumulateSteps
  let first = (data.minibatches(epoch: 1) + accumulated - 1) / accumulated
  console.print(
    "Steps of an epoch: \(first)\(data.minibatchBounds.count == 1 ? "" : " in the first"); of the run: \(updates) in at most \(epochs) epoch\(epochs == 1 ? "" : "s").")
  // Weights of a run that goes on stay in its checkpoint: a step takes as long with others.
  if state != nil { model.initialize(Initialization(configuration.initialization), seed: configuration.training.seed) }
  try broadcast(model, world: context.world)
  let step = try TrainingStep(configuration, model: model, context: context, data: data)
  let steps = try timeSteps(timedSteps, step, context, data)
  let seconds = median(steps.seconds), left = updates - (state?.step ?? 0)
  console.print(
    "\(StepForecast.beginning)\(fixed(1e3 * seconds, 1)) ms here (median of \(timedSteps)), \(Int(steps.framesPerSecond)) \(frames)/s: "
      + "\(duration(seconds: seconds * Double(left)))\(StepForecast.middle)\(left) step\(left == 1 ? "" : "s") \(state == nil ? "of the run" : "that are left"), without validation.")
  console.print("Nothing was written.")
  return .success
}

/// What a dry run says about the time of a run: the line is written above, and read here for the runs of a study.
struct StepForecast: Equatable {
  var secondsPerStep: Double
  var steps: Int

  fileprivate static let beginning = "A step takes ", middle = " for the "

  /// Nil where the text has no such line.
  init?(dryRun text: String) {
    guard let line = text.split(separator: "\n").last(where: { $0.hasPrefix(Self.beginning) }),
      let milliseconds = Double(line.dropFirst(Self.beginning.count).prefix { $0 != " " }),
      let middle = line.firstRange(of: Self.middle), let steps = Int(line[middle.upperBound...].prefix { $0 != " " })
    else { return nil }
    secondsPerStep = milliseconds / 1e3
    self.steps = steps
  }
}
