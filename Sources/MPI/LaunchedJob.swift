import Glibc

/// What the environment says about the launcher that has started this process: read before MPI starts, and to decide whether it starts.
///
/// A launcher of another MPI library, and Slurm without PMIx, start processes that this library takes for as many jobs of one rank each.
public struct LaunchedJob: Equatable, Sendable {
  /// The launcher, as messages name it.
  public var launcher: String
  /// Number of this process among those that it has started; nil where it does not say.
  public var rank: Int?
  /// How many it has started; nil where it does not say.
  public var size: Int?
  /// Whether an mpirun of this program's MPI library started it: what all processes print alike, one of them prints for all.
  public var isOfMPIRun: Bool
  /// Whether there is a server through which ranks of this library find each other.
  public var hasServer: Bool

  /// Whether there may be other ranks, so that MPI has to start.
  public var mayHaveOthers: Bool { size.map { $0 > 1 } ?? hasServer }

  /// The job that this process is of; nil where nothing has started more than one process.
  public static let current = LaunchedJob(environment)

  /// The environment of this process.
  public static var environment: [String: String] { ProcessInformation.environment }

  /// The names under which launchers say a rank and the number of ranks.
  private static let variables: [(launcher: String, rank: String, size: String)] = [
    ("mpirun of Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("mpirun of MVAPICH", "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),
    ("mpirun of MVAPICH", "MVP_COMM_WORLD_RANK", "MVP_COMM_WORLD_SIZE"),
    (MPILibrary.current == .mpich ? "mpirun of MPICH (PMI_SIZE)" : "mpirun of another MPI library (PMI_SIZE)", "PMI_RANK", "PMI_SIZE"),
    ("PALS", "PALS_RANKID", "PALS_SIZE"),
    ("jsrun", "JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE"),
    ("Flux", "FLUX_TASK_RANK", "FLUX_JOB_SIZE"),
    ("a launcher with PMIx", "PMIX_RANK", "PMIX_SIZE"),
  ]

  /// The job that an environment tells of. Of several launchers the one with the most ranks counts: one within another has started each of its
  /// ranks once more.
  public init?(_ environment: [String: String]) {
    func number(_ name: String) -> Int? { environment[name].flatMap { Int($0) } }
    var found = Self.variables.compactMap { variable -> (launcher: String, rank: Int?, size: Int?)? in
      let rank = number(variable.rank), size = number(variable.size)
      return rank == nil && size == nil ? nil : (variable.launcher, rank, size)
    }
    let isOfOpenMPI = number("OMPI_COMM_WORLD_SIZE") != nil || number("OMPI_COMM_WORLD_RANK") != nil
    // In a batch script Slurm says how many tasks the job is to have, and counts the script as task 0: only a step has tasks.
    let isStep = environment["SLURM_STEP_ID"] != nil || environment["SLURM_STEPID"] != nil || environment["SLURM_STEP_NUM_TASKS"] != nil
    if isStep, let tasks = number("SLURM_STEP_NUM_TASKS") ?? number("SLURM_NTASKS") ?? number("SLURM_NPROCS") {
      // With several hosts mpirun starts its daemons as tasks of a step, and ranks inherit what that says, also in PMI's words.
      if isOfOpenMPI {
        found.removeAll { $0.launcher.contains("PMI_SIZE") && $0.size == tasks }
      } else {
        found.append(("srun of Slurm", number("SLURM_PROCID"), tasks))
      }
    }
    isOfMPIRun = isOfOpenMPI || MPILibrary.current == .mpich && !isStep && number("PMI_SIZE") != nil
    guard let first = found.first else { return nil }
    // Of equals the first.
    let largest = found.reduce(first) { $1.size ?? 0 > $0.size ?? 0 ? $1 : $0 }
    (launcher, size) = (largest.launcher, largest.size)
    rank = largest.rank ?? found.lazy.compactMap(\.rank).first
    hasServer = MPILibrary.current.hasServer(environment)
  }
}

/// A launcher of another MPI library, or one without PMIx: each of its ranks would be a job of its own.
public struct LaunchError: ExitCodeError, CustomStringConvertible {
  let job: LaunchedJob

  public var exitCode: Int32 { 64 }
  /// Whether this process is the one that says so for all.
  public var isMine: Bool { job.rank ?? 0 == 0 }

  public var description: String {
    let library = MPIEnvironment.libraryVersion.split(separator: ",").first.map(String.init) ?? "the MPI library"
    let count = job.size.map { "\($0) processes" } ?? "this process"
    return "\(job.launcher) has started \(count), which do not find each other through \(library), the MPI library of this program: "
      + "start them with its own mpirun, \(MPILibrary.current.mpirun), or in Slurm with srun \(MPILibrary.current.slurmOption)"
  }
}

/// What the system says about this process.
public enum ProcessInformation {
  /// The environment of the process.
  static var environment: [String: String] {
    var variables: [String: String] = [:], next = unsafe environ
    while let entry = unsafe next.pointee {
      let halves = unsafe String(cString: entry).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      if halves.count == 2 { variables[String(halves[0])] = String(halves[1]) }
      unsafe next += 1
    }
    return variables
  }

  /// The name of this host.
  public static var hostName: String {
    var name = [CChar](repeating: 0, count: 256)
    unsafe gethostname(&name, name.count - 1)
    return text(name)
  }

  /// Where a shared library lies whose name begins so; nil where none is loaded.
  static func path(ofLibrary name: String) -> String? {
    guard let file = unsafe fopen("/proc/self/maps", "r") else { return nil }
    defer { unsafe fclose(file) }
    var line = [CChar](repeating: 0, count: 4096)
    while unsafe fgets(&line, Int32(line.count), file) != nil {
      let words = text(line)
      guard let start = words.firstIndex(of: "/"), words.contains("/\(name).so") else { continue }
      return String(words[start...].prefix { $0 != "\n" })
    }
    return nil
  }

  private static func text(_ bytes: [CChar]) -> String {
    String(decoding: bytes.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
