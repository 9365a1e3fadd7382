import CMPI
import Tensors

/// Collectives that return before they are done. Collectives of one communicator must be started in the same order on every rank.
extension Communicator {
  /// Starts `allReduce` in place.
  /// - Throws: `MPIError`, also when the vector is too long for one message.
  public func startAllReduce<T: MPIDatatype>(
    _ vector: VectorView<T>, _ operation: ReductionOperation
  ) throws(MPIError) -> PendingCollective {
    let count = try messageCount(vector.count, "MPI_Iallreduce", rank: rank)
    if !hasMPI { return PendingCollective(done: vector) }
    return try unsafe PendingCollective(self, "MPI_Iallreduce", send: vector, receive: vector) {
      unsafe lockstep_mpi_iallreduce(vector.pointer, count, T.datatype, operation.operation, raw, $0)
    }
  }

  /// Starts `allGather`: `all` is [P × local.count].
  /// - Throws: `MPIError`, also when the vector is too long for one message.
  public func startAllGather<T: MPIDatatype>(
    _ local: VectorView<T>, into all: VectorView<T>
  ) throws(MPIError) -> PendingCollective {
    precondition(all.count == local.count * size, "allGather of \(local.count) elements into \(all.count)")
    let count = try messageCount(local.count, "MPI_Iallgather", rank: rank)
    if !hasMPI {
      all.copy(from: local)
      return PendingCollective(done: all)
    }
    return try unsafe PendingCollective(self, "MPI_Iallgather", send: local, receive: all) {
      unsafe lockstep_mpi_iallgather(local.pointer, count, all.pointer, T.datatype, raw, $0)
    }
  }

  /// Starts `allGatherV` in place: block `rank` of `all` is sent, the other blocks are received.
  /// - Throws: `MPIError`.
  public func startAllGatherV<T: MPIDatatype>(
    inPlace all: VectorView<T>, blocks: BlockLayout
  ) throws(MPIError) -> PendingCollective {
    checkBlocks(blocks, in: all)
    if !hasMPI { return PendingCollective(done: all) }
    return try unsafe PendingCollective(self, "MPI_Iallgatherv", send: all, receive: all, receiveBlocks: blocks) {
      unsafe lockstep_mpi_iallgatherv(
        lockstep_mpi_in_place(), 0,
        all.pointer, blocks.counts.pointer, blocks.displacements.pointer, T.datatype, raw, $0)
    }
  }

  /// Starts `allGatherV`: `local` becomes block `rank` of `all`.
  /// - Throws: `MPIError`.
  public func startAllGatherV<T: MPIDatatype>(
    _ local: VectorView<T>, into all: VectorView<T>, blocks: BlockLayout
  ) throws(MPIError) -> PendingCollective {
    checkBlocks(blocks, in: all, send: local.count)
    if !hasMPI {
      try allGatherV(local, into: all, blocks: blocks)
      return PendingCollective(done: all)
    }
    return try unsafe PendingCollective(self, "MPI_Iallgatherv", send: local, receive: all, receiveBlocks: blocks) {
      unsafe lockstep_mpi_iallgatherv(
        local.pointer, Int32(local.count),
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
    if !hasMPI {
      try allToAllV(send, blocks: sendBlocks, into: receive, blocks: receiveBlocks)
      return PendingCollective(done: receive)
    }
    return try unsafe PendingCollective(
      self, "MPI_Ialltoallv", send: send, receive: receive, sendBlocks: sendBlocks, receiveBlocks: receiveBlocks
    ) {
      unsafe lockstep_mpi_ialltoallv(
        send.pointer, sendBlocks.counts.pointer, sendBlocks.displacements.pointer,
        receive.pointer, receiveBlocks.counts.pointer, receiveBlocks.displacements.pointer, T.datatype, raw, $0)
    }
  }
}
