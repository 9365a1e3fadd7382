import COpenMPI

/// A request of MPI that must be completed before it goes out of scope.
// Usable from inlined code because other modules destroy pending collectives in place and need its metadata: the linker misses it otherwise.
@safe @usableFromInline
struct OpenRequest: ~Copyable {
  /// Invariant: MPI's null request as soon as the operation is known to be complete. Nil for one that needed no MPI, until then.
  private var raw: MPI_Request?
  private let rank: Int

  init(raw: MPI_Request?, rank: Int) {
    unsafe self.raw = raw
    self.rank = rank
  }

  deinit { precondition(!isOpen, "a pending collective was dropped on rank \(rank) without waiting for it") }

  var isOpen: Bool { unsafe raw != lockstep_mpi_request_null() }

  /// False for an operation that needed no MPI, or is complete: both need nothing more.
  private mutating func hasMPI() -> Bool {
    if unsafe raw != nil && isOpen { return true }
    forget()
    return false
  }

  mutating func forget() { unsafe raw = unsafe lockstep_mpi_request_null() }

  mutating func test() throws(MPIError) -> Bool {
    if !hasMPI() { return true }
    var done: Int32 = 0
    let code = unsafe MPI_Test(&raw, &done, lockstep_mpi_status_ignore())
    if code != MPI_SUCCESS { forget() }
    try check(code, "MPI_Test", rank: rank)
    return done != 0
  }

  mutating func wait() throws(MPIError) {
    if !hasMPI() { return }
    let code = unsafe MPI_Wait(&raw, lockstep_mpi_status_ignore())
    if code != MPI_SUCCESS { forget() }
    try check(code, "MPI_Wait", rank: rank)
  }
}
