import CBLAS

/// LAPACK could not decompose a matrix.
public enum EigenError: Error, Equatable, CustomStringConvertible {
  /// The BLAS library that the program is linked with has no LAPACK.
  case noLibrary
  /// It has a value that is not finite, or the decomposition does not converge.
  case failed

  public var description: String {
    switch self {
    case .noLibrary: "the BLAS library in use has no LAPACK, of which normalization.placement: whitened-input needs dsyevd"
    case .failed: "the covariance of a layer's input has no eigenvalues: it holds values that are not finite"
    }
  }
}

extension MatrixView where Element == Double {
  /// Replaces a symmetric matrix [n, n] by its eigenvectors, a row each, by LAPACK.
  /// - Returns: the eigenvalues, ascending, [n].
  /// - Throws: `EigenError`.
  public func decomposeSymmetric() throws(EigenError) -> VectorView<Double> {
    precondition(rows == columns && isContiguous, "a matrix that is not square")
    let values = VectorView<Double>(zeros: rows)
    if vector.firstNotFinite != nil { throw .failed }
    let work = VectorView<Double>(zeros: 1 + 6 * rows + 2 * rows * rows), integers = VectorView<Int32>(zeros: 3 + 5 * rows)
    switch unsafe lockstep_symmetric_eigen(BLAS.integer(rows), pointer, values.pointer, work.pointer, integers.pointer) {
    case 0: return values
    case -1: throw .noLibrary
    default: throw .failed
    }
  }
}
