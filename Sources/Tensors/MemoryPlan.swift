import Glibc

/// Counts the memory that initialisers would allocate, without taking it.
public enum MemoryPlan {
  @TaskLocal static var current: Ledger?

  /// The bytes of all storage that `body` allocates on this thread; `Int.max` if there are more.
  ///
  /// That storage takes up addresses alone, and none at all where it is larger than those: it is not to be used after `body`.
  public static func bytes(_ body: () throws -> Void) rethrows -> Int {
    let ledger = Ledger()
    try $current.withValue(ledger) { try body() }
    return ledger.bytes
  }

  final class Ledger: @unchecked Sendable {
    // Changed by the thread that plans alone.
    private(set) var bytes = 0

    func add(_ more: Int) { bytes = bytes.addingReportingOverflow(more).overflow ? .max : bytes + more }
  }
}

/// Addresses without memory behind them: pages come as they are written to, whatever the system would promise.
@safe
final class ReservedAddresses {
  let start: UnsafeMutableRawPointer
  private let length: Int

  /// Nil where there are not so many.
  init?(bytes: Int) {
    guard
      let mapping = unsafe mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0),
      unsafe mapping != MAP_FAILED
    else { return nil }
    length = bytes
    unsafe start = mapping
  }

  deinit { unsafe munmap(start, length) }
}
