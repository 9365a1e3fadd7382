import SequenceData
import Testing

/// Deltas as Kaldi's `add-deltas` computes them. The definition, with a window of 2 and frames past the edges those at the edges:
/// `Δ x(t) = Σ_j j x(t+j) / 10`, `ΔΔ x(t) = Σ_j Σ_k j k x(t+j+k) / 100`.
@Suite struct DeltaTests {
  /// Value and the sum of the terms' magnitudes.
  private static func definition(_ x: [Double], _ t: Int, order: Int) -> (value: Double, magnitude: Double) {
    func at(_ t: Int) -> Double { x[min(max(t, 0), x.count - 1)] }
    var value = 0.0, magnitude = 0.0
    for j in -2...2 {
      for k in order == 2 ? -2...2 : 1...1 {
        let term = Double(j * k) * at(order == 2 ? t + j + k : t + j) / (order == 2 ? 100 : 10)
        value += term
        magnitude += abs(term)
      }
    }
    return (value, magnitude)
  }

  private static func deltas(_ x: [Float], order: Int, dimension: Int = 1) throws -> [Float] {
    try MemorySource([x], dimension: dimension).transformed(FeatureTransform(deltas: order, normalizer: .none))
  }

  @Test(arguments: [1, 2, 3, 4, 5, 8, 9, 50]) func definition(frames: Int) throws {
    var random = TestRandom(seed: UInt64(frames))
    let dimension = 3
    let x = (0..<frames * dimension).map { _ in Float.random(in: -20..<20, using: &random) }
    for order in 0...2 {
      let found = try Self.deltas(x, order: order, dimension: dimension), width = dimension * (1 + order)
      #expect(found.count == frames * width)
      for t in 0..<frames {
        for f in 0..<dimension { #expect(found[t * width + f] == x[t * dimension + f]) }
        for o in 1..<1 + order {
          for f in 0..<dimension {
            let column = (0..<frames).map { Double(x[$0 * dimension + f]) }
            let expected = Self.definition(column, t, order: o), value = Double(found[t * width + o * dimension + f])
            // Single precision: weight and product are rounded once, and a term takes part in at most 8 additions.
            #expect(abs(value - expected.value) <= 10 * 0x1p-24 * expected.magnitude * 1.001, "order \(o), frame \(t), feature \(f)")
          }
        }
      }
    }
  }

  /// One frame of 1 among zeros shows the weights themselves, which are then exact.
  @Test func weights() throws {
    let x: [Float] = (0..<13).map { $0 == 6 ? 1 : 0 }
    let rows = try Self.deltas(x, order: 2)
    func column(_ order: Int) -> [Float] { (0..<13).map { rows[3 * $0 + order] } }
    #expect(column(0) == x)
    #expect(column(1) == [0, 0, 0, 0, 2, 1, 0, -1, -2, 0, 0, 0, 0].map { $0 / 10 })
    #expect(column(2) == [0, 0, 4, 4, 1, -4, -10, -4, 1, 4, 4, 0, 0].map { $0 / 100 })
  }

  /// A first frame of 1: it stands for all frames before it in the second difference too, which is not the difference of the first.
  @Test func edges() throws {
    let rows = try Self.deltas([1, 0, 0, 0, 0, 0, 0, 0, 0, 0], order: 2)
    func column(_ order: Int) -> [Float] { (0..<10).map { rows[3 * $0 + order] } }
    let first: [Float] = [-0.3, -0.3, -0.2, 0, 0, 0, 0, 0, 0, 0], second: [Float] = [-0.05, 0.05, 0.09, 0.08, 0.04, 0, 0, 0, 0, 0]
    for t in 0..<10 {
      #expect(abs(column(1)[t] - first[t]) <= 1e-7 && abs(column(2)[t] - second[t]) <= 1e-7, "frame \(t)")
    }
    let twice = try Self.deltas(column(1), order: 1)
    #expect(abs(twice[1] - second[0]) > 0.01)
    // The other edge is the mirror image.
    let last = try Self.deltas([0, 0, 0, 0, 0, 0, 0, 0, 0, 1], order: 2)
    for t in 0..<10 {
      #expect(abs(last[3 * (9 - t) + 1] + first[t]) <= 1e-7 && abs(last[3 * (9 - t) + 2] - second[t]) <= 1e-7, "frame \(t)")
    }
  }

  @Test func width() {
    #expect((0...2).map { FeatureTransform(deltas: $0, normalizer: .none).width(41) } == [41, 82, 123])
  }

  @Test func mistakes() async {
    await #expect(processExitsWith: .failure) { _ = FeatureTransform(deltas: 3, normalizer: .none) }
    await #expect(processExitsWith: .failure) { _ = FeatureTransform(deltas: -1, normalizer: .none) }
  }
}
