import Tensors

//   h_t = tanh(a_t)

extension CellShape {
  static let plain = CellShape(gates: 1, forgetGate: nil, candidate: 0, states: [.output], allowsPeepholes: false, readsProductsApart: false)
}

enum PlainCell<S: Scalar>: RecurrentCell {
  static func forward(_ s: CellStep<S>) { rnnForward(s.preactivation, h: s.h) }

  static func backward(_ s: CellStep<S>, _ d: CellGradients<S>) {
    rnnBackward(h: s.h, dhAbove: d.dhAbove, dhNext: d.dhNext, da: d.dPreactivation)
  }
}
