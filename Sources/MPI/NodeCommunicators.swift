import CMPI

/// Parts of a communicator.
extension Communicator {
  /// The ranks that share memory with this one, in the order of this communicator. All ranks call it together.
  /// - Throws: `MPIError`.
  public func splitByMemory() throws(MPIError) -> Communicator {
    if !hasMPI { return alone() }
    var part = unsafe lockstep_mpi_comm_null()
    try blocking("MPI_Comm_split_type") { unsafe lockstep_mpi_split_by_memory(raw, Int32(rank), &part) }
    return try unsafe Communicator(part: part, of: self)
  }

  /// The ranks that give the same `color`, from 0, in the order of this communicator. All ranks call it together.
  /// - Throws: `MPIError`.
  public func split(color: Int) throws(MPIError) -> Communicator {
    precondition(color >= 0, "negative color")
    if !hasMPI { return alone() }
    var part = unsafe lockstep_mpi_comm_null()
    let color = try messageCount(color, "MPI_Comm_split", rank: rank)
    try blocking("MPI_Comm_split") { unsafe lockstep_mpi_comm_split(raw, color, Int32(rank), &part) }
    return try unsafe Communicator(part: part, of: self)
  }

  /// Errors are returned, whatever a new communicator does by default.
  private convenience init(part: MPI_Comm, of whole: Communicator) throws(MPIError) {
    try check(unsafe MPI_Comm_set_errhandler(part, lockstep_mpi_errors_return()), "MPI_Comm_set_errhandler", rank: nil)
    try unsafe self.init(raw: part)
    (pulse, trace) = (whole.pulse, whole.trace)
  }
}
