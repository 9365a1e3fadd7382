import CMPI
import Glibc

/// MPI of this process, from start to the normal end. A process that no launcher has started with others is the only rank, and MPI does not start.
///
/// Leaving on the abnormal way needs no end: `Communicator.abort` stops all ranks. Nothing is finalised in a `deinit`, because finalising
/// waits for all ranks and a rank that unwinds from an error would wait for ever.
public struct MPIEnvironment: ~Copyable {
  /// All ranks of the job.
  public let world: Communicator

  /// Starts MPI for a process whose main thread alone calls it. Errors are returned, not fatal.
  /// - job: what has started this process.
  /// - Throws: `LaunchError` where the launcher's ranks would not find each other; `MPIError` when MPI does not start or cannot serve a process
  ///   with threads.
  public init(_ job: LaunchedJob? = .current) throws {
    Self.setDefaults()
    guard let job, job.mayHaveOthers else {
      world = Communicator()
      return
    }
    // A library that finds no server would end the process with words of its own, or take it for a job of one rank.
    if !job.hasServer { throw LaunchError(job: job) }
    var provided: Int32 = 0
    try check(unsafe MPI_Init_thread(nil, nil, Int32(MPI_THREAD_FUNNELED), &provided), "MPI_Init_thread", rank: nil)
    guard provided >= MPI_THREAD_FUNNELED else {
      throw MPIError(
        call: "MPI_Init_thread", code: nil, text: "this MPI library does not serve processes with more than one thread", rank: nil)
    }
    try check(
      unsafe MPI_Comm_set_errhandler(lockstep_mpi_comm_world(), lockstep_mpi_errors_return()), "MPI_Comm_set_errhandler", rank: nil)
    let world = try unsafe Communicator(raw: lockstep_mpi_comm_world())
    if let size = job.size, size > world.size {
      _ = MPI_Finalize()
      // Ranks that have found each other have numbers of their own, whatever a launcher around their mpirun says.
      var found = job
      if world.size > 1 { found.rank = world.rank }
      throw LaunchError(job: found)
    }
    self.world = world
  }

  /// Ends MPI; waits for all ranks. No communicator may be used afterwards.
  /// - Throws: `MPIError`.
  public consuming func finalize() throws(MPIError) {
    let rank = world.rank
    if !world.hasMPI { return }
    try check(MPI_Finalize(), "MPI_Finalize", rank: rank)
  }

  /// Name and version of the MPI library; MPI need not have started.
  public static var libraryVersion: String {
    let text = unsafe textFromMPI(capacity: Int(MPI_MAX_LIBRARY_VERSION_STRING)) { unsafe MPI_Get_library_version($0, $1) }
    // MPICH adds lines about how it was built.
    let line = text?.split(separator: "\n").first?.split(whereSeparator: \.isWhitespace).filter { $0 != "Version:" } ?? []
    return line.isEmpty ? "unknown" : line.joined(separator: " ")
  }

  /// Settings that suit long vectors between ranks of one node; what the user has set already stays.
  private static func setDefaults() {
    // Open MPI's copying through shared memory beats the kernel's copy between processes two to three times.
    unsafe setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 0)
    // Collectives allocate scratch memory at each call: keep it in the process instead of mapping and clearing it anew every time.
    lockstep_keep_freed_memory()
  }
}
