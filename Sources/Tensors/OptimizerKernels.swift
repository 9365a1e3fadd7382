import CKernels

// Updates of n parameters θ by the gradient `gradientScale · g`, elementwise.

extension VectorView where Element: Scalar {
  private func check(_ others: VectorView...) {
    for other in others { precondition(other.count == count, "an update of \(count) parameters by \(other.count) elements") }
  }

  // What all rules take; the rest is 0.
  @unsafe private func update(_ g: VectorView, _ gradientScale: Element, _ learningRate: Element) -> lockstep_update {
    unsafe lockstep_update(
      n: count, theta: pointer, u: nil, v: nil, g: g.pointer, gradient_scale: gradientScale.double, rate: learningRate.double,
      momentum: 0, beta1: 0, beta2: 0, correction1: 0, correction2: 0, epsilon: 0)
  }

  /// `θ ← θ − η s g`.
  public func updateByGradient(_ g: VectorView, gradientScale s: Element, learningRate: Element) {
    check(g)
    var update = unsafe update(g, s, learningRate)
    unsafe lockstep_sgd(Element.kernels, &update)
  }

  /// `u ← m u + s g`, `θ ← θ − η u`.
  public func updateByMomentum(
    _ g: VectorView, gradientScale s: Element, learningRate: Element, momentum: Element, velocity u: VectorView
  ) {
    check(g, u)
    var update = unsafe update(g, s, learningRate)
    unsafe update.u = UnsafeMutableRawPointer(u.pointer)
    unsafe update.momentum = momentum.double
    unsafe lockstep_momentum(Element.kernels, &update)
  }

  /// Kingma & Ba 2015, algorithm 1, at update `step` (from 1).
  public func updateByAdam(
    _ g: VectorView, gradientScale s: Element, learningRate: Element, beta1: Double, beta2: Double, epsilon: Element, step: Int,
    firstMoment: VectorView, secondMoment: VectorView
  ) {
    check(g, firstMoment, secondMoment)
    let correction1 = 1 / (1 - power(beta1, step)), correction2 = 1 / (1 - power(beta2, step))
    var update = unsafe update(g, s, learningRate)
    unsafe update.u = UnsafeMutableRawPointer(firstMoment.pointer)
    unsafe update.v = UnsafeMutableRawPointer(secondMoment.pointer)
    unsafe (update.beta1, update.beta2, update.epsilon) = (beta1, beta2, epsilon.double)
    unsafe (update.correction1, update.correction2) = (correction1, correction2)
    unsafe lockstep_adam(Element.kernels, &update)
  }

  /// Graves 2013, equations 38 to 45, without the mean of gradients: `n ← ρ n + (1 − ρ) g²`, `u ← m u − η g / √(n + ε)`, `θ ← θ + u`.
  public func updateByRMSProp(
    _ g: VectorView, gradientScale s: Element, learningRate: Element, momentum: Element, decay: Double, epsilon: Element,
    meanSquare: VectorView, velocity u: VectorView
  ) {
    check(g, meanSquare, u)
    var update = unsafe update(g, s, learningRate)
    unsafe update.u = UnsafeMutableRawPointer(u.pointer)
    unsafe update.v = UnsafeMutableRawPointer(meanSquare.pointer)
    unsafe (update.momentum, update.beta2, update.epsilon) = (momentum.double, decay, epsilon.double)
    unsafe lockstep_rmsprop(Element.kernels, &update)
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
