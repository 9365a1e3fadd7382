import CKernels
import COpenBLAS

/// A factor of a matrix product: a matrix as it is, or transposed.
public struct Factor<S: Scalar> {
  let matrix: MatrixView<S>
  let isTransposed: Bool
  var rows: Int { isTransposed ? matrix.columns : matrix.rows }
  var columns: Int { isTransposed ? matrix.rows : matrix.columns }
  /// Elements from one row to the next, and from one column to the next: one of them is 1.
  var rowStride: Int { isTransposed ? 1 : matrix.stride }
  var columnStride: Int { isTransposed ? matrix.stride : 1 }
  var transposed: Factor { Factor(matrix: matrix, isTransposed: !isTransposed) }
}

extension MatrixView where Element: Scalar {
  /// This matrix as a factor, not transposed.
  public var asIs: Factor<Element> { Factor(matrix: self, isTransposed: false) }
  /// The transpose of this matrix as a factor; nothing is moved.
  public var transposed: Factor<Element> { Factor(matrix: self, isTransposed: true) }

  /// `self = a · b`, or `self += a · b` if `accumulate`. Shapes [M, K] · [K, N] → [M, N].
  /// - upcoming: what is used next, without gaps, to be brought near towards the end of the product.
  public func setProduct(
    _ a: Factor<Element>, _ b: Factor<Element>, accumulate: Bool = false, fetching upcoming: MatrixView<Element>? = nil
  ) {
    precondition(a.rows == rows && b.columns == columns && a.columns == b.rows,
      "a product of [\(a.rows), \(a.columns)] and [\(b.rows), \(b.columns)] into [\(rows), \(columns)]")
    if rows == 0 || columns == 0 { return }
    if a.columns == 0 {
      if !accumulate { fill(0) }
      return
    }
    // BLAS would pack both factors anew; one that is to be transposed has to be packed.
    if Element.isProductTuned && !b.isTransposed {
      return unsafe Element.product(
        rows, columns, a.columns, a.matrix.pointer, a.rowStride, a.columnStride, b.matrix.pointer, b.matrix.stride, pointer, stride,
        accumulate ? 1 : 0, upcoming?.pointer, upcoming.bytes(), nil, 0, false)
    }
    unsafe Element.gemm(
      a.isTransposed, b.isTransposed, rows, columns, a.columns, 1, a.matrix.pointer, a.matrix.stride, b.matrix.pointer,
      b.matrix.stride, accumulate ? 1 : 0, pointer, stride)
  }
}

extension Optional {
  /// The size of a matrix that is to be fetched, which has no gaps; 0 for none.
  func bytes<S>() -> Int where Wrapped == MatrixView<S> {
    guard let matrix = self else { return 0 }
    precondition(matrix.isContiguous, "a matrix with gaps cannot be fetched")
    return matrix.rows * matrix.columns * MemoryLayout<S>.stride
  }
}

extension MatrixView where Element == Float {
  /// The same by the program's own kernels for the instruction set x86-64-v`level`, 3 or 4, for comparison; false where the processor has it not.
  package func setProduct(_ a: Factor<Float>, _ b: Factor<Float>, accumulate: Bool, level: Int32) -> Bool {
    precondition(!b.isTransposed && a.rows == rows && b.columns == columns && a.columns == b.rows, "a product of other shapes")
    return unsafe lockstep_product_of_level_f32(
      level, rows, columns, a.columns, a.matrix.pointer, a.rowStride, a.columnStride, b.matrix.pointer, b.matrix.stride, 0, pointer,
      stride, accumulate ? 1 : 0) != 0
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
