import Tensors
import Testing

@Suite struct PackedMatrixTests {
  /// Values of a matrix that are exact in single precision, different in every place.
  static func matrix<S: Scalar>(_ rows: Int, _ columns: Int, stride: Int, salt: Int, _: S.Type = S.self) -> MatrixView<S> {
    let matrix = MatrixView<S>(zeros: rows, stride).columns(0..<columns)
    for r in 0..<rows {
      for c in 0..<columns { matrix[r, c] = S((r * 131 + c * 31 + salt) % 257 - 128) / 64 }
    }
    return matrix
  }

  /// Sizes around the widths of panels, vectors and row blocks.
  @Test(arguments: [(1, 1, 1), (3, 37, 5), (6, 48, 16), (7, 49, 33), (8, 96, 17), (9, 95, 64), (16, 200, 80), (17, 50, 31), (64, 13, 100)])
  func equalsTheSum(_ B: Int, _ N: Int, _ K: Int) {
    check(Float.self, B, N, K, tolerance: 1e-5)
    check(Double.self, B, N, K, tolerance: 1e-14)
  }

  private func check<S: Scalar>(_: S.Type, _ B: Int, _ N: Int, _ K: Int, tolerance: Double) {
    for isTransposed in [false, true] {
      for accumulate in [false, true] {
        let a = Self.matrix(B, K, stride: K + 3, salt: 7, S.self)
        let w = isTransposed ? Self.matrix(K, N, stride: N + 1, salt: 11, S.self) : Self.matrix(N, K, stride: K + 2, salt: 11, S.self)
        let packed = PackedMatrix<S>(outputs: N, inputs: K)
        packed.pack(isTransposed ? w.transposed : w.asIs)
        let room = Self.matrix(B, N + 5, stride: N + 5, salt: 3, S.self), before = Self.matrix(B, N + 5, stride: N + 5, salt: 3, S.self)
        let c = room.columns(0..<N)
        c.setProduct(a, packed: packed, accumulate: accumulate)
        for b in 0..<B {
          for n in 0..<N {
            var sum = accumulate ? Double(before[b, n]) : 0, size = abs(sum)
            for k in 0..<K {
              let term = Double(a[b, k]) * Double(isTransposed ? w[k, n] : w[n, k])
              sum += term
              size += abs(term)
            }
            // Rounding of K additions, each relative to the size of what is added.
            #expect(abs(Double(c[b, n]) - sum) <= tolerance * max(size, 1), "[\(b), \(n)] of \(B) × \(N) × \(K)")
          }
          // Nothing is written past the columns of the product.
          for n in N..<N + 5 { #expect(room[b, n] == before[b, n]) }
        }
      }
    }
  }

  /// A row's product is the same whatever other rows there are: the number of rows decides nothing.
  @Test func rowsDoNotDependOnEachOther() {
    let N = 131, K = 77
    let a = Self.matrix(20, K, stride: K, salt: 5, Float.self), w = Self.matrix(N, K, stride: K, salt: 9, Float.self)
    let packed = PackedMatrix<Float>(outputs: N, inputs: K)
    packed.pack(w.asIs)
    let whole = MatrixView<Float>(zeros: 20, N)
    whole.setProduct(a, packed: packed)
    for rows in 1...20 {
      let part = MatrixView<Float>(zeros: rows, N)
      part.setProduct(a.rows(20 - rows..<20), packed: packed)
      for r in 0..<rows { #expect(part[r].array == whole[20 - rows + r].array) }
    }
  }
}
