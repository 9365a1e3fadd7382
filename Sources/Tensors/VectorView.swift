/// A run of elements inside an `AlignedStorage`. Copies of a view refer to the same memory.
///
/// A view never reaches outside its storage: bounds are checked where a view is made, so the kernels that take views need not check again.
@safe
public struct VectorView<Element: BitwiseCopyable> {
  let storage: AlignedStorage<Element>
  let offset: Int
  /// Number of elements.
  public let count: Int

  init(storage: AlignedStorage<Element>, offset: Int, count: Int) {
    precondition(offset >= 0 && count >= 0 && offset + count <= storage.count, "a view reaches outside its storage")
    self.storage = storage
    self.offset = offset
    self.count = count
  }

  /// A view of a new block of `count` elements, all zero.
  public init(zeros count: Int) { self.init(storage: AlignedStorage(count: count), offset: 0, count: count) }

  /// A view of memory that `owner` keeps: `count` initialised elements from `base` on, aligned to `AlignedStorage.alignment`, that last
  /// as long as `owner`. Every view of them keeps it alive.
  @unsafe
  package init(base: UnsafeMutablePointer<Element>, count: Int, owner: AnyObject) {
    self.init(storage: unsafe AlignedStorage(base: base, count: count, owner: owner), offset: 0, count: count)
  }

  /// A view of a new block that holds a copy of `elements`.
  public init(_ elements: [Element]) {
    self.init(zeros: elements.count)
    unsafe elements.withUnsafeBufferPointer { source in
      if let base = source.baseAddress { unsafe pointer.update(from: base, count: count) }
    }
  }

  /// First element. The pointer is valid while `storage` lives; a call that uses it must keep the view alive.
  @unsafe
  public var pointer: UnsafeMutablePointer<Element> { unsafe storage.base + offset }

  /// The element at `index`, checked.
  public subscript(index: Int) -> Element {
    get {
      precondition(index >= 0 && index < count, "index outside the view")
      return unsafe storage.base[offset + index]
    }
    nonmutating set {
      precondition(index >= 0 && index < count, "index outside the view")
      unsafe storage.base[offset + index] = newValue
    }
  }

  /// The part of this view at `range`.
  public subscript(range: Range<Int>) -> VectorView {
    precondition(range.lowerBound >= 0 && range.upperBound <= count, "range outside the view")
    return VectorView(storage: storage, offset: offset + range.lowerBound, count: range.count)
  }

  /// The same elements as rows of `columns` each.
  public func matrix(rows: Int, columns: Int) -> MatrixView<Element> {
    precondition(rows * columns == count, "a matrix of \(rows) × \(columns) from \(count) elements")
    return MatrixView(storage: storage, offset: offset, rows: rows, columns: columns, stride: columns)
  }

  /// Sets every element.
  public func fill(_ value: Element) { unsafe pointer.update(repeating: value, count: count) }

  /// Copies all elements of `source`, of the same count.
  public func copy(from source: VectorView) {
    precondition(source.count == count, "copy of \(source.count) elements into \(count)")
    unsafe pointer.update(from: source.pointer, count: count)
  }

  /// Copies all elements of `source`, of the same count.
  public func copy(from source: Span<Element>) {
    precondition(source.count == count, "copy of \(source.count) elements into \(count)")
    // SAFETY: the span's elements are initialised for as long as the closure runs; both hold `count` of them.
    unsafe source.withUnsafeBufferPointer { buffer in
      if let base = buffer.baseAddress { unsafe pointer.update(from: base, count: count) }
    }
  }

  /// The elements as an array.
  public var array: [Element] { unsafe Array(UnsafeBufferPointer(start: pointer, count: count)) }

  /// Calls `body` with the elements as a span, the fast way to read many of them.
  public func withSpan<R, E: Error>(_ body: (Span<Element>) throws(E) -> R) throws(E) -> R {
    try unsafe body(Span(_unsafeStart: UnsafePointer(pointer), count: count))
  }

  /// Calls `body` with the elements as a mutable span.
  public func withMutableSpan<R, E: Error>(_ body: (inout MutableSpan<Element>) throws(E) -> R) throws(E) -> R {
    var span = unsafe MutableSpan(_unsafeStart: pointer, count: count)
    return try body(&span)
  }
}
