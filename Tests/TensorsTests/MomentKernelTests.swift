import Tensors
import Testing

@Suite struct MomentKernelTests {
  /// Mean and M2 of each column, straight.
  private func direct(_ x: [Double], _ B: Int, _ F: Int) -> (mean: [Double], squares: [Double]) {
    let mean = (0..<F).map { f in (0..<B).reduce(0) { $0 + x[$1 * F + f] } / Double(max(B, 1)) }
    return (mean, (0..<F).map { f in (0..<B).reduce(0) { $0 + (x[$1 * F + f] - mean[f]) * (x[$1 * F + f] - mean[f]) } })
  }

  private func moments<S: Scalar>(_: S.Type, _ x: [Double], _ B: Int, _ F: Int) -> (mean: VectorView<S>, squares: VectorView<S>) {
    let mean = VectorView<S>(zeros: F), squares = VectorView<S>(zeros: F)
    mean.fill(99)
    squares.fill(99)
    computeMoments(of: MatrixView<S>(x, B, F), mean: mean, squares: squares)
    return (mean, squares)
  }

  // Fewer columns than a vector, whole vectors, more than one block of columns.
  @Test(arguments: [(1, 3), (2, 16), (20, 37), (5, 1100)])
  func meanAndSquares(_ B: Int, _ F: Int) {
    func check<S: Scalar>(_ type: S.Type) {
      var random = TestRandom(3)
      let x = random.values(B * F, scale: 3, center: 1), found = moments(type, x, B, F), wanted = direct(x, B, F)
      for f in 0..<F {
        #expect(isClose(type, Double(found.mean[f]), wanted.mean[f], size: 4, roundings: Double(B) + 2))
        #expect(isClose(type, Double(found.squares[f]), wanted.squares[f], size: 9 * Double(B), roundings: Double(B) + 4))
        #expect(found.squares[f] >= 0)
      }
    }
    check(Float.self)
    check(Double.self)
  }

  @Test func noRowsGiveZeros() {
    let found = moments(Float.self, [], 0, 5)
    #expect(found.mean.array == [0, 0, 0, 0, 0] && found.squares.array == [0, 0, 0, 0, 0])
  }

  /// A mean ten thousand times the deviation: the difference of the mean square and the squared mean would have no correct digit here.
  @Test func noCancellation() {
    var random = TestRandom(4)
    let B = 64, F = 40, x = random.values(B * F, scale: 1, center: 1e4)
    let found = moments(Float.self, x, B, F), wanted = direct(x, B, F)
    for f in 0..<F {
      // The mean errs by at most B roundings of 1e4 (0.04), which adds the square of it to the variance of 1/3; in fact by far less.
      #expect(abs(Double(found.squares[f]) / wanted.squares[f] - 1) < 1e-4, "\(found.squares[f]) \(wanted.squares[f])")
    }
    // Constant columns have no variance at all where the mean is exact.
    let constant = moments(Float.self, [Double](repeating: 12345, count: 32 * 3), 32, 3)
    #expect(constant.mean.array == [12345, 12345, 12345] && constant.squares.array == [0, 0, 0])
  }

  @Test func mergingIsTheMomentsOfTheUnion() {
    func check<S: Scalar>(_ type: S.Type) {
      var random = TestRandom(5)
      let F = 19, parts = [3, 1, 0, 8, 2, 20]
      let x = parts.map { random.values($0 * F, scale: 1, center: 50) }
      let sum = moments(type, x[0], parts[0], F)
      var count = parts[0]
      for (part, B) in zip(x, parts).dropFirst() {
        let other = moments(type, part, B, F), before = (sum.mean.array, sum.squares.array)
        mergeMoments(
          count: count, mean: sum.mean, squares: sum.squares, otherCount: B, otherMean: other.mean, otherSquares: other.squares)
        if B == 0 { #expect(sum.mean.array == before.0 && sum.squares.array == before.1, "nothing is added") }
        count += B
      }
      let wanted = direct(x.flatMap { $0 }, count, F)
      for f in 0..<F {
        #expect(isClose(type, Double(sum.mean[f]), wanted.mean[f], size: 51, roundings: 20))
        // The means err by some roundings of 51, and the squared differences between parts with them.
        #expect(isClose(type, Double(sum.squares[f]), wanted.squares[f], size: 51 * 34, roundings: 20))
      }
    }
    check(Float.self)
    check(Double.self)
  }

  @Test func mergingIntoNothingCopies() {
    var random = TestRandom(6)
    let other = moments(Float.self, random.values(4 * 7), 4, 7), mean = VectorView<Float>(zeros: 7), squares = VectorView<Float>(zeros: 7)
    mean.fill(.nan)
    squares.fill(.nan)
    mergeMoments(count: 0, mean: mean, squares: squares, otherCount: 4, otherMean: other.mean, otherSquares: other.squares)
    #expect(mean.array == other.mean.array && squares.array == other.squares.array)
    mergeMoments(count: 0, mean: mean, squares: squares, otherCount: 0, otherMean: other.mean, otherSquares: other.squares)
    #expect(mean.array == other.mean.array)
  }

  @Test(arguments: [true, false])
  func foldAndDerivative(_ hasBeta: Bool) {
    func check<S: Scalar>(_ type: S.Type) {
      var random = TestRandom(7)
      let B = 6, F = 530, n = 9.0, epsilon = 1e-3
      let x = random.values(B * F, scale: 2), dy = random.values(B * F), mean = random.values(F), gamma = random.values(F), beta = random.values(F)
      let m2 = random.values(F).map { abs($0) + 0.5 }
      func vector(_ v: [Double]) -> VectorView<S> { VectorView(doubles: v) }
      let rstd = vector(mean), scale = vector(mean), shift = vector(mean), sum = vector(mean), sumWithX = vector(mean)
      foldNormalization(
        count: S(n), epsilon: S(epsilon), mean: vector(mean), squares: vector(m2), gamma: vector(gamma), beta: hasBeta ? vector(beta) : nil,
        rstd: rstd, scale: scale, shift: shift)
      let dyMatrix = MatrixView<S>(dy, B, F), xMatrix = MatrixView<S>(x, B, F)
      sumForNormalizationBackward(dy: dyMatrix, x: xMatrix, mean: vector(mean), rstd: rstd, sum: sum, sumWithX: sumWithX)
      normalizationBackward(
        count: S(n), dy: dyMatrix, x: xMatrix, mean: vector(mean), rstd: rstd, scale: scale, sum: sum, sumWithX: sumWithX, dx: xMatrix)
      func near(_ found: S, _ wanted: Double) -> Bool { isClose(type, Double(found), wanted, size: 100, roundings: 8) }
      for f in 0..<F {
        let reciprocal = 1 / (m2[f] / n + epsilon).squareRoot()
        let hat = (0..<B).map { (x[$0 * F + f] - mean[f]) * reciprocal }, d = (0..<B).map { dy[$0 * F + f] }
        let s = d.reduce(0, +), sx = zip(d, hat).reduce(0) { $0 + $1.0 * $1.1 }
        #expect(near(rstd[f], reciprocal) && near(scale[f], gamma[f] * reciprocal))
        #expect(near(shift[f], (hasBeta ? beta[f] : 0) - gamma[f] * reciprocal * mean[f]))
        #expect(near(sum[f], s) && near(sumWithX[f], sx))
        for b in 0..<B { #expect(near(xMatrix[b, f], gamma[f] * reciprocal * (d[b] - (s + hat[b] * sx) / n))) }
      }
    }
    check(Float.self)
    check(Double.self)
  }
}
