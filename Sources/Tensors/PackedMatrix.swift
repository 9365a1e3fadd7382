/// A factor of products laid out anew, so that the innermost loop reads it from end to end: packed once, multiplied many times.
///
/// N outputs, K inputs. It pays for weights that every time step multiplies, and for a factor that would have to be transposed.
@safe
public final class PackedMatrix<S: Scalar> {
  /// Rows above which BLAS multiplies faster where there is no tuned product for the processor.
  private static var mostRows: Int { 64 }

  /// N.
  public private(set) var outputs: Int
  /// K.
  public private(set) var inputs: Int
  private let storage: VectorView<S>
  // What was packed, for BLAS.
  private var source: Factor<S>?

  /// Room for a matrix [N, K], or one of less; zero until `pack`.
  public init(outputs: Int, inputs: Int) {
    self.outputs = outputs
    self.inputs = inputs
    storage = unsafe VectorView(zeros: S.packedSize(outputs, inputs))
  }

  /// Takes the values of `factor`, [N, K] as it is or transposed. They must stay as they are while they are multiplied.
  public func pack(_ factor: Factor<S>) {
    (outputs, inputs) = (factor.rows, factor.columns)
    let size = unsafe S.packedSize(outputs, inputs)
    precondition(size <= storage.count, "a matrix larger than there is room for")
    source = factor
    unsafe S.pack(outputs, inputs, factor.matrix.pointer, factor.rowStride, factor.columnStride, storage.pointer)
  }

  fileprivate func multiply(
    _ a: Factor<S>, into c: MatrixView<S>, accumulate: Bool, fetching upcoming: MatrixView<S>?, and other: MatrixView<S>?
  ) {
    precondition(
      (upcoming?.isContiguous ?? true) && (other?.isContiguous ?? true) && other?.rows ?? 0 <= upcoming?.rows ?? 0, "what cannot be fetched")
    precondition(a.columns == inputs && c.columns == outputs && a.rows == c.rows, "a product of other shapes")
    if inputs == 0 {
      if !accumulate { c.fill(0) }
      return
    }
    if a.rows > Self.mostRows && !S.isProductTuned, let source {
      return c.setProduct(a, source.transposed, accumulate: accumulate)
    }
    unsafe S.product(
      a.rows, outputs, inputs, a.matrix.pointer, a.rowStride, a.columnStride, storage.pointer, 0, c.pointer, c.stride,
      accumulate ? 1 : 0, upcoming?.pointer, other?.pointer, (upcoming.map { $0.rows * $0.columns } ?? 0) * MemoryLayout<S>.stride)
  }
}

extension MatrixView where Element: Scalar {
  /// `self = a · Wᵀ`, or `self += a · Wᵀ` if `accumulate`, for the matrix W [N, K] that `packed` holds. Shapes [M, K] → [M, N].
  /// Every element is one sum over K in ascending order, whatever M is, where the processor has a tuned product.
  /// - upcoming, other: what is used next, of one size and without gaps, to be brought near towards the end of the product.
  public func setProduct(
    _ a: Factor<Element>, packed: PackedMatrix<Element>, accumulate: Bool = false, fetching upcoming: MatrixView<Element>? = nil,
    and other: MatrixView<Element>? = nil
  ) {
    packed.multiply(a, into: self, accumulate: accumulate, fetching: upcoming, and: other)
  }
}
