/// Owner of one block of memory, aligned to a cache line and zero at the start.
///
/// Views (`VectorView`, `MatrixView`) hold a reference to their storage, so memory never goes away under a view, and under a
/// pending collective neither. All buffers of a run are allocated once, before the first step.
@safe
public final class AlignedStorage<Element: BitwiseCopyable> {
  /// Alignment in bytes: a cache line, and the width of the widest vector register.
  public static var alignment: Int { 64 }

  /// Number of elements.
  public let count: Int

  /// Invariant: points to `count` initialised elements, from `init` to `deinit`.
  let base: UnsafeMutablePointer<Element>

  /// Allocates `count` elements, all bits zero.
  public init(count: Int) {
    precondition(count >= 0, "a storage needs a count of at least 0")
    let bytes = max(count, 1) * MemoryLayout<Element>.stride
    let raw = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: Self.alignment)
    unsafe raw.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
    self.count = count
    unsafe self.base = raw.assumingMemoryBound(to: Element.self)
  }

  deinit { unsafe UnsafeMutableRawPointer(base).deallocate() }
}
