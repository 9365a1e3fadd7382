import Foundation
import Tensors
import Testing

/// exp, σ and tanh as the cells compute them in single precision.
@Suite struct ElementaryFunctionTests {
  /// Zeros, subnormal and normal numbers of every size, a dense sweep of the range that is not saturated, and the limits of the exponential.
  private static let inputs: [Float] = {
    var values: [Float] = [
      0, -0.0, .leastNonzeroMagnitude, -.leastNonzeroMagnitude, 0x1p-133, -0x1p-133, .leastNormalMagnitude, 0.625, Float(0.625).nextDown, -0.625,
      87, -87, 87.33654, -87.33654, 88, -88, 88.72283, -88.72283, 88.72284, -88.72284, 88.72285, 89, -89, 103, -103, 104, -104, 1e4, -1e4,
      .greatestFiniteMagnitude, -.greatestFiniteMagnitude,
    ]
    var random = TestRandom(1)
    for _ in 0..<40_000 { values.append(Float(100 * random.value())) }
    for _ in 0..<40_000 { values.append(Float(2 * random.value())) }
    for exponent in -140...6 {
      for _ in 0..<50 { values.append(Float(random.value() * exp2(Double(exponent)))) }
    }
    return values
  }()

  /// Error in units in the last place of the exact value.
  private func ulps(_ found: Float, _ exact: Double) -> Double {
    abs(Double(found) - exact) / Double(max(Float(exact).magnitude, .leastNormalMagnitude).ulp)
  }

  private func tanh(_ x: [Float]) -> [Float] {
    let n = x.count, h = MatrixView<Float>(zeros: 1, n)
    rnnForward(Preactivation(z: VectorView(x).matrix(rows: 1, columns: n), shift: VectorView(zeros: n)), h: h)
    return h.vector.array
  }

  private func logistic(_ x: [Float]) -> [Float] {
    let n = x.count, z = MatrixView<Float>(zeros: 1, 4 * n), c = MatrixView<Float>(zeros: 1, n)
    z[0][0..<n].copy(from: VectorView(x))
    lstmForward(
      Preactivation(z: z, shift: VectorView(zeros: 4 * n)), peepholes: Peepholes(), cPrevious: MatrixView(zeros: 1, n), gates: z, c: c,
      h: MatrixView(zeros: 1, n))
    return z[0][0..<n].array
  }

  @Test func hyperbolicTangentIsWithinThreeUnits() {
    let found = tanh(Self.inputs)
    var worst = 0.0
    for (x, y) in zip(Self.inputs, found) { worst = max(worst, ulps(y, Foundation.tanh(Double(x)))) }
    #expect(worst <= 3 && worst > 0, "\(worst)")
    #expect(found.allSatisfy { abs($0) <= 1 })
  }

  @Test func logisticIsWithinThreeUnits() {
    let found = logistic(Self.inputs)
    var worst = 0.0
    for (x, y) in zip(Self.inputs, found) {
      let exact = 1 / (1 + Foundation.exp(-Double(x)))
      // Below the smallest normal number the result may be 0.
      if exact >= Double(Float.leastNormalMagnitude) {
        worst = max(worst, ulps(y, exact))
      } else {
        #expect(y >= 0 && Double(y) <= Double(Float.leastNormalMagnitude), "σ(\(x)) = \(y)")
      }
    }
    #expect(worst <= 3 && worst > 0, "\(worst)")
    #expect(found.allSatisfy { $0 >= 0 && $0 <= 1 })
  }

  @Test func exponentialIsWithinThreeUnits() {
    // Of two logits 0 and x ≤ 0 the softmax of a block first makes e^0 and e^x.
    for x in stride(from: Float(-87.3), to: 0, by: 0.0137) {
      let logits = VectorView<Float>([0, x]).matrix(rows: 2, columns: 1)
      let softmax = BlockedSoftmax<Float>(targets: VectorView([0]), classes: 2, memory: .init(capacity: 1, blocks: 1))
      softmax.add(block: 0, logits: logits, bias: VectorView(zeros: 2), first: 0)
      #expect(ulps(logits[1, 0], Foundation.exp(Double(x))) <= 3, "exp(\(x))")
    }
  }

  @Test func functionsAreOddWhereTheyShouldBe() {
    let x = Self.inputs.filter { $0 != 0 }
    #expect(tanh(x).map { -$0 } == tanh(x.map { -$0 }))
  }

  @Test func limits() {
    let x: [Float] = [.infinity, -.infinity, .nan, 0, -0.0, -.nan]
    let t = tanh(x), s = logistic(x)
    #expect(t[0] == 1 && t[1] == -1 && t[2].isNaN && t[3] == 0 && t[4] == 0 && t[5].isNaN)
    #expect(s[0] == 1 && s[1] == 0 && s[2].isNaN && s[3] == 0.5 && s[4] == 0.5 && s[5].isNaN)
  }

  /// A value does not depend on where in a row it stands, in whole vectors or in the rest.
  @Test func positionDoesNotMatter() {
    let all = tanh(Array(Self.inputs[..<333]))
    for n in [1, 3, 7, 16, 31, 64, 100] { #expect(tanh(Array(Self.inputs[..<n])) == Array(all[..<n])) }
    #expect(Self.inputs[..<100].map { tanh([$0])[0] } == Array(all[..<100]))
  }
}
