import Glibc

/// Owner of one block of memory, aligned to a cache line and zero at the start.
///
/// Views (`VectorView`, `MatrixView`) hold a reference to their storage, so memory never goes away under a view, and under a pending
/// collective neither. All buffers of a run are allocated once, before the first step; a large one takes up memory only as far as it is
/// written to.
@safe
public final class AlignedStorage<Element: BitwiseCopyable> {
  /// Alignment in bytes: a cache line, and the width of the widest vector register.
  public static var alignment: Int { 64 }

  /// Number of elements.
  public let count: Int

  /// Invariant: points to `count` initialised elements, from `init` to `deinit`.
  let base: UnsafeMutablePointer<Element>

  // What was allocated, with room to align `base`; nil where `owner` keeps the memory.
  private let block: UnsafeMutableRawPointer?
  private let owner: AnyObject?

  /// Allocates `count` elements, all bits zero.
  public init(count: Int) {
    precondition(count >= 0, "a storage needs a count of at least 0")
    let (bytes, isTooLarge) = max(count, 1).multipliedReportingOverflow(by: MemoryLayout<Element>.stride)
    if let plan = MemoryPlan.current {
      plan.add(isTooLarge ? .max : bytes)
      let reserved = isTooLarge ? nil : ReservedAddresses(bytes: bytes)
      self.count = count
      owner = reserved
      unsafe block = nil
      // Where there are not so many addresses, an aligned one that nothing lies at.
      guard let start = unsafe reserved?.start ?? UnsafeMutableRawPointer(bitPattern: Self.alignment) else { preconditionFailure("address 0") }
      unsafe base = start.assumingMemoryBound(to: Element.self)
      return
    }
    if isTooLarge { endWithoutMemory("more bytes than there are addresses", count: count) }
    if bytes >= LargePages.worthwhile, let pages = LargePages(bytes: bytes) {
      self.count = count
      owner = pages
      unsafe block = nil
      unsafe base = pages.start.assumingMemoryBound(to: Element.self)
      return
    }
    guard let block = unsafe calloc(1, bytes + Self.alignment) else { endWithoutMemory("\(bytes) bytes", count: count) }
    self.count = count
    unsafe self.block = block
    owner = nil
    unsafe self.base = block.alignedUp(toMultipleOf: Self.alignment).assumingMemoryBound(to: Element.self)
  }

  /// Memory of another kind, such as that which ranks share: `count` initialised elements from `base` on, aligned as all storage is. They
  /// must last as long as `owner`, which the storage keeps alive.
  @unsafe
  init(base: UnsafeMutablePointer<Element>, count: Int, owner: AnyObject) {
    precondition(count >= 0, "a storage needs a count of at least 0")
    precondition(UInt(bitPattern: base) % UInt(Self.alignment) == 0, "a storage that is not aligned")
    self.count = count
    unsafe self.base = base
    unsafe block = nil
    self.owner = owner
  }

  deinit { unsafe free(block) }
}

/// Ends the process with one line and the code of a fault of the program: nothing can go on without the memory, and a trap would print where it was
/// asked for instead of why.
private func endWithoutMemory(_ bytes: String, count: Int) -> Never {
  let text = Array("lockstep: error: out of memory: \(bytes) for a buffer of \(count) elements; the model or its minibatches are too large for this host\n".utf8)
  _ = unsafe write(STDERR_FILENO, text, text.count)
  // Other threads may be at work on what `exit` takes down.
  _exit(70)
}
