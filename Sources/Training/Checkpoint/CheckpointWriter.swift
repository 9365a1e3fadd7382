import Dispatch
import Synchronization
import Tensors

/// Everything that one checkpoint is written from. The tensors are a copy that nothing changes while it is written.
///
/// Sendable because of that: whoever makes a job leaves its memory alone until the writer has given the outcome.
struct CheckpointJob: @unchecked Sendable {
  let store: CheckpointStore
  let model: [NamedTensor]
  let training: [NamedTensor]
  let files: [(name: String, bytes: [UInt8])]
  let state: CheckpointState
  let isBest: Bool
  /// How many of the newest stay.
  let keep: Int

  /// What came of it.
  struct Outcome: Sendable {
    /// The checkpoint's path, if it stands with all its links.
    var path: String?
    /// Why it does not, or why older ones could not be removed.
    var error: CheckpointError?
  }

  /// Writes the checkpoint, and only when it stands removes older ones.
  func run() -> Outcome {
    var outcome = Outcome()
    do throws(CheckpointError) {
      outcome.path = try store.write(model: model, training: training, files: files, state: state, isBest: isBest)
      try store.prune(keep: keep)
    } catch { outcome.error = error }
    return outcome
  }
}

/// Writes one checkpoint at a time on a thread of its own.
final class CheckpointWriter: Sendable {
  private let outcome = Mutex<CheckpointJob.Outcome?>(nil)
  private let isDone = DispatchSemaphore(value: 0)
  private let trace: Trace?

  /// - trace: records every job.
  init(trace: Trace? = nil) { self.trace = trace }

  /// Begins to write. The outcome of the job before must have been taken. Where the system starts no thread, the caller writes.
  func start(_ job: CheckpointJob) {
    BackgroundThread.perform { [self] in
      let result = Trace.span(trace, .checkpoint, "write checkpoint") { job.run() }
      outcome.withLock { $0 = result }
      isDone.signal()
    }
  }

  /// Whether the job that was begun has come to its end.
  var isFinished: Bool { outcome.withLock { $0 != nil } }

  /// Waits for the end of the job that was begun, and takes its outcome; one call for each `start`.
  func wait() -> CheckpointJob.Outcome {
    isDone.wait()
    return take()
  }

  /// The same for at most so many seconds; nil where the job has not ended by then. Its thread is left to itself.
  func wait(atMost seconds: Double) -> CheckpointJob.Outcome? { isDone.wait(timeout: .now() + seconds) == .success ? take() : nil }

  private func take() -> CheckpointJob.Outcome {
    guard let result = outcome.withLock({ $0.take() }) else { preconditionFailure("no checkpoint was being written") }
    return result
  }
}

/// Memory for a second copy of tensors, made the first time and used again.
struct TensorCopy {
  private(set) var tensors: [NamedTensor] = []

  /// Copies `originals`, whose names and shapes are the same every time.
  mutating func take(_ originals: [NamedTensor]) {
    if tensors.isEmpty {
      tensors = originals.map { NamedTensor(name: $0.name, shape: $0.shape, values: VectorView(zeros: $0.values.count)) }
    }
    precondition(tensors.map(\.name) == originals.map(\.name), "other tensors than before")
    for (copy, original) in zip(tensors, originals) { copy.values.copy(from: original.values) }
  }
}
