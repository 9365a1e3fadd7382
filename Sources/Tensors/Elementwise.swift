import CKernels

// Operations on whole vectors. n elements.

extension VectorView where Element: Scalar {
  /// `self[i] += other[i]`; both of the same count.
  public func add(_ other: VectorView) { setSum(self, other) }

  /// `self[i] *= factor`.
  public func scale(by factor: Element) { unsafe Element.kernels.pointee.scale(count, pointer, factor.double) }

  /// `self[i] = a[i] + b[i]`; all of the same count. `a` or `b` may be this very memory.
  /// - squares: receives, unless nil, what `takeSquares(of:)` finds in the sum, in the same pass.
  public func setSum(_ a: VectorView, _ b: VectorView, squares: VectorView<Double>? = nil) {
    precondition(a.count == count && b.count == count, "a sum of \(a.count) and \(b.count) elements into \(count)")
    precondition(squares.map { $0.count == squaresCount(of: count) } ?? true, "sums of squares of another number of elements")
    unsafe lockstep_add(Element.kernels, count, pointer, a.pointer, b.pointer, squares?.pointer)
  }

  /// Index of the first element that is infinite or not a number.
  public var firstNotFinite: Int? {
    let index = unsafe Element.kernels.pointee.first_not_finite(count, pointer)
    return index == count ? nil : index
  }

  /// Whether every element is 0.
  public var isZero: Bool {
    withSpan { elements in
      for i in elements.indices where elements[i] != 0 { return false }
      return true
    }
  }

  /// `self[i] = keep · self[i] + weight · other[i]`: a step of an exponential average.
  public func blend(keep: Element, weight: Element, _ other: VectorView) {
    precondition(other.count == count, "a blend of \(count) and \(other.count) elements")
    unsafe Element.kernels.pointee.blend(count, keep.double, weight.double, pointer, other.pointer)
  }

  /// Column sums of `matrix` [B, F] into this vector [F], added to what it holds if `accumulate`.
  public func columnSums(of matrix: MatrixView<Element>, accumulate: Bool) {
    precondition(matrix.columns == count, "sums of \(matrix.columns) columns into \(count) elements")
    unsafe Element.kernels.pointee.column_sums(matrix.rows, count, matrix.pointer, matrix.stride, pointer, accumulate ? 1 : 0)
  }
}

extension MatrixView where Element: Scalar {
  /// Copies the transpose of `source` [columns, rows].
  public func copy(transposing source: MatrixView) {
    precondition(source.rows == columns && source.columns == rows, "a transpose of another shape")
    unsafe Element.kernels.pointee.transpose(source.rows, source.columns, source.pointer, source.stride, pointer, stride)
  }
}

/// Consecutive elements whose squares are summed together; the last of a vector may be fewer.
///
/// Blocks let parts of a vector be done apart, by whoever has them near: what is added up are the sums of blocks, in their order.
public let squaresBlock = Int(LOCKSTEP_SQUARES)

/// Blocks of a vector of `count` elements.
public func squaresCount(of count: Int) -> Int { (count + squaresBlock - 1) / squaresBlock }

extension VectorView<Double> {
  /// The sum of squares of each block of `vector`, in double precision and in one order of addition.
  public func takeSquares<S: Scalar>(of vector: VectorView<S>) {
    precondition(count == squaresCount(of: vector.count), "sums of squares of another number of elements")
    unsafe lockstep_squares(S.kernels, vector.count, vector.pointer, pointer)
  }

  /// `start` with all elements added to it, one after the other.
  public func added(to start: Double) -> Double {
    withSpan { values in
      var sum = start
      for i in values.indices { sum += values[i] }
      return sum
    }
  }
}
