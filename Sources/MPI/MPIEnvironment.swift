import COpenMPI
import Glibc

/// MPI of this process, from start to the normal end. Without mpirun the process is the only rank.
///
/// Leaving on the abnormal way needs no end: `Communicator.abort` stops all ranks. Nothing is finalised in a `deinit`, because finalising
/// waits for all ranks and a rank that unwinds from an error would wait for ever.
public struct MPIEnvironment: ~Copyable {
  /// All ranks of the job.
  public let world: Communicator

  /// Starts MPI for a process whose main thread alone calls it. Errors are returned, not fatal.
  /// - Throws: `MPIError` when MPI does not start or cannot serve a process with threads.
  public init() throws(MPIError) {
    Self.setDefaults()
    var provided: Int32 = 0
    try check(unsafe MPI_Init_thread(nil, nil, Int32(MPI_THREAD_FUNNELED), &provided), "MPI_Init_thread", rank: nil)
    guard provided >= MPI_THREAD_FUNNELED else {
      throw MPIError(
        call: "MPI_Init_thread", code: nil, text: "this MPI library does not serve processes with more than one thread", rank: nil)
    }
    try check(
      unsafe MPI_Comm_set_errhandler(lockstep_mpi_comm_world(), lockstep_mpi_errors_return()), "MPI_Comm_set_errhandler", rank: nil)
    world = try unsafe Communicator(raw: lockstep_mpi_comm_world())
  }

  /// Ends MPI; waits for all ranks. No communicator may be used afterwards.
  /// - Throws: `MPIError`.
  public consuming func finalize() throws(MPIError) {
    let rank = world.rank
    try check(MPI_Finalize(), "MPI_Finalize", rank: rank)
  }

  /// Settings of Open MPI that suit long vectors between ranks of one node; what the user has set already stays.
  private static func setDefaults() {
    // A process without mpirun is complete by itself: no daemon is started for it.
    unsafe setenv("OMPI_MCA_ess_singleton_isolated", "1", 0)
    // Copying through shared memory beats the kernel's copy between processes two to three times.
    unsafe setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 0)
    // Collectives allocate scratch memory at each call: keep it in the process instead of mapping and clearing it anew every time.
    lockstep_keep_freed_memory()
  }
}
