import Tensors
import Testing

/// Several updates against the rules for one number in double precision.
@Suite struct OptimizerKernelTests {
  private let n = 37, steps = 20, rate = 0.05, scale = 0.5

  /// Runs `kernel` in precision S and `rule` in double precision over the same gradients.
  private func compare<S: Scalar>(
    _ type: S.Type, _ kernel: (_ step: Int, _ theta: VectorView<S>, _ g: VectorView<S>, _ a: VectorView<S>, _ b: VectorView<S>) -> Void,
    _ rule: (_ step: Int, _ g: Double, _ theta: inout Double, _ a: inout Double, _ b: inout Double) -> Void
  ) {
    var random = TestRandom(15)
    let start = random.values(n)
    let theta = VectorView<S>(doubles: start), a = VectorView<S>(zeros: n), b = VectorView<S>(zeros: n)
    var wanted = start.map { (theta: $0, a: 0.0, b: 0.0) }
    for step in 1...steps {
      let g = random.values(n, scale: 2)
      kernel(step, theta, VectorView(doubles: g), a, b)
      for i in 0..<n {
        var (theta, a, b) = wanted[i]
        rule(step, scale * g[i], &theta, &a, &b)
        wanted[i] = (theta, a, b)
      }
    }
    for i in 0..<n {
      // Some ten roundings an update, of numbers below 4.
      #expect(isClose(type, Double(theta[i]), wanted[i].theta, size: 4, roundings: 10 * Double(steps)), "\(theta[i]) \(wanted[i])")
      #expect(abs(wanted[i].theta - start[i]) > 1e-3)
    }
  }

  @Test func gradientDescent() {
    func check<S: Scalar>(_ type: S.Type) {
      compare(type) { _, theta, g, _, _ in
        theta.updateByGradient(g, gradientScale: S(scale), learningRate: S(rate))
      } _: { _, g, theta, _, _ in theta -= rate * g }
    }
    check(Float.self)
    check(Double.self)
  }

  @Test(arguments: [0, 0.9])
  func momentum(_ m: Double) {
    func check<S: Scalar>(_ type: S.Type) {
      compare(type) { _, theta, g, u, _ in
        theta.updateByMomentum(g, gradientScale: S(scale), learningRate: S(rate), momentum: S(m), velocity: u)
      } _: { _, g, theta, u, _ in
        u = m * u + g
        theta -= rate * u
      }
    }
    check(Float.self)
    check(Double.self)
  }

  @Test func adam() {
    func check<S: Scalar>(_ type: S.Type) {
      compare(type) { step, theta, g, first, second in
        theta.updateByAdam(
          g, gradientScale: S(scale), learningRate: S(rate), beta1: 0.9, beta2: 0.999, epsilon: S(1e-8), step: step, firstMoment: first,
          secondMoment: second)
      } _: { step, g, theta, first, second in
        first = 0.9 * first + 0.1 * g
        second = 0.999 * second + 0.001 * g * g
        let (p1, p2) = (1...step).reduce((1.0, 1.0)) { p, _ in (p.0 * 0.9, p.1 * 0.999) }
        theta -= rate * (first / (1 - p1)) / ((second / (1 - p2)).squareRoot() + 1e-8)
      }
    }
    check(Float.self)
    check(Double.self)
  }

  @Test(arguments: [0, 0.9])
  func rmsprop(_ m: Double) {
    func check<S: Scalar>(_ type: S.Type) {
      compare(type) { _, theta, g, square, u in
        theta.updateByRMSProp(
          g, gradientScale: S(scale), learningRate: S(rate), momentum: S(m), decay: S(0.95), epsilon: S(1e-4), meanSquare: square, velocity: u)
      } _: { _, g, theta, square, u in
        square = 0.95 * square + 0.05 * g * g
        u = m * u - rate * g / (square + 1e-4).squareRoot()
        theta += u
      }
    }
    check(Float.self)
    check(Double.self)
  }
}
