import Tensors

/// A small deterministic source of test values, independent of the library's own generator (Steele et al. 2014, SplitMix64).
struct TestRandom {
  private var state: UInt64
  init(_ seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// Uniform in [−1, 1).
  mutating func value() -> Double { Double(next() >> 11) * 0x1p-52 - 1 }
  /// Uniform in 0 ..< n.
  mutating func index(_ n: Int) -> Int { Int(next() % UInt64(n)) }

  /// `n` values that single precision holds exactly, so that both precisions compute from the same numbers.
  mutating func values(_ n: Int, scale: Double = 1, center: Double = 0) -> [Double] {
    (0..<n).map { _ in Double(Float(center + scale * value())) }
  }
}

extension VectorView where Element: Scalar {
  /// A vector of these values, rounded.
  init(doubles: [Double]) { self.init(doubles.map { Element($0) }) }
  /// The elements in double precision.
  var doubles: [Double] { array.map { Double($0) } }
}

extension MatrixView where Element: Scalar {
  /// A matrix of these values, row-major, in rows `stride` apart.
  init(_ doubles: [Double], _ rows: Int, _ columns: Int, stride: Int? = nil) {
    let whole = MatrixView(zeros: rows, stride ?? columns)
    self = whole.columns(0..<columns)
    for r in 0..<rows { for c in 0..<columns { self[r, c] = Element(doubles[r * columns + c]) } }
  }
  /// The elements in double precision, row-major.
  var doubles: [Double] { (0..<rows).flatMap { self[$0].doubles } }
}

/// Half a unit in the last place of a number near 1: the largest relative error of one rounding.
func roundoff<S: Scalar>(_: S.Type) -> Double { Double(S.ulpOfOne) / 2 }

/// Whether `found` differs from `wanted` by at most `roundings` roundings of numbers as large as `size`.
func isClose<S: Scalar>(_ type: S.Type, _ found: Double, _ wanted: Double, size: Double, roundings: Double) -> Bool {
  abs(found - wanted) <= roundings * roundoff(type) * size
}
