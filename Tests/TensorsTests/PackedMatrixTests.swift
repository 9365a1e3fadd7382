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
        c.setProduct(a.asIs, packed: packed, accumulate: accumulate)
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

  /// Rows that are columns of the memory, a factor that is not packed, sums in several parts, and blocks of columns all give the same bits:
  /// sums over K in one order.
  @Test(arguments: [(5, 37, 21), (8, 48, 512), (19, 130, 700), (70, 300, 1100), (200, 61, 513), (17, 640, 40)])
  func oneOrderOfAddition(_ M: Int, _ N: Int, _ K: Int) {
    let a = Self.matrix(M, K, stride: K + 1, salt: 5, Float.self), w = Self.matrix(N, K, stride: K, salt: 9, Float.self)
    let aTurned = MatrixView<Float>(zeros: K, M + 2).columns(0..<M), wTurned = MatrixView<Float>(zeros: K, N + 4).columns(0..<N)
    for k in 0..<K {
      for m in 0..<M { aTurned[k, m] = a[m, k] }
      for n in 0..<N { wTurned[k, n] = w[n, k] }
    }
    let packed = PackedMatrix<Float>(outputs: N + 9, inputs: K + 2)
    packed.pack(w.asIs)
    let first = MatrixView<Float>(zeros: M, N)
    first.setProduct(a.asIs, packed: packed)
    for m in 0..<M {
      for n in 0..<N {
        let sum = (0..<K).reduce(0.0) { $0 + Double(a[m, $1]) * Double(w[n, $1]) }
        // Factors of at most 2 give K terms of at most 4, each rounded once.
        #expect(abs(Double(first[m, n]) - sum) <= 4 * Double(K) * 6e-8 * 8, "[\(m), \(n)]")
      }
    }
    let other = MatrixView<Float>(zeros: M, N)
    for (name, multiply) in [
      ("A transposed", { other.setProduct(aTurned.transposed, packed: packed) }),
      ("B not packed", { other.setProduct(a.asIs, wTurned.asIs) }),
      ("both", { other.setProduct(aTurned.transposed, wTurned.asIs) }),
      ("packed from the transpose", { packed.pack(wTurned.transposed); other.setProduct(a.asIs, packed: packed) }),
    ] as [(String, () -> Void)] {
      other.fill(7)
      multiply()
      #expect(other.vector.array == first.vector.array, "\(name)")
    }
    // Accumulating goes on with the sum where the first part ends.
    let part = K / 3
    other.setProduct(a.columns(0..<part).asIs, wTurned.rows(0..<part).asIs)
    other.setProduct(a.columns(part..<K).asIs, wTurned.rows(part..<K).asIs, accumulate: true)
    #expect(other.vector.array == first.vector.array)
  }

  /// A shard may have no frames.
  @Test func noRows() {
    let packed = PackedMatrix<Float>(outputs: 50, inputs: 9), none = MatrixView<Float>(zeros: 0, 9), c = MatrixView<Float>(zeros: 0, 50)
    packed.pack(Self.matrix(50, 9, stride: 9, salt: 1, Float.self).asIs)
    for accumulate in [false, true] {
      c.setProduct(none.asIs, packed: packed, accumulate: accumulate)
      c.setProduct(MatrixView<Float>(zeros: 7, 0).transposed, MatrixView<Float>(zeros: 7, 50).asIs, accumulate: accumulate)
      c.setProduct(none.asIs, MatrixView<Float>(zeros: 9, 50).asIs, accumulate: accumulate)
    }
    #expect(c.rows == 0)
  }

  /// A row's product is the same whatever other rows there are: the number of rows decides nothing.
  @Test func rowsDoNotDependOnEachOther() {
    let N = 131, K = 77
    let a = Self.matrix(20, K, stride: K, salt: 5, Float.self), w = Self.matrix(N, K, stride: K, salt: 9, Float.self)
    let packed = PackedMatrix<Float>(outputs: N, inputs: K)
    packed.pack(w.asIs)
    let whole = MatrixView<Float>(zeros: 20, N)
    whole.setProduct(a.asIs, packed: packed)
    for rows in 1...20 {
      let part = MatrixView<Float>(zeros: rows, N)
      part.setProduct(a.rows(20 - rows..<20).asIs, packed: packed)
      for r in 0..<rows { #expect(part[r].array == whole[20 - rows + r].array) }
    }
  }

  /// A matrix packed in bfloat16 is the matrix of rounded numbers, bit for bit.
  @Test(arguments: [(1, 1, 1), (5, 37, 21), (8, 48, 512), (19, 130, 700), (70, 300, 1100), (10, 2600, 650)])
  func roundedWeights(_ M: Int, _ N: Int, _ K: Int) {
    let a = Self.matrix(M, K, stride: K + 1, salt: 5, Float.self), w = MatrixView<Float>(zeros: N, K), near = MatrixView<Float>(zeros: N, K)
    // More bits than bfloat16 has.
    for n in 0..<N {
      for k in 0..<K { w[n, k] = Float((n * 7919 + k * 104_729) % 65_537 - 32_768) / 65_536 }
    }
    near.vector.round(w.vector, to: .bfloat16)
    #expect(M * N * K == 1 || near.vector.array != w.vector.array)
    let turned = MatrixView<Float>(zeros: K, N)
    for n in 0..<N {
      for k in 0..<K { turned[k, n] = w[n, k] }
    }
    let exact = PackedMatrix<Float>(outputs: N, inputs: K), rounded = PackedMatrix<Float>(outputs: N + 5, inputs: K + 1, format: .bfloat16)
    exact.pack(near.asIs)
    for accumulate in [false, true] {
      let expected = Self.matrix(M, N, stride: N, salt: 3, Float.self)
      expected.setProduct(a.asIs, packed: exact, accumulate: accumulate)
      for source in [w.asIs, turned.transposed] {
        rounded.pack(source)
        let found = Self.matrix(M, N, stride: N, salt: 3, Float.self)
        found.setProduct(a.asIs, packed: rounded, accumulate: accumulate)
        #expect(found.vector.array == expected.vector.array)
      }
    }
    let double = PackedMatrix<Double>(outputs: N, inputs: K, format: .bfloat16), reference = PackedMatrix<Double>(outputs: N, inputs: K)
    func doubled(_ matrix: MatrixView<Float>) -> MatrixView<Double> {
      let result = MatrixView<Double>(zeros: matrix.rows, matrix.columns)
      for r in 0..<matrix.rows {
        for c in 0..<matrix.columns { result[r, c] = Double(matrix[r, c]) }
      }
      return result
    }
    double.pack(doubled(w).asIs)
    reference.pack(doubled(near).asIs)
    let x = doubled(a), y = MatrixView<Double>(zeros: M, N), z = MatrixView<Double>(zeros: M, N)
    y.setProduct(x.asIs, packed: double)
    z.setProduct(x.asIs, packed: reference)
    #expect(y.vector.array == z.vector.array)
  }
}
