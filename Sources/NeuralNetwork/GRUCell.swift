import Tensors

//   r = σ(u_r + v_r)   z = σ(u_z + v_z)   n = tanh(u_n + r ⊙ v_n)   h_t = (1 − z) ⊙ n + z ⊙ h_{t-1}
//
// with u = W_x x_t + b and v = W_h h_{t-1} + (0, 0, d_n): r stands between the two, so they are read apart, and so are their gradients.

extension CellShape {
  /// Gates in the order reset, update, new.
  static let gru = CellShape(
    gates: 3, forgetGate: nil, candidate: 2, states: [.output], allowsPeepholes: false, readsProductsApart: true,
    placements: [.none, .input, .separate, .hidden])
}

enum GRUCell<S: Scalar>: RecurrentCell {
  static func forward(_ s: CellStep<S>) { gruForward(s.preactivation, hPrevious: s.hPrevious, gates: s.gates, h: s.h) }

  static func backward(_ s: CellStep<S>, _ d: CellGradients<S>) {
    gruBackward(
      s.preactivation, hPrevious: s.hPrevious, gates: s.gates, dhAbove: d.dhAbove, dhNext: d.dhNext, dhPrevious: d.dhPrevious,
      du: d.dPreactivation, dv: d.dRecurrent)
  }
}
