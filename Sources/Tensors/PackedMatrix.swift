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

  // Those who have the same memory; nil for memory of its own.
  private let sharing: (any SharedPacking)?

  /// Room for a matrix [N, K], or one of less; zero until `pack`.
  public convenience init(outputs: Int, inputs: Int, format: PackedFormat = .exact) {
    let size = Self.elements(outputs: outputs, inputs: inputs)
    self.init(
      outputs, inputs, format, storage: VectorView(zeros: format == .exact ? size : 0),
      rounded: VectorView(zeros: format == .exact ? 0 : size), sharing: nil)
  }

  /// The same in memory that others have, too, `elements(outputs:inputs:)` of them.
  public convenience init(outputs: Int, inputs: Int, exact: VectorView<S>, sharing: any SharedPacking) {
    self.init(outputs, inputs, .exact, storage: exact, rounded: VectorView(zeros: 0), sharing: sharing)
  }

  /// The same in bfloat16.
  public convenience init(outputs: Int, inputs: Int, rounded: VectorView<UInt16>, sharing: any SharedPacking) {
    self.init(outputs, inputs, .bfloat16, storage: VectorView(zeros: 0), rounded: rounded, sharing: sharing)
  }

  private init(
    _ outputs: Int, _ inputs: Int, _ format: PackedFormat, storage: VectorView<S>, rounded: VectorView<UInt16>,
    sharing: (any SharedPacking)?
  ) {
    precondition(max(storage.count, rounded.count) >= Self.elements(outputs: outputs, inputs: inputs), "too little memory for a matrix")
    self.outputs = outputs
    self.inputs = inputs
    self.format = format
    self.storage = storage
    self.rounded = rounded
    self.sharing = sharing
  }

  /// Elements that a packed matrix [N, K] takes.
  public static func elements(outputs: Int, inputs: Int) -> Int { unsafe S.packedSize(outputs, inputs) }

  /// Takes the values of `factor`, [N, K] as it is or transposed. They must stay as they are while they are multiplied. Where the memory is
  /// shared, all who share it pack the same matrix, each a part of it, once they have `endReading` the one before.
  public func pack(_ factor: Factor<S>) {
    (outputs, inputs) = (factor.rows, factor.columns)
    precondition(
      Self.elements(outputs: outputs, inputs: inputs) <= max(storage.count, rounded.count), "a matrix larger than there is room for")
    if format == .exact { source = factor }
    guard let sharing else { return pack(factor, 0..<outputs) }
    sharing.beginPacking()
    let width = Self.elements(outputs: 1, inputs: 1), panels = (outputs + width - 1) / width
    func start(_ place: Int) -> Int { min(outputs, panels * place / sharing.size * width) }
    pack(factor, start(sharing.place)..<start(sharing.place + 1))
    sharing.endPacking()
  }

  /// Packs some outputs, from the beginning of a panel on.
  private func pack(_ factor: Factor<S>, _ range: Range<Int>) {
    if range.isEmpty { return }
    let from = unsafe factor.matrix.pointer + range.lowerBound * factor.rowStride, to = range.lowerBound * inputs
    switch format {
    case .exact: unsafe S.pack(range.count, inputs, from, factor.rowStride, factor.columnStride, storage.pointer + to)
    case .bfloat16: unsafe S.packRounded(range.count, inputs, from, factor.rowStride, factor.columnStride, rounded.pointer + to)
    }
  }

  /// Says that what was packed is not multiplied any more: whoever shares the memory need not wait for this to pack the next.
  public func endReading() { sharing?.endReading() }

  fileprivate func multiply(
    _ a: Factor<S>, into c: MatrixView<S>, accumulate: Bool, fetching upcoming: MatrixView<S>?, and other: MatrixView<S>?
  ) {
    precondition(a.columns == inputs && c.columns == outputs && a.rows == c.rows, "a product of other shapes")
    if inputs == 0 {
      if !accumulate { c.fill(0) }
      return
    }
    sharing?.awaitParts()
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
