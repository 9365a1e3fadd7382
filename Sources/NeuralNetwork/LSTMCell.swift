import Tensors

//   i = σ(a_i)   f = σ(a_f)   g = tanh(a_g)   c_t = f ⊙ c_{t-1} + i ⊙ g   o = σ(a_o + p_o ⊙ c_t)   h_t = o ⊙ tanh(c_t)
//
// Where the cell is normalised, h_t = o ⊙ tanh(BN(c_t)), and c_t itself is carried on.

extension CellShape {
  /// Gates in the order input, forget, candidate, output.
  static let lstm = CellShape(
    gates: 4, forgetGate: 1, candidate: 2, states: [.cell, .output], allowsPeepholes: true, readsProductsApart: false)
}

enum LSTMCell<S: Scalar>: RecurrentCell {
  static func forward(_ s: CellStep<S>) {
    lstmForward(
      s.preactivation, peepholes: s.peepholes, cPrevious: s.cPrevious, gates: s.gates, c: s.c, h: s.normalizesCell ? nil : s.h)
  }

  static func emit(_ s: CellStep<S>, _ cell: NormalizedCell<S>) {
    lstmOutput(gates: s.gates, cell: cell.values, scale: cell.scale, shift: cell.shift, h: s.h)
  }

  static func differentiateEmit(_ s: CellStep<S>, _ cell: NormalizedCell<S>, _ d: CellGradients<S>) {
    lstmOutputBackward(
      gates: s.gates, cell: cell.values, scale: cell.scale, shift: cell.shift, dhAbove: d.dhAbove, dhNext: d.dhNext,
      dNormalized: d.dNormalizedCell, da: d.dPreactivation)
  }

  static func backward(_ s: CellStep<S>, _ d: CellGradients<S>) {
    lstmBackward(
      gates: s.gates, c: s.c, cPrevious: s.cPrevious,
      dOutput: s.normalizesCell ? .throughCell(d.dNormalizedCell) : .output(above: d.dhAbove, next: d.dhNext), dc: d.dc,
      peepholes: s.peepholes, dPeepholes: d.dPeepholes, da: d.dPreactivation)
  }
}
