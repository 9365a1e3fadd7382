extension MatrixView where Element == Double {
  /// Replaces the matrix by the orthonormal factor of its QR factorisation whose triangular factor has a positive diagonal, which is
  /// uniformly distributed for a matrix of independent normal values (Mezzadri 2007). Rows are orthonormal if there are at most as many
  /// rows as columns, else columns.
  ///
  /// By block Gram-Schmidt with every projection done twice (Giraud et al. 2005), in additions and multiplications of one order: the
  /// bits do not depend on the processor, nor on a library.
  public func orthonormalize() {
    precondition(isContiguous && rows > 0 && columns > 0, "a matrix with gaps or without elements")
    if rows > columns {
      let turned = MatrixView(zeros: columns, rows)
      turned.copy(transposing: self)
      turned.orthonormalize()
      copy(transposing: turned)
      return
    }
    let block = 48, packed = PackedMatrix<Double>(outputs: rows, inputs: columns)
    for first in Swift.stride(from: 0, to: rows, by: block) {
      let new = self.rows(first..<min(rows, first + block)), done = self.rows(0..<first)
      for _ in 0..<2 {
        // new ← new − (new doneᵀ) done
        let shares = MatrixView(zeros: new.rows, first)
        packed.pack(done.asIs)
        shares.setProduct(new.asIs, packed: packed)
        shares.vector.scale(by: -1)
        new.setProduct(shares.asIs, done.asIs, accumulate: true)
      }
      for r in 0..<new.rows {
        for _ in 0..<2 {
          for other in 0..<r { new[r].add(new[other], times: -new[r].dot(new[other])) }
        }
        let length = new[r].dot(new[r]).squareRoot()
        precondition(length > 0, "rows that depend on each other")
        new[r].scale(by: 1 / length)
      }
    }
  }
}

extension VectorView<Double> {
  /// `Σ self[i] other[i]`, in 8 interleaved partial sums.
  fileprivate func dot(_ other: VectorView) -> Double {
    withSpan { a in
      other.withSpan { b in
        var sums = SIMD8<Double>.zero, i = 0
        while i + 8 <= a.count {
          var x = SIMD8<Double>.zero, y = SIMD8<Double>.zero
          for lane in 0..<8 {
            x[lane] = a[i + lane]
            y[lane] = b[i + lane]
          }
          sums += x * y
          i += 8
        }
        var sum = sums.sum()
        while i < a.count {
          sum += a[i] * b[i]
          i += 1
        }
        return sum
      }
    }
  }

  /// `self[i] += factor · other[i]`.
  fileprivate func add(_ other: VectorView, times factor: Double) {
    other.withSpan { b in
      withMutableSpan { a in
        for i in 0..<a.count { a[i] += factor * b[i] }
      }
    }
  }
}
