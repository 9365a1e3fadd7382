import Dispatch
import Synchronization
import Tensors

/// Something done in a run directory on another thread: a file server that has stopped answering holds up that thread, and not the one that looks
/// after signals and mpirun.
final class FileWork<Result: Sendable>: Sendable {
  private let done = DispatchSemaphore(value: 0)
  private let result = Mutex<Result?>(nil)

  /// Begins to do it. Where the system starts no thread, it is done when this returns.
  init(_ work: @escaping @Sendable () -> Result) {
    BackgroundThread.perform { [self] in
      let found = work()
      result.withLock { $0 = found }
      done.signal()
    }
  }

  /// What came of it; nil as long as it is under way.
  var value: Result? { result.withLock { $0 } }

  /// Waits for what comes of it; nil if `isOver` becomes true before.
  func wait(unless isOver: () -> Bool) -> Result? {
    while value == nil {
      if done.wait(timeout: .now() + 0.05) == .timedOut && isOver() { return nil }
    }
    return value
  }
}
