/// A matrix laid out anew for products with a few rows, such as the recurrent product of a time step: packed once, multiplied many times.
///
/// N outputs, K inputs. With 8 to 64 rows such a product reaches the processor's peak, where BLAS, which packs at every call, reaches half of it.
@safe
public final class PackedMatrix<S: Scalar> {
  /// Rows above which a product is better left to BLAS.
  public static var mostRows: Int { 64 }

  /// N.
  public let outputs: Int
  /// K.
  public let inputs: Int
  private let storage: VectorView<S>

  /// Room for a matrix [N, K]; zero until `pack`.
  public init(outputs: Int, inputs: Int) {
    self.outputs = outputs
    self.inputs = inputs
    storage = unsafe VectorView(zeros: S.packedSize(outputs, inputs))
  }

  /// Takes the values of `factor`, [N, K] as it is or transposed.
  public func pack(_ factor: Factor<S>) {
    precondition(factor.rows == outputs && factor.columns == inputs, "a matrix of another shape")
    let matrix = factor.matrix
    unsafe S.pack(
      outputs, inputs, matrix.pointer, factor.isTransposed ? 1 : matrix.stride, factor.isTransposed ? matrix.stride : 1,
      storage.pointer)
  }

  fileprivate func multiply(_ a: MatrixView<S>, into c: MatrixView<S>, accumulate: Bool) {
    precondition(a.columns == inputs && c.columns == outputs && a.rows == c.rows, "a product of other shapes")
    unsafe S.packedProduct(
      a.rows, outputs, inputs, a.pointer, a.stride, storage.pointer, c.pointer, c.stride, accumulate ? 1 : 0)
  }
}

extension MatrixView where Element: Scalar {
  /// `self = a · Wᵀ`, or `self += a · Wᵀ` if `accumulate`, for the matrix W [N, K] that `packed` holds. Shapes [B, K] → [B, N].
  /// Every element is one sum over K in ascending order, whatever B is.
  public func setProduct(_ a: MatrixView, packed: PackedMatrix<Element>, accumulate: Bool = false) {
    packed.multiply(a, into: self, accumulate: accumulate)
  }
}
