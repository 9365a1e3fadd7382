import Glibc

/// Memory in pages of 2 MiB, where the system has them for those who ask (Linux: transparent huge pages): fewer of them to clear at first and
/// to look up at each row of a matrix. All bits are zero, and pages are taken only as they are touched.
@safe
final class LargePages {
  /// Bytes from which on it pays: half a page.
  static var worthwhile: Int { pageSize / 2 }
  private static var pageSize: Int { 2 << 20 }
  // Buffers that all began at the same place of a page would fall into the same sets of the caches.
  private static var places: UInt { 32 }
  private static var step: Int { 65 * 64 }

  /// Aligned to a cache line.
  let start: UnsafeMutableRawPointer
  private let mapping: UnsafeMutableRawPointer
  private let length: Int

  /// Nil where the system gives none.
  init?(bytes: Int) {
    let pages = (bytes + Int(Self.places) * Self.step + Self.pageSize - 1) / Self.pageSize
    length = (pages + 1) * Self.pageSize
    guard let mapping = unsafe mmap(nil, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), unsafe mapping != MAP_FAILED
    else { return nil }
    unsafe self.mapping = mapping
    let first = unsafe mapping.alignedUp(toMultipleOf: Self.pageSize)
    // Ordinary pages serve as well: what the advice comes to does not matter.
    _ = unsafe madvise(first, pages * Self.pageSize, MADV_HUGEPAGE)
    let place = Int((UInt(bitPattern: mapping) >> 12 &* 0x9E37_79B9_7F4A_7C15) >> 59 % Self.places)
    unsafe start = first + place * Self.step
  }

  deinit { unsafe munmap(mapping, length) }
}
