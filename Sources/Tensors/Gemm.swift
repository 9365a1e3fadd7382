import COpenBLAS

/// A factor of a matrix product: a matrix as it is, or transposed.
public struct Factor<S: Scalar> {
  let matrix: MatrixView<S>
  let isTransposed: Bool
  var rows: Int { isTransposed ? matrix.columns : matrix.rows }
  var columns: Int { isTransposed ? matrix.rows : matrix.columns }
}

extension MatrixView where Element: Scalar {
  /// This matrix as a factor, not transposed.
  public var asIs: Factor<Element> { Factor(matrix: self, isTransposed: false) }
  /// The transpose of this matrix as a factor; nothing is moved.
  public var transposed: Factor<Element> { Factor(matrix: self, isTransposed: true) }

  /// `self = a · b`, or `self += a · b` if `accumulate`. Shapes [M, K] · [K, N] → [M, N].
  public func setProduct(_ a: Factor<Element>, _ b: Factor<Element>, accumulate: Bool = false) {
    precondition(a.rows == rows && b.columns == columns && a.columns == b.rows,
      "a product of [\(a.rows), \(a.columns)] and [\(b.rows), \(b.columns)] into [\(rows), \(columns)]")
    if rows == 0 || columns == 0 { return }
    if a.columns == 0 {
      if !accumulate { fill(0) }
      return
    }
    // BLAS would pack both factors anew; one that is to be transposed has to be packed.
    if Element.isProductTuned && !b.isTransposed {
      let matrix = a.matrix
      return unsafe Element.product(
        rows, columns, a.columns, matrix.pointer, a.isTransposed ? 1 : matrix.stride, a.isTransposed ? matrix.stride : 1,
        b.matrix.pointer, b.matrix.stride, pointer, stride, accumulate ? 1 : 0)
    }
    unsafe Element.gemm(
      a.isTransposed, b.isTransposed, rows, columns, a.columns, 1, a.matrix.pointer, a.matrix.stride, b.matrix.pointer,
      b.matrix.stride, accumulate ? 1 : 0, pointer, stride)
  }
}

/// The BLAS library that computes products.
public enum BLAS {
  /// Sets the number of threads of one product; 1 makes its order of addition a function of its shape alone.
  public static func setThreads(_ count: Int) { openblas_set_num_threads(Int32(count)) }

  /// The library with its version and options.
  public static var version: String { unsafe String(cString: openblas_get_config()) }

  /// The processor type whose kernels run: part of what decides the bits of a product.
  public static var coreType: String { unsafe String(cString: openblas_get_corename()) }
}
