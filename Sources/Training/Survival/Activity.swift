import MPI
import NeuralNetwork

/// What a rank does, as it says for the watchdog: a phase of the step, or one of these.
enum Activity: Int, CaseIterable {
  case startingUp = 100
  case validation, population, checkpoint, replicaCheck, ending

  /// The number's activity in words, as in "was last seen in …".
  static func words(_ number: Int, step: Int) -> String {
    if let phase = Phase(rawValue: number) { return "phase \(phase.name) of step \(step)" }
    switch Activity(rawValue: number) {
    case .validation: return "validation after step \(step)"
    case .population: return "population statistics after step \(step)"
    case .checkpoint: return "writing the checkpoint of step \(step)"
    case .replicaCheck: return "the comparison of replicas after step \(step)"
    case .ending: return "the end of the run after step \(step)"
    case .startingUp, nil: return "the start of the run"
    }
  }
}
