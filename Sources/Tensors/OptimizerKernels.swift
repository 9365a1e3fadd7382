// Updates of n parameters θ by the gradient `gradientScale · g`, elementwise.

extension VectorView where Element: Scalar {
  private func check(_ others: VectorView...) {
    for other in others { precondition(other.count == count, "an update of \(count) parameters by \(other.count) elements") }
  }

  /// `θ ← θ − η s g`.
  public func updateByGradient(_ g: VectorView, gradientScale s: Element, learningRate: Element) {
    check(g)
    unsafe Element.sgd(count, pointer, g.pointer, s, learningRate)
  }

  /// `u ← m u + s g`, `θ ← θ − η u`.
  public func updateByMomentum(
    _ g: VectorView, gradientScale s: Element, learningRate: Element, momentum: Element, velocity u: VectorView
  ) {
    check(g, u)
    unsafe Element.momentum(count, pointer, u.pointer, g.pointer, s, learningRate, momentum)
  }

  /// Kingma & Ba 2015, algorithm 1, at update `step` (from 1).
  public func updateByAdam(
    _ g: VectorView, gradientScale s: Element, learningRate: Element, beta1: Double, beta2: Double, epsilon: Element, step: Int,
    firstMoment: VectorView, secondMoment: VectorView
  ) {
    check(g, firstMoment, secondMoment)
    let correction1 = 1 / (1 - power(beta1, step)), correction2 = 1 / (1 - power(beta2, step))
    unsafe Element.adam(
      count, pointer, firstMoment.pointer, secondMoment.pointer, g.pointer, s, learningRate, beta1, beta2,
      Element(correction1), Element(correction2), epsilon)
  }

  /// Graves 2013, equations 38 to 45, without the mean of gradients: `n ← ρ n + (1 − ρ) g²`, `u ← m u − η g / √(n + ε)`, `θ ← θ + u`.
  public func updateByRMSProp(
    _ g: VectorView, gradientScale s: Element, learningRate: Element, momentum: Element, decay: Double, epsilon: Element,
    meanSquare: VectorView, velocity u: VectorView
  ) {
    check(g, meanSquare, u)
    unsafe Element.rmsprop(count, pointer, meanSquare.pointer, u.pointer, g.pointer, s, learningRate, momentum, decay, epsilon)
  }
}

/// `base^exponent` by squaring, the same bits on every machine.
private func power(_ base: Double, _ exponent: Int) -> Double {
  var (result, factor, rest) = (1.0, base, exponent)
  while rest > 0 {
    if rest & 1 == 1 { result *= factor }
    factor *= factor
    rest >>= 1
  }
  return result
}
