import CMPI
import Glibc

/// The family of MPI libraries that this program is built with: what its launcher is called and understands.
public enum MPILibrary: Sendable {
  case openMPI
  /// MPICH and those with its interface: Intel MPI, MVAPICH, Cray MPICH.
  case mpich

  /// The one of this build.
  public static var current: MPILibrary { lockstep_mpi_is_open_mpi() != 0 ? .openMPI : .mpich }

  /// Options of its mpirun that name hosts with room for so many ranks each.
  public func options(hosts: [(name: String, slots: Int)]) -> [String] {
    let list = hosts.map { "\($0.name):\($0.slots)" }.joined(separator: ",")
    switch self {
    case .openMPI: return ["--host", list]
    case .mpich: return ["-hosts", list]
    }
  }

  /// The beginning of a command that starts so many ranks on this host, bound to no cores, also where they are more than its cores. It ends
  /// them after `timeout` seconds.
  package func localCommand(ranks: Int, timeout: Int) -> [String] {
    switch self {
    case .openMPI: return ["mpirun", "-n", "\(ranks)", "--oversubscribe", "--bind-to", "none", "--timeout", "\(timeout)"]
    case .mpich: return ["env", "MPIEXEC_TIMEOUT=\(timeout)", mpirun, "-n", "\(ranks)"]
    }
  }

  /// The signal that has ended a rank, by the exit code of mpirun; nil for another end.
  public func signal(ofCode code: Int32) -> Int32? {
    switch self {
    case .openMPI: return code > 128 ? code - 128 : nil
    // Hydra passes on the signal's number, which for 1 may be an end of its own.
    case .mpich: return code > 128 ? code - 128 : (2...31).contains(code) ? code : nil
    }
  }

  /// Whether an environment says where ranks of this library find each other.
  func hasServer(_ environment: [String: String]) -> Bool {
    switch self {
    case .openMPI:
      // Some builds of Open MPI know the server of PMI-1 and PMI-2, too; whether this one does, the number of ranks that it finds will say.
      return environment["PMI_FD"] != nil
        || environment["PMIX_NAMESPACE"] != nil && environment.keys.contains { $0.hasPrefix("PMIX_SERVER_URI") }
    case .mpich: return ["PMI_FD", "PMI_PORT", "PMI_CONTROL_PORT", "PMIX_NAMESPACE"].contains { environment[$0] != nil }
    }
  }

  /// How Slurm's srun starts ranks of this library.
  var slurmOption: String {
    switch self {
    case .openMPI: "--mpi=pmix"
    case .mpich: "--mpi=pmi2"
    }
  }

  /// Whether a launcher's file is that of the other family.
  public func isForeign(mpirun name: some StringProtocol) -> Bool {
    let isOfMPICH = name.contains("hydra") || name.contains("mpich"), isOfOpenMPI = name.contains("openmpi") || name.contains("orte") || name.contains("prte")
    switch self {
    case .openMPI: return isOfMPICH
    case .mpich: return isOfOpenMPI
    }
  }

  // Debian has those of several libraries in one folder, and `mpirun` is one of them.
  private var mpirunNames: [String] {
    switch self {
    case .openMPI: ["mpirun.openmpi", "mpirun"]
    case .mpich: ["mpirun.mpich", "mpiexec.hydra", "mpirun"]
    }
  }

  private var fileNames: [String] {
    switch self {
    case .openMPI: ["libmpi"]
    case .mpich: ["libmpich", "libmpi"]
    }
  }

  /// The mpirun that belongs to the library of this process: a path, or the name alone where none is found near the library.
  public var mpirun: String {
    guard let library = fileNames.lazy.compactMap({ ProcessInformation.path(ofLibrary: $0) }).first else { return "mpirun" }
    var folder = library[...]
    while let end = folder.lastIndex(of: "/") {
      folder = folder[..<end]
      for name in mpirunNames where unsafe access("\(folder)/bin/\(name)", X_OK) == 0 { return "\(folder)/bin/\(name)" }
    }
    return "mpirun"
  }
}
