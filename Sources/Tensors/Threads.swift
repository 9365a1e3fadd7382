import CKernels
import Glibc

/// The threads of this process that divide matrix products, packing, gates, softmax and updates among them.
///
/// Every element keeps its own order of operations, so their number changes no bit of any result. They are those of the process, as the
/// processor's cores are: kernels are called one at a time, and a second caller at the same time computes alone.
public enum Threads {
  /// The most threads of a process.
  public static var most: Int { 1024 }

  /// Makes kernels use `count` threads, the calling one among them; 1, as at the start, ends the others. They run where the caller may.
  /// - leastWork: the least that is worth a piece of its own, in floating-point operations of a product; nil for what pays.
  /// - Throws: `ThreadError` when the system starts no more; then there is one.
  public static func set(_ count: Int, leastWork: Int? = nil) throws(ThreadError) {
    precondition((1...most).contains(count) && leastWork ?? 1 >= 1, "\(count) threads")
    let code = lockstep_set_threads(count, leastWork ?? 0)
    if code != 0 { throw ThreadError(count: count, code: code) }
  }

  /// How many there are.
  public static var count: Int { lockstep_threads() }

  /// Calls `body` for the numbers below `count`, on the threads that there are, at the same time.
  /// - work: of all calls together, in floating-point operations of a product.
  static func forEach(_ count: Int, work: Int, _ body: (Int) -> Void) {
    if count < 2 { return (0..<count).forEach(body) }
    withoutActuallyEscaping(body) { body in
      // SAFETY: the callback reads the closure while this call, which keeps it, lasts.
      unsafe withUnsafePointer(to: body) { pointer in
        unsafe lockstep_for_each(count, work, { context, first, end in
          let body = unsafe context.assumingMemoryBound(to: ((Int) -> Void).self).pointee
          for number in first..<end { body(number) }
        }, pointer)
      }
    }
  }
}

/// Threads that read, write or wait beside the one that computes.
public enum BackgroundThread {
  /// Starts a thread that calls `body` once and ends. It blocks all signals.
  /// - Throws: `ThreadError` when the system starts no more; Dispatch would wait for ever.
  public static func start(_ body: @escaping @Sendable () -> Void) throws(ThreadError) {
    let context = unsafe Unmanaged.passRetained(Body(body))
    // SAFETY: the thread takes the reference that is passed to it.
    let code = unsafe lockstep_start_thread(
      { context in
        guard let context = unsafe context else { return nil }
        let body = unsafe Unmanaged<Body>.fromOpaque(context).takeRetainedValue()
        withExtendedLifetime(body) { body.call() }
        return nil
      }, context.toOpaque())
    if code == 0 { return }
    unsafe context.release()
    throw ThreadError(count: 1, code: code)
  }

  /// Calls `body` on a thread of its own; where the system starts none, on the calling thread before this returns.
  public static func perform(_ body: @escaping @Sendable () -> Void) {
    do throws(ThreadError) { try start(body) } catch { body() }
  }

  private final class Body: Sendable {
    let call: @Sendable () -> Void
    init(_ call: @escaping @Sendable () -> Void) { self.call = call }
  }
}

/// Threads that the system does not start.
public struct ThreadError: Error, CustomStringConvertible {
  /// How many were asked for.
  public let count: Int
  /// What the system says.
  public let code: Int32

  public var description: String { "cannot start \(count == 1 ? "a thread" : "\(count) threads"): \(unsafe String(cString: strerror(code))) (see ulimit -u and ulimit -v)" }
}

/// The processors on which the calling thread may run.
public enum UsableCores {
  /// Their numbers, ascending; nil where the system does not say.
  public static var numbers: [Int]? {
    // As many as the kernel can have.
    var mask = [UInt8](repeating: 0, count: 1024)
    // SAFETY: the system call writes at most as many bytes as the array has.
    let bytes = unsafe lockstep_usable_processors(mask.count, &mask)
    if bytes == 0 { return nil }
    return (0..<bytes * 8).filter { mask[$0 / 8] & 1 << ($0 % 8) != 0 }
  }
}
