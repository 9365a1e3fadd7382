// Operations on whole vectors. n elements.

extension VectorView where Element: Scalar {
  /// `self[i] += other[i]`; both of the same count.
  public func add(_ other: VectorView) {
    precondition(other.count == count, "a sum of \(count) and \(other.count) elements")
    unsafe Element.add(count, pointer, other.pointer)
  }

  /// `self[i] *= factor`.
  public func scale(by factor: Element) { unsafe Element.scale(count, pointer, factor) }

  /// `Σ self[i]²` in double precision, in one order of addition.
  public var sumOfSquares: Double { unsafe Element.sumOfSquares(count, pointer) }

  /// Index of the first element that is infinite or not a number.
  public var firstNotFinite: Int? {
    let index = unsafe Element.firstNotFinite(count, pointer)
    return index == count ? nil : index
  }

  /// `self[i] = keep · self[i] + weight · other[i]`: a step of an exponential average.
  public func blend(keep: Element, weight: Element, _ other: VectorView) {
    precondition(other.count == count, "a blend of \(count) and \(other.count) elements")
    unsafe Element.blend(count, keep, weight, pointer, other.pointer)
  }

  /// Column sums of `matrix` [B, F] into this vector [F], added to what it holds if `accumulate`.
  public func columnSums(of matrix: MatrixView<Element>, accumulate: Bool) {
    precondition(matrix.columns == count, "sums of \(matrix.columns) columns into \(count) elements")
    unsafe Element.columnSums(matrix.rows, count, matrix.pointer, matrix.stride, pointer, accumulate ? 1 : 0)
  }
}

extension MatrixView where Element: Scalar {
  /// Copies the transpose of `source` [columns, rows].
  public func copy(transposing source: MatrixView) {
    precondition(source.rows == columns && source.columns == rows, "a transpose of another shape")
    unsafe Element.transpose(source.rows, source.columns, source.pointer, source.stride, pointer, stride)
  }
}
