import CMPI
import Tensors

/// Collectives that return when this rank's part is done. P is the number of ranks.
extension Communicator {
  /// Replaces `vector` on every rank with that of rank `root`. Counts are equal on all ranks.
  /// - Throws: `MPIError`.
  public func broadcast<T: MPIDatatype>(_ vector: VectorView<T>, root: Int) throws(MPIError) {
    precondition(root >= 0 && root < size, "no rank \(root) among \(size)")
    if !hasMPI { return }
    try inPieces(vector) { piece throws(MPIError) in
      try blocking("MPI_Bcast") { unsafe MPI_Bcast(piece.pointer, Int32(piece.count), T.datatype, Int32(root), raw) }
    }
  }

  /// Replaces `vector` on every rank with the sum or maximum over ranks, element by element. The order of addition is the library's.
  /// - Throws: `MPIError`.
  public func allReduce<T: MPIDatatype>(_ vector: VectorView<T>, _ operation: ReductionOperation) throws(MPIError) {
    if !hasMPI { return }
    try inPieces(vector) { piece throws(MPIError) in
      try blocking("MPI_Allreduce") {
        unsafe MPI_Allreduce(lockstep_mpi_in_place(), piece.pointer, Int32(piece.count), T.datatype, operation.operation, raw)
      }
    }
  }

  /// Collects equally long vectors: `all` is [P × local.count], rank by rank, on every rank.
  /// - Throws: `MPIError`, also when a vector is too long for one message.
  public func allGather<T: MPIDatatype>(_ local: VectorView<T>, into all: VectorView<T>) throws(MPIError) {
    precondition(all.count == local.count * size, "allGather of \(local.count) elements into \(all.count)")
    let count = try messageCount(local.count, "MPI_Allgather", rank: rank)
    if count == 0 { return }
    if !hasMPI { return all.copy(from: local) }
    try blocking("MPI_Allgather") { unsafe MPI_Allgather(local.pointer, count, T.datatype, all.pointer, count, T.datatype, raw) }
    withExtendedLifetime((local, all)) {}
  }

  /// Collects vectors of any lengths: `local` becomes block `rank` of `all`, laid out by `blocks`, on every rank.
  /// - Throws: `MPIError`.
  public func allGatherV<T: MPIDatatype>(
    _ local: VectorView<T>, into all: VectorView<T>, blocks: BlockLayout
  ) throws(MPIError) {
    checkBlocks(blocks, in: all, send: local.count)
    if !hasMPI { return all[blocks[0]].copy(from: local) }
    try blocking("MPI_Allgatherv") {
      unsafe MPI_Allgatherv(
        local.pointer, Int32(local.count), T.datatype,
        all.pointer, blocks.counts.pointer, blocks.displacements.pointer, T.datatype, raw)
    }
    withExtendedLifetime((local, all, blocks)) {}
  }

  /// Sends block `q` of `send` to rank `q`, which receives it as block `rank` of its `receive`. Blocks to be sent may overlap.
  /// - Throws: `MPIError`.
  public func allToAllV<T: MPIDatatype>(
    _ send: VectorView<T>, blocks sendBlocks: BlockLayout, into receive: VectorView<T>, blocks receiveBlocks: BlockLayout
  ) throws(MPIError) {
    checkBlocks(sendBlocks, in: send)
    checkBlocks(receiveBlocks, in: receive)
    if !hasMPI { return receive[receiveBlocks[0]].copy(from: send[sendBlocks[0]]) }
    try blocking("MPI_Alltoallv") {
      unsafe MPI_Alltoallv(
        send.pointer, sendBlocks.counts.pointer, sendBlocks.displacements.pointer, T.datatype,
        receive.pointer, receiveBlocks.counts.pointer, receiveBlocks.displacements.pointer, T.datatype, raw)
    }
    withExtendedLifetime((send, sendBlocks, receive, receiveBlocks)) {}
  }

  /// Checks that a layout belongs to this group and fits its vector, and that block `rank` has `send` elements.
  func checkBlocks<T>(_ blocks: BlockLayout, in vector: VectorView<T>, send: Int? = nil) {
    precondition(blocks.counts.count == size, "a layout of \(blocks.counts.count) blocks for \(size) ranks")
    precondition(blocks.extent <= vector.count, "blocks reach \(blocks.extent) in a vector of \(vector.count)")
    if let send { precondition(Int(blocks.counts[rank]) == send, "\(send) elements for a block of \(blocks.counts[rank])") }
  }

  private func inPieces<T>(
    _ vector: VectorView<T>, _ body: (VectorView<T>) throws(MPIError) -> Void
  ) throws(MPIError) {
    var start = 0
    while start < vector.count {
      let end = min(start + longestMessage, vector.count)
      try body(vector[start..<end])
      start = end
    }
    withExtendedLifetime(vector) {}
  }
}
