import Glibc

/// How often memory was allocated, and how many bytes in all.
struct Allocations {
  var count = 0.0
  var bytes = 0.0
}

/// What the calling thread allocates, where the library that counts it was loaded before the program (`Scripts/count-allocations`).
@safe
struct AllocationCounter {
  private typealias Count = @convention(c) (UnsafeMutablePointer<UInt64>, UnsafeMutablePointer<UInt64>) -> Void
  private let count: Count

  /// Nil where nothing counts.
  init?() {
    guard let symbol = unsafe dlsym(nil, "lockstep_allocations") else { return nil }
    // SAFETY: the library declares the symbol as a function of this type.
    unsafe count = unsafeBitCast(symbol, to: Count.self)
  }

  /// Of the calling thread, since it began.
  var now: Allocations {
    var calls: UInt64 = 0, bytes: UInt64 = 0
    unsafe count(&calls, &bytes)
    return Allocations(count: Double(calls), bytes: Double(bytes))
  }
}

/// Memory of this process that is in use now, in bytes; 0 where the system does not say.
func residentBytes() -> Int {
  // The second number of the file: resident pages.
  guard let file = unsafe fopen("/proc/self/statm", "r") else { return 0 }
  defer { unsafe fclose(file) }
  var text = Array<CChar>(repeating: 0, count: 128)
  guard unsafe fgets(&text, Int32(text.count), file) != nil else { return 0 }
  let fields = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self).split(separator: " ")
  return fields.count > 1 ? (Int(fields[1]) ?? 0) * Int(sysconf(Int32(_SC_PAGESIZE))) : 0
}
