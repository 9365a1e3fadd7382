/// Rows of equal length inside an `AlignedStorage`, `stride` elements apart. Copies of a view refer to the same memory.
@safe
public struct MatrixView<Element: BitwiseCopyable> {
  let storage: AlignedStorage<Element>
  let offset: Int
  /// Number of rows.
  public let rows: Int
  /// Number of elements of a row.
  public let columns: Int
  /// Distance between the first elements of neighbouring rows, in elements.
  public let stride: Int

  init(storage: AlignedStorage<Element>, offset: Int, rows: Int, columns: Int, stride: Int) {
    precondition(offset >= 0 && rows >= 0 && columns >= 0 && stride >= columns, "a matrix of impossible shape")
    precondition(rows == 0 || offset + (rows - 1) * stride + columns <= storage.count, "a view reaches outside its storage")
    self.storage = storage
    self.offset = offset
    self.rows = rows
    self.columns = columns
    self.stride = stride
  }

  /// A view of a new block of `rows × columns` elements, all zero.
  public init(zeros rows: Int, _ columns: Int) {
    self.init(storage: AlignedStorage(count: rows * columns), offset: 0, rows: rows, columns: columns, stride: columns)
  }

  /// First element. The pointer is valid while `storage` lives; a call that uses it must keep the view alive.
  @unsafe
  public var pointer: UnsafeMutablePointer<Element> { unsafe storage.base + offset }

  /// Whether rows follow each other without gaps.
  public var isContiguous: Bool { stride == columns || rows <= 1 }

  /// One row.
  public subscript(row: Int) -> VectorView<Element> {
    precondition(row >= 0 && row < rows, "row outside the view")
    return VectorView(storage: storage, offset: offset + row * stride, count: columns)
  }

  /// One element, checked.
  public subscript(row: Int, column: Int) -> Element {
    get { self[row][column] }
    nonmutating set { self[row][column] = newValue }
  }

  /// Consecutive rows.
  public func rows(_ range: Range<Int>) -> MatrixView {
    precondition(range.lowerBound >= 0 && range.upperBound <= rows, "rows outside the view")
    return MatrixView(
      storage: storage, offset: range.isEmpty ? offset : offset + range.lowerBound * stride,
      rows: range.count, columns: columns, stride: stride)
  }

  /// Consecutive columns of every row.
  public func columns(_ range: Range<Int>) -> MatrixView {
    precondition(range.lowerBound >= 0 && range.upperBound <= columns, "columns outside the view")
    return MatrixView(
      storage: storage, offset: offset + range.lowerBound, rows: rows, columns: range.count, stride: stride)
  }

  /// All elements of a contiguous matrix.
  public var vector: VectorView<Element> {
    precondition(isContiguous, "a vector of a matrix with gaps")
    return VectorView(storage: storage, offset: offset, count: rows * columns)
  }

  /// Sets every element.
  public func fill(_ value: Element) {
    for row in 0..<rows { self[row].fill(value) }
  }

  /// Copies all elements of `source`, of the same shape.
  public func copy(from source: MatrixView) {
    precondition(source.rows == rows && source.columns == columns, "copy of another shape")
    if isContiguous && source.isContiguous { return vector.copy(from: source.vector) }
    for row in 0..<rows { self[row].copy(from: source[row]) }
  }
}
