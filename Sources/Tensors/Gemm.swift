import CKernels

/// Who multiplies large matrices.
public enum ProductLibrary: String, CaseIterable, Sendable {
  /// The program's own kernels: one result on every processor, for any number of threads.
  case own
  /// BLAS, where a product has many rows or the program has no kernels for the processor. The result depends on the library, on the
  /// processor type that it detects and on the number of threads.
  case blas

  /// Rows from which BLAS multiplies under `blas`. With fewer a packed factor is worth more, if there are kernels for the processor.
  public static var manyRows: Int { KernelSet.inUse.isTuned ? 64 : 1 }

  /// Whether BLAS computes a product with so many rows.
  func usesBLAS(rows: Int) -> Bool {
    switch self {
    case .own: false
    case .blas: rows >= Self.manyRows
    }
  }

  /// What is faster on this processor, by what kernels there are for it. Not measured, so that a run has the same bits each time.
  ///
  /// Against OpenBLAS 0.3.21 with the best kernels that it has, 512 × 1024 × 512 and the shapes of the configurations, one thread: own
  /// 150 to 169 GFLOP/s and SkylakeX 123 to 150 with AVX-512, own 82 to 85 and Haswell 70 to 81 with AVX2 (Xeon, Sapphire Rapids family).
  public static var fastest: ProductLibrary { KernelSet.inUse.isTuned ? .own : .blas }
}

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

  /// These rows of the factor.
  func rows(_ range: Range<Int>) -> Factor {
    Factor(matrix: isTransposed ? matrix.columns(range) : matrix.rows(range), isTransposed: isTransposed)
  }
  /// These columns of the factor.
  func columns(_ range: Range<Int>) -> Factor { transposed.rows(range).transposed }
}

extension MatrixView where Element: Scalar {
  /// This matrix as a factor, not transposed.
  public var asIs: Factor<Element> { Factor(matrix: self, isTransposed: false) }
  /// The transpose of this matrix as a factor; nothing is moved.
  public var transposed: Factor<Element> { Factor(matrix: self, isTransposed: true) }

  /// `self = a · b`, or `self += a · b` if `accumulate`. Shapes [M, K] · [K, N] → [M, N].
  ///
  /// The program's own kernels do not take a transposed `b`: pack it (`PackedMatrix`).
  /// - soon: what is read right after it; it is prefetched meanwhile.
  public func setProduct(
    _ a: Factor<Element>, _ b: Factor<Element>, accumulate: Bool = false, soon: MatrixView<Element>? = nil,
    by library: ProductLibrary = .own
  ) {
    precondition(a.rows == rows && b.columns == columns && a.columns == b.rows,
      "a product of [\(a.rows), \(a.columns)] and [\(b.rows), \(b.columns)] into [\(rows), \(columns)]")
    if isTrivialProduct(a, accumulate: accumulate) { return }
    if library.usesBLAS(rows: rows) || library == .blas && b.isTransposed { return setProductByBLAS(a, b, accumulate: accumulate) }
    precondition(!b.isTransposed, "a transposed right factor that is not packed")
    var product = unsafe lockstep_product(
      M: rows, N: columns, K: a.columns, A: a.matrix.pointer, a_row: a.rowStride, a_column: a.columnStride, B: b.matrix.pointer,
      b_row: b.matrix.stride, is_rounded: 0, C: pointer, c_row: stride, accumulate: accumulate ? 1 : 0,
      soon: soon.map { unsafe UnsafeRawPointer($0.pointer) }, soon_bytes: soon?.bytes ?? 0)
    unsafe lockstep_multiply(Element.kernels, &product)
  }

  /// Bytes from the first to the last element.
  var bytes: Int { rows * columns == 0 ? 0 : ((rows - 1) * stride + columns) * MemoryLayout<Element>.stride }

  /// Whether a product with `a` has no terms or no elements; then it is done.
  func isTrivialProduct(_ a: Factor<Element>, accumulate: Bool) -> Bool {
    if a.columns == 0 && !accumulate { fill(0) }
    return rows == 0 || columns == 0 || a.columns == 0
  }

  /// The same by BLAS: with several threads each computes some rows or columns.
  func setProductByBLAS(_ a: Factor<Element>, _ b: Factor<Element>, accumulate: Bool) {
    let byRows = rows >= columns, length = byRows ? rows : columns, work = 2 * rows * columns * a.columns
    // Parts of which each is worth what BLAS does before it multiplies.
    let parts = min(Threads.count, max(1, length / 48))
    Threads.forEach(parts, work: work) { part in
      let range = length * part / parts..<length * (part + 1) / parts
      let c = byRows ? self.rows(range) : self.columns(range), a = byRows ? a.rows(range) : a, b = byRows ? b : b.columns(range)
      unsafe Element.gemm(
        a.isTransposed, b.isTransposed, c.rows, c.columns, a.columns, 1, a.matrix.pointer, a.matrix.stride, b.matrix.pointer,
        b.matrix.stride, accumulate ? 1 : 0, c.pointer, c.stride)
    }
  }
}
