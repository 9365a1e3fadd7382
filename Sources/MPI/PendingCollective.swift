import COpenMPI
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
  fileprivate init<T>(
    _ communicator: Communicator, _ call: StaticString, send: VectorView<T>, receive: VectorView<T>,
    sendBlocks: BlockLayout? = nil, receiveBlocks: BlockLayout? = nil,
    start: (UnsafeMutablePointer<MPI_Request?>) -> Int32
  ) throws(MPIError) {
    var raw = unsafe lockstep_mpi_request_null()
    try check(unsafe start(&raw), call, rank: communicator.rank)
    request = unsafe OpenRequest(raw: raw, rank: communicator.rank)
    memory = Memory((send, receive, sendBlocks, receiveBlocks))
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

/// A request of MPI that must be completed before it goes out of scope.
@safe
private struct OpenRequest: ~Copyable {
  /// Invariant: MPI's null request as soon as the operation is complete.
  private var raw: MPI_Request?
  private let rank: Int

  init(raw: MPI_Request?, rank: Int) {
    unsafe self.raw = raw
    self.rank = rank
  }

  deinit { precondition(!isOpen, "a pending collective was dropped on rank \(rank) without waiting for it") }

  var isOpen: Bool { unsafe raw != lockstep_mpi_request_null() }

  mutating func forget() { unsafe raw = unsafe lockstep_mpi_request_null() }

  mutating func test() throws(MPIError) -> Bool {
    var done: Int32 = 0
    let code = unsafe MPI_Test(&raw, &done, lockstep_mpi_status_ignore())
    if code != MPI_SUCCESS { forget() }
    try check(code, "MPI_Test", rank: rank)
    return done != 0
  }

  mutating func wait() throws(MPIError) {
    let code = unsafe MPI_Wait(&raw, lockstep_mpi_status_ignore())
    if code != MPI_SUCCESS { forget() }
    try check(code, "MPI_Wait", rank: rank)
  }
}

/// Collectives that return before they are done. Collectives of one communicator must be started in the same order on every rank.
extension Communicator {
  /// Starts `allReduce` in place.
  /// - Throws: `MPIError`, also when the vector is too long for one message.
  public func startAllReduce<T: MPIDatatype>(
    _ vector: VectorView<T>, _ operation: ReductionOperation
  ) throws(MPIError) -> PendingCollective {
    let count = try messageCount(vector.count, "MPI_Iallreduce", rank: rank)
    return try unsafe PendingCollective(self, "MPI_Iallreduce", send: vector, receive: vector) {
      unsafe MPI_Iallreduce(lockstep_mpi_in_place(), vector.pointer, count, T.datatype, operation.operation, raw, $0)
    }
  }

  /// Starts `allGather`: `all` is [P × local.count].
  /// - Throws: `MPIError`, also when the vector is too long for one message.
  public func startAllGather<T: MPIDatatype>(
    _ local: VectorView<T>, into all: VectorView<T>
  ) throws(MPIError) -> PendingCollective {
    precondition(all.count == local.count * size, "allGather of \(local.count) elements into \(all.count)")
    let count = try messageCount(local.count, "MPI_Iallgather", rank: rank)
    return try unsafe PendingCollective(self, "MPI_Iallgather", send: local, receive: all) {
      unsafe MPI_Iallgather(local.pointer, count, T.datatype, all.pointer, count, T.datatype, raw, $0)
    }
  }

  /// Starts `allGatherV` in place: block `rank` of `all` is sent, the other blocks are received.
  /// - Throws: `MPIError`.
  public func startAllGatherV<T: MPIDatatype>(
    inPlace all: VectorView<T>, blocks: BlockLayout
  ) throws(MPIError) -> PendingCollective {
    checkBlocks(blocks, in: all)
    return try unsafe PendingCollective(self, "MPI_Iallgatherv", send: all, receive: all, receiveBlocks: blocks) {
      unsafe MPI_Iallgatherv(
        lockstep_mpi_in_place(), 0, T.datatype,
        all.pointer, blocks.counts.pointer, blocks.displacements.pointer, T.datatype, raw, $0)
    }
  }

  /// Starts `allGatherV`: `local` becomes block `rank` of `all`.
  /// - Throws: `MPIError`.
  public func startAllGatherV<T: MPIDatatype>(
    _ local: VectorView<T>, into all: VectorView<T>, blocks: BlockLayout
  ) throws(MPIError) -> PendingCollective {
    checkBlocks(blocks, in: all, send: local.count)
    return try unsafe PendingCollective(self, "MPI_Iallgatherv", send: local, receive: all, receiveBlocks: blocks) {
      unsafe MPI_Iallgatherv(
        local.pointer, Int32(local.count), T.datatype,
        all.pointer, blocks.counts.pointer, blocks.displacements.pointer, T.datatype, raw, $0)
    }
  }

  /// Starts `allToAllV`: block `q` of `send` becomes block `rank` of `receive` on rank `q`.
  /// - Throws: `MPIError`.
  public func startAllToAllV<T: MPIDatatype>(
    _ send: VectorView<T>, blocks sendBlocks: BlockLayout, into receive: VectorView<T>, blocks receiveBlocks: BlockLayout
  ) throws(MPIError) -> PendingCollective {
    checkBlocks(sendBlocks, in: send)
    checkBlocks(receiveBlocks, in: receive)
    return try unsafe PendingCollective(
      self, "MPI_Ialltoallv", send: send, receive: receive, sendBlocks: sendBlocks, receiveBlocks: receiveBlocks
    ) {
      unsafe MPI_Ialltoallv(
        send.pointer, sendBlocks.counts.pointer, sendBlocks.displacements.pointer, T.datatype,
        receive.pointer, receiveBlocks.counts.pointer, receiveBlocks.displacements.pointer, T.datatype, raw, $0)
    }
  }
}
