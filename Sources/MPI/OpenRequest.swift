import CMPI

/// A request of MPI that must be completed before it goes out of scope.
// Usable from inlined code because other modules destroy pending collectives in place and need its metadata: the linker misses it otherwise.
@safe @usableFromInline
struct OpenRequest: ~Copyable {
  /// Invariant: MPI's null request as soon as MPI has completed the operation, and from the start where MPI has nothing to do.
  private var raw: MPI_Request
  private let rank: Int
  /// Whether nobody has found out yet that the operation is complete.
  private(set) var isOpen = true

  init(raw: MPI_Request, rank: Int) {
    unsafe self.raw = raw
    self.rank = rank
  }

  deinit { precondition(!isOpen, "a pending collective was dropped on rank \(rank) without waiting for it") }

  private var isComplete: Bool { unsafe raw == lockstep_mpi_request_null() }

  mutating func forget() {
    unsafe raw = unsafe lockstep_mpi_request_null()
    isOpen = false
  }

  mutating func test() throws(MPIError) -> Bool {
    if !isComplete {
      var done: Int32 = 0
      let code = unsafe lockstep_mpi_test(&raw, &done)
      if code != MPI_SUCCESS { forget() }
      try check(code, "MPI_Test", rank: rank)
      if done == 0 { return false }
    }
    isOpen = false
    return true
  }

  mutating func wait() throws(MPIError) {
    if !isComplete {
      let code = unsafe lockstep_mpi_wait(&raw)
      if code != MPI_SUCCESS { forget() }
      try check(code, "MPI_Wait", rank: rank)
    }
    isOpen = false
  }
}
