import CMPI
import Tensors

/// A collective that has been started and has not been waited for. It keeps the memory that MPI reads and writes alive, and that memory must
/// not be touched, until `wait()` gives it back or `test()` has said true. One that is dropped before then is a fault of the program and traps.
///
/// MPI moves a pending collective along only while some call of MPI runs: call `test()` now and then.
public struct PendingCollective: ~Copyable {
  // The request has its own type because a type with a `deinit` cannot be taken apart in `wait()`.
  private var request: OpenRequest
  /// Keeps alive what MPI may still read or write.
  private let memory: AnyObject
  /// What is to be recorded when it is done; nil where nothing is.
  private var record: Record?

  private struct Record {
    let trace: Trace
    let call: StaticString
    let begin: UInt64
    let bytes: Int
  }

  /// Runs `start`, which is to call MPI and fill in the request.
  init<T>(
    _ communicator: Communicator, _ call: StaticString, send: VectorView<T>, receive: VectorView<T>,
    sendBlocks: BlockLayout? = nil, receiveBlocks: BlockLayout? = nil,
    start: (UnsafeMutablePointer<MPI_Request>) -> Int32
  ) throws(MPIError) {
    var raw = unsafe lockstep_mpi_request_null()
    let begin = communicator.trace == nil ? 0 : MonotonicClock.nanoseconds
    try check(unsafe start(&raw), call, rank: communicator.rank)
    request = unsafe OpenRequest(raw: raw, rank: communicator.rank)
    memory = Memory((send, receive, sendBlocks, receiveBlocks))
    if let trace = communicator.trace, trace.isRecording {
      // Without blocks for sending, those of receiving say where what is sent lies in place.
      let count = sendBlocks.map { $0.counts.array.reduce(0) { $0 + Int($1) } } ?? receiveBlocks.map { Int($0.counts[communicator.rank]) } ?? send.count
      record = Record(trace: trace, call: call, begin: begin, bytes: count * MemoryLayout<T>.stride)
    }
  }

  /// One that is done already.
  init<T>(done vector: VectorView<T>) {
    request = unsafe OpenRequest(raw: lockstep_mpi_request_null(), rank: 0)
    memory = Memory(vector)
  }

  /// Moves the collective along and says whether it is done; then its memory may be touched and `wait()` returns at once.
  /// - Throws: `MPIError`; the memory is then never released, because MPI may still write to it.
  public mutating func test() throws(MPIError) -> Bool {
    do {
      guard try request.test() else { return false }
    } catch {
      leak()
      throw error
    }
    finishRecord()
    return true
  }

  private mutating func finishRecord() {
    guard let record = record.take() else { return }
    record.trace.record(.message, "\(record.call)", from: record.begin, bytes: record.bytes)
  }

  /// Waits until the collective is done on this rank and lets go of its memory.
  /// - Throws: `MPIError`; the memory is then never released, because MPI may still write to it.
  public consuming func wait() throws(MPIError) {
    do { try request.wait() } catch {
      leak()
      throw error
    }
    finishRecord()
  }

  /// Gives up a collective on the way out of a failed run: its memory is never released, because MPI may still write to it.
  public consuming func abandon() {
    if request.isOpen { leak() }
    request.forget()
  }

  private func leak() { _ = unsafe Unmanaged.passRetained(memory) }

  private final class Memory<Content> {
    let content: Content
    init(_ content: Content) { self.content = content }
  }
}
