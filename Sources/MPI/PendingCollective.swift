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

  /// Runs `start`, which is to call MPI and fill in the request.
  init<T>(
    _ communicator: Communicator, _ call: StaticString, send: VectorView<T>, receive: VectorView<T>,
    sendBlocks: BlockLayout? = nil, receiveBlocks: BlockLayout? = nil,
    start: (UnsafeMutablePointer<MPI_Request>) -> Int32
  ) throws(MPIError) {
    var raw = unsafe lockstep_mpi_request_null()
    try check(unsafe start(&raw), call, rank: communicator.rank)
    request = unsafe OpenRequest(raw: raw, rank: communicator.rank)
    memory = Memory((send, receive, sendBlocks, receiveBlocks))
  }

  /// One that is done already.
  init<T>(done vector: VectorView<T>) {
    request = unsafe OpenRequest(raw: lockstep_mpi_request_null(), rank: 0)
    memory = Memory(vector)
  }

  /// Moves the collective along and says whether it is done; then its memory may be touched and `wait()` returns at once.
  /// - Throws: `MPIError`; the memory is then never released, because MPI may still write to it.
  public mutating func test() throws(MPIError) -> Bool {
    do { return try request.test() } catch {
      leak()
      throw error
    }
  }

  /// Waits until the collective is done on this rank and lets go of its memory.
  /// - Throws: `MPIError`; the memory is then never released, because MPI may still write to it.
  public consuming func wait() throws(MPIError) {
    do { try request.wait() } catch {
      leak()
      throw error
    }
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
