import MPI
import NeuralNetwork
import Tensors

/// A loss or gradient that is not finite.
struct DivergenceError: Error, CustomStringConvertible {
  /// What is not finite.
  enum Kind { case loss, gradient, validation, covariance, evaluation }

  /// The update that was under way; for `validation` the last one done.
  var step: Int
  var kind: Kind
  /// Its value; for `gradient` the norm.
  var loss: Double
  var rank: Int
  var place: String
  /// What gradients are rounded to; nil: single precision.
  var format: HalfFormat?

  var description: String {
    let what =
      switch kind {
      case .loss: "the loss is \(value)"
      case .gradient: "the gradient norm is \(value)"
      case .validation: "the validation loss after it is \(value)"
      case .covariance: "the covariance of a layer's input is \(value)"
      case .evaluation: "the loss of the model on this data is \(value)"
      }
    if kind == .evaluation {
      return "step \(step): \(what); the first value that is not finite is in \(place) on rank \(rank). Another evaluation.statistics may help."
    }
    let outcome = kind == .validation ? "No checkpoint was written" : "Weights were not updated"
    let limit =
      kind == .gradient && format == .float16
      ? " Gradients are rounded to float16, whose largest number is 65504; communication.gradients: bfloat16 has the range of float32." : ""
    return "step \(step): \(what); the first value that is not finite is in \(place) on rank \(rank). "
      + "\(outcome), and checkpoints of before stand; a lower learning rate or clip norm may help.\(limit)"
  }

  // The sign of a NaN says nothing.
  private var value: String { loss.isNaN ? "not a number" : loss > 0 ? "infinite" : "-infinite" }
}

/// The first layer with a value that is not finite, on the lowest rank that has one. All ranks call it.
func firstNotFinite(
  _ model: SequenceModel<Float>, _ workspace: ModelWorkspace<Float>, world: Communicator
) throws -> (rank: Int, place: String) {
  let mine = model.firstNotFinite(workspace) ?? ""
  let places = try world.allGather(bytes: Array(mine.utf8)).map { String(decoding: $0, as: UTF8.self) }
  // What layers hold is finite: the products after them were too large.
  guard let rank = places.firstIndex(where: { !$0.isEmpty }) else { return (0, "the output layer or the gradients") }
  return (rank, places[rank])
}
