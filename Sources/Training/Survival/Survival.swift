import MPI
import NeuralNetwork
import Tensors

/// What a rank does beside training so that a run survives: it says what it is at, compares its replica with the others', and lets the faults
/// happen that a test asks for.
final class Survival {
  private let pulse: Pulse?
  private var faults: Faults?
  private let tensors: [NamedTensor]
  private let replicas: ReplicaCheck?
  private let everySteps: Int
  private var comparedStep: Int?
  // Whether phases of the timer are those of an update; in validation and population statistics they only show that the rank gets on.
  private var isInUpdate = false

  /// All ranks call it together.
  /// - tensors: weights, the optimiser's state and running averages, the same on all ranks.
  /// - faults: those of this rank.
  init(_ configuration: TrainingConfiguration.ReplicaCheck, world: Communicator, tensors: [NamedTensor], faults: Faults?) throws {
    pulse = world.pulse
    self.faults = faults
    self.tensors = tensors
    everySteps = configuration.everySteps ?? 0
    replicas = everySteps > 0 && world.size > 1 ? try ReplicaCheck(world, tensors: tensors, isHealing: configuration.heal) : nil
  }

  /// An update begins.
  func beginUpdate(step: Int) throws {
    isInUpdate = true
    pulse?.begin(Phase.input.rawValue, step: step)
    try reach(.step, step: step)
  }

  /// Something other than an update begins, after `step` of them.
  func begin(_ activity: Activity, step: Int) {
    isInUpdate = false
    pulse?.begin(activity.rawValue, step: step)
  }

  /// A phase of a step or of an evaluation begins.
  func enter(_ phase: Phase) {
    if isInUpdate { pulse?.begin(phase.rawValue) } else { pulse?.goOn() }
  }

  /// Lets the faults of a site happen.
  func reach(_ site: Faults.Site, step: Int) throws { try faults?.reach(site, step: step) { tensors } }

  /// Compares replicas, unless that has been done in this step or is not due.
  /// - always: whether it is due in any step: before a checkpoint, which holds what rank 0 has, and not only after every so many updates.
  /// - Returns: tensors and ranks that were healed, in words and by name; nil where there was nothing to heal.
  /// - Throws: `ReplicaError`.
  func compare(step: Int, always: Bool) throws -> (words: String, tensors: [String], ranks: [Int])? {
    guard let replicas, comparedStep != step, always || step % everySteps == 0 else { return nil }
    begin(.replicaCheck, step: step)
    comparedStep = step
    let healed = try replicas.run(step: step)
    if healed.isEmpty { return nil }
    return (replicas.describe(healed), replicas.names(healed), Set(healed.flatMap(\.odd)).sorted())
  }
}
