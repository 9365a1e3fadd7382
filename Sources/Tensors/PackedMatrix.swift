import CKernels

/// How a packed matrix is stored.
public enum PackedFormat: String, CaseIterable, Sendable {
  /// As it is.
  case exact
  /// Rounded to bfloat16, nearest, ties to even: half the memory of single precision, for weights that no cache holds. Products read the
  /// rounded numbers and compute as ever.
  case bfloat16
}

/// A factor of products laid out anew, so that the innermost loop reads it from end to end: packed once, multiplied many times.
///
/// N outputs, K inputs. It pays for weights that every time step multiplies, and for a factor that would have to be transposed.
@safe
public final class PackedMatrix<S: Scalar> {
  /// N.
  public private(set) var outputs: Int
  /// K.
  public private(set) var inputs: Int
  /// How it is stored.
  public let format: PackedFormat
  private let library: ProductLibrary
  // The kernels whose layout it has.
  private let kernels: UnsafePointer<lockstep_kernels>
  // Of these two the one that `format` needs; the other is empty.
  private let storage: VectorView<S>
  private let rounded: VectorView<UInt16>
  // What is to be multiplied, for BLAS, and whether it has been packed since.
  private var source: Factor<S>?
  private var isPacked = false

  /// Room for a matrix [N, K], or one of less; zero until `pack`.
  /// - library: who multiplies it where a product has many rows.
  public init(outputs: Int, inputs: Int, format: PackedFormat = .exact, library: ProductLibrary = .own) {
    self.outputs = outputs
    self.inputs = inputs
    self.format = format
    self.library = library
    unsafe kernels = S.kernels
    let size = unsafe lockstep_packed_size(kernels, outputs, inputs)
    storage = VectorView(zeros: format == .exact ? size : 0)
    rounded = VectorView(zeros: format == .exact ? 0 : size)
  }

  /// Takes the values of `factor`, [N, K] as it is or transposed. They must stay as they are while they are multiplied.
  public func pack(_ factor: Factor<S>) {
    (outputs, inputs) = (factor.rows, factor.columns)
    let size = unsafe lockstep_packed_size(kernels, outputs, inputs)
    precondition(size <= max(storage.count, rounded.count), "a matrix larger than there is room for")
    source = factor
    isPacked = false
    // BLAS packs what it reads by itself.
    if library == .own || format == .bfloat16 { layOut() }
  }

  private func layOut() {
    guard !isPacked, let source else { return }
    let isRounded = format == .bfloat16
    let packed = unsafe isRounded ? UnsafeMutableRawPointer(rounded.pointer) : UnsafeMutableRawPointer(storage.pointer)
    var packing = unsafe lockstep_packing(
      N: outputs, K: inputs, W: source.matrix.pointer, stride_n: source.rowStride, stride_k: source.columnStride, packed: packed,
      is_rounded: isRounded ? 1 : 0)
    unsafe lockstep_pack(kernels, &packing)
    isPacked = true
  }

  fileprivate func multiply(_ a: Factor<S>, into c: MatrixView<S>, accumulate: Bool, soon: MatrixView<S>?) {
    precondition(a.columns == inputs && c.columns == outputs && a.rows == c.rows, "a product of other shapes")
    if c.isTrivialProduct(a, accumulate: accumulate) { return }
    if format == .exact, library.usesBLAS(rows: a.rows), let source {
      return c.setProductByBLAS(a, source.transposed, accumulate: accumulate)
    }
    layOut()
    let isRounded = format == .bfloat16, B = unsafe isRounded ? UnsafeRawPointer(rounded.pointer) : UnsafeRawPointer(storage.pointer)
    var product = unsafe lockstep_product(
      M: a.rows, N: outputs, K: inputs, A: a.matrix.pointer, a_row: a.rowStride, a_column: a.columnStride, B: B, b_row: 0,
      is_rounded: isRounded ? 1 : 0, C: c.pointer, c_row: c.stride, accumulate: accumulate ? 1 : 0,
      soon: soon.map { unsafe UnsafeRawPointer($0.pointer) }, soon_bytes: soon?.bytes ?? 0)
    unsafe lockstep_multiply(kernels, &product)
  }
}

extension MatrixView where Element: Scalar {
  /// `self = a · Wᵀ`, or `self += a · Wᵀ` if `accumulate`, for the matrix W [N, K] that `packed` holds. Shapes [M, K] → [M, N].
  /// Every element is one sum over K in ascending order, whatever M is, where the program's own kernels multiply.
  /// - soon: what is read right after it; it is prefetched meanwhile.
  public func setProduct(
    _ a: Factor<Element>, packed: PackedMatrix<Element>, accumulate: Bool = false, soon: MatrixView<Element>? = nil
  ) {
    packed.multiply(a, into: self, accumulate: accumulate, soon: soon)
  }
}
