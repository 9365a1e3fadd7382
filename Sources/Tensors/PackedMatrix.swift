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
  /// Rows above which BLAS multiplies faster where there is no tuned product for the processor.
  private static var mostRows: Int { 64 }

  /// N.
  public private(set) var outputs: Int
  /// K.
  public private(set) var inputs: Int
  /// How it is stored.
  public let format: PackedFormat
  // Of these two the one that `format` needs; the other is empty.
  private let storage: VectorView<S>
  private let rounded: VectorView<UInt16>
  // Every other product begins with the last outputs, those that the one before has left in the cache, unless they come from memory anyway.
  private var isReversed = false
  private static var mostReversed: Int { 4 << 20 }
  private var bytes: Int { storage.count * MemoryLayout<S>.stride + rounded.count * MemoryLayout<UInt16>.stride }
  // What was packed, for BLAS.
  private var source: Factor<S>?

  /// Room for a matrix [N, K], or one of less; zero until `pack`.
  public init(outputs: Int, inputs: Int, format: PackedFormat = .exact) {
    self.outputs = outputs
    self.inputs = inputs
    self.format = format
    let size = unsafe S.packedSize(outputs, inputs)
    storage = VectorView(zeros: format == .exact ? size : 0)
    rounded = VectorView(zeros: format == .exact ? 0 : size)
  }

  /// Takes the values of `factor`, [N, K] as it is or transposed. They must stay as they are while they are multiplied.
  public func pack(_ factor: Factor<S>) {
    (outputs, inputs) = (factor.rows, factor.columns)
    let size = unsafe S.packedSize(outputs, inputs)
    precondition(size <= max(storage.count, rounded.count), "a matrix larger than there is room for")
    switch format {
    case .exact:
      source = factor
      unsafe S.pack(outputs, inputs, factor.matrix.pointer, factor.rowStride, factor.columnStride, storage.pointer)
    case .bfloat16:
      unsafe S.packRounded(outputs, inputs, factor.matrix.pointer, factor.rowStride, factor.columnStride, rounded.pointer)
    }
  }

  fileprivate func multiply(
    _ a: Factor<S>, into c: MatrixView<S>, accumulate: Bool, fetching upcoming: MatrixView<S>?, and other: MatrixView<S>?
  ) {
    precondition(a.columns == inputs && c.columns == outputs && a.rows == c.rows, "a product of other shapes")
    if inputs == 0 {
      if !accumulate { c.fill(0) }
      return
    }
    if a.rows > Self.mostRows && !S.isProductTuned, let source {
      return c.setProduct(a, source.transposed, accumulate: accumulate)
    }
    isReversed = !isReversed && bytes <= Self.mostReversed
    switch format {
    case .exact:
      unsafe S.product(
        a.rows, outputs, inputs, a.matrix.pointer, a.rowStride, a.columnStride, storage.pointer, 0, c.pointer, c.stride,
        accumulate ? 1 : 0, upcoming?.pointer, upcoming.bytes(), other?.pointer, other.bytes(), isReversed)
    case .bfloat16:
      unsafe S.productRounded(
        a.rows, outputs, inputs, a.matrix.pointer, a.rowStride, a.columnStride, rounded.pointer, c.pointer, c.stride,
        accumulate ? 1 : 0, upcoming?.pointer, upcoming.bytes(), other?.pointer, other.bytes(), isReversed)
    }
  }
}

extension PackedMatrix where S == Float {
  fileprivate func multiply(_ a: Factor<Float>, into c: MatrixView<Float>, accumulate: Bool, level: Int32) -> Bool {
    precondition(a.columns == inputs && c.columns == outputs && a.rows == c.rows, "a product of other shapes")
    let isRounded = format == .bfloat16, values = unsafe isRounded ? UnsafeRawPointer(rounded.pointer) : UnsafeRawPointer(storage.pointer)
    return unsafe lockstep_product_of_level_f32(
      level, a.rows, outputs, inputs, a.matrix.pointer, a.rowStride, a.columnStride, values, 0, isRounded ? 1 : 0, c.pointer, c.stride,
      accumulate ? 1 : 0) != 0
  }
}

extension MatrixView where Element == Float {
  /// The same as `setProduct(_:packed:accumulate:)` by the kernels for the instruction set x86-64-v`level`, 3 or 4, or by plain C for 0, for
  /// comparison; false where the processor has it not.
  package func setProduct(_ a: Factor<Float>, packed: PackedMatrix<Float>, accumulate: Bool, level: Int32) -> Bool {
    packed.multiply(a, into: self, accumulate: accumulate, level: level)
  }
}

extension MatrixView where Element: Scalar {
  /// `self = a · Wᵀ`, or `self += a · Wᵀ` if `accumulate`, for the matrix W [N, K] that `packed` holds. Shapes [M, K] → [M, N].
  /// Every element is one sum over K in ascending order, whatever M is, where the processor has a tuned product.
  /// - upcoming, other: what is used next, without gaps, to be brought near towards the end of the product, `other` first.
  public func setProduct(
    _ a: Factor<Element>, packed: PackedMatrix<Element>, accumulate: Bool = false, fetching upcoming: MatrixView<Element>? = nil,
    and other: MatrixView<Element>? = nil
  ) {
    packed.multiply(a, into: self, accumulate: accumulate, fetching: upcoming, and: other)
  }
}
