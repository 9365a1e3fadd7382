import CMPI
import Glibc
import Tensors

/// A group of ranks that communicate with each other and with nobody else.
///
/// Every rank of the group must make the same calls in the same order. A communicator lives until MPI ends: releasing one is a collective
/// operation, and those have no place in a destructor.
@safe
public final class Communicator {
  /// Invariant: a valid handle until MPI is finalised; MPI's null handle where this process is alone and MPI has not started.
  let raw: MPI_Comm
  /// Whether MPI carries the messages of this group.
  let hasMPI: Bool
  /// Number of this process in the group, from 0.
  public let rank: Int
  /// Number of ranks in the group.
  public let size: Int
  /// Longest message of a broadcast or an all-reduce, in elements: longer vectors are cut, the same way on all ranks. By default well within
  /// MPI's 32-bit counts.
  public var longestMessage = 1 << 30 {
    didSet { precondition(longestMessage >= 1 && longestMessage <= Int(Int32.max), "messages of \(longestMessage) elements") }
  }

  // What `agree` exchanges: it is called at every step.
  lazy var outcome = VectorView<Int64>(zeros: 1)
  lazy var outcomes = VectorView<Int64>(zeros: size)

  /// Where this rank says what it does; parts of a communicator have the one that it has when they are made.
  public var pulse: Pulse?
  /// Records messages and waits; parts of a communicator have the one that it has when they are made.
  public var trace: Trace?

  /// The group of one process, which needs no MPI: what it sends to all it has already.
  init() {
    unsafe raw = unsafe lockstep_mpi_comm_null()
    hasMPI = false
    (rank, size) = (0, 1)
  }

  init(raw: MPI_Comm) throws(MPIError) {
    var rank: Int32 = 0
    var size: Int32 = 0
    try check(unsafe MPI_Comm_rank(raw, &rank), "MPI_Comm_rank", rank: nil)
    try check(unsafe MPI_Comm_size(raw, &size), "MPI_Comm_size", rank: Int(rank))
    unsafe self.raw = raw
    hasMPI = true
    self.rank = Int(rank)
    self.size = Int(size)
  }

  /// The same ranks with an order of calls of its own. All ranks call it together.
  /// - Throws: `MPIError`.
  public func duplicate() throws(MPIError) -> Communicator {
    if !hasMPI { return alone() }
    var copy = unsafe lockstep_mpi_comm_null()
    try blocking("MPI_Comm_dup") { unsafe lockstep_mpi_comm_dup(raw, &copy) }
    let duplicate = try unsafe Communicator(raw: copy)
    (duplicate.pulse, duplicate.trace) = (pulse, trace)
    return duplicate
  }

  /// Returns when all ranks have called it.
  /// - Throws: `MPIError`.
  public func barrier() throws(MPIError) {
    if !hasMPI { return }
    try blocking("MPI_Barrier") { unsafe MPI_Barrier(raw) }
  }

  /// Stops every rank of the job at once; the job ends with `code`.
  public func abort(code: Int32) -> Never {
    lockstep_flush_streams()
    if hasMPI { _ = unsafe MPI_Abort(raw, code) }
    // Other threads may be at work on what `exit` takes down.
    _exit(code)
  }

  /// One more group of this process alone.
  func alone() -> Communicator {
    let part = Communicator()
    (part.pulse, part.trace) = (pulse, trace)
    return part
  }

  /// Name of the host that this rank runs on.
  public var hostName: String {
    if !hasMPI { return ProcessInformation.hostName }
    return unsafe textFromMPI(capacity: Int(MPI_MAX_PROCESSOR_NAME)) { unsafe MPI_Get_processor_name($0, $1) } ?? "unknown"
  }

  /// Name and version of the MPI library.
  public var libraryVersion: String { MPIEnvironment.libraryVersion }
}
