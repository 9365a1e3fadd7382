import Glibc
import MPI
import Tensors

/// The machine and the libraries that a measurement belongs to.
struct MachineDescription {
  /// One host, or several that are alike in everything but their name.
  struct Host: Equatable {
    var name: String
    var processor: String
    var cores: Int
    var blasCore: String
    var kernels: String
    var ranks: Int
  }

  /// In the order of their first ranks; a host whose ranks differ in their kernels comes more than once.
  private(set) var hosts: [Host] = []
  let blasVersion = BLAS.version
  let mpiVersion: String
  /// The processor type that the environment forces on BLAS.
  let forcedCoreType: String?
  /// Threads of a rank.
  let threads = Threads.count

  /// Gathers what each rank sees; all ranks call it together.
  /// - arithmetic: what computes on each rank.
  init(_ world: Communicator, _ arithmetic: Arithmetic) throws {
    mpiVersion = world.libraryVersion
    forcedCoreType = unsafe getenv("OPENBLAS_CORETYPE").map { unsafe String(cString: $0) }
    let processors = try world.allGather(bytes: Array(Self.processor.utf8)).map { String(decoding: $0, as: UTF8.self) }
    let cores: [Int] = try world.allGather(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    for rank in 0..<world.size {
      let host = Host(
        name: arithmetic.hosts[rank], processor: processors[rank], cores: cores[rank], blasCore: arithmetic.blasCores[rank],
        kernels: arithmetic.instructionSets[rank], ranks: 0)
      let index = hosts.firstIndex { var other = $0; other.ranks = 0; return other == host } ?? hosts.count
      if index == hosts.count { hosts.append(host) }
      hosts[index].ranks += 1
    }
  }

  /// Names of the hosts, each once.
  var hostNames: [String] {
    hosts.reduce(into: []) { names, host in if !names.contains(host.name) { names.append(host.name) } }
  }

  /// The most ranks that a host has.
  var ranksPerHost: Int { hostNames.map { name in hosts.filter { $0.name == name }.reduce(0) { $0 + $1.ranks } }.max() ?? 1 }

  /// One line for each kind of host.
  var lines: [String] {
    hosts.map {
      "\($0.name): \($0.ranks) of the ranks, \($0.cores) cores, \($0.processor); instruction set \($0.kernels), BLAS kernels \($0.blasCore)"
    }
  }

  var json: JSONValue {
    .object([
      JSONField("hosts", .array(hosts.map { host in
        .object([
          JSONField("name", .string(host.name)), JSONField("processor", .string(host.processor)), JSONField("cores", .integer(host.cores)),
          JSONField("ranks", .integer(host.ranks)), JSONField("blas_core", .string(host.blasCore)),
          JSONField("instruction_set", .string(host.kernels)),
        ])
      })),
      JSONField("blas", .string(blasVersion)), JSONField("forced_blas_core", forcedCoreType.map { .string($0) } ?? .null),
      JSONField("mpi", .string(mpiVersion)), JSONField("threads_per_rank", .integer(threads)),
    ])
  }

  /// The processor's name as the kernel gives it.
  private static var processor: String {
    // The first processor's entry; files of the kernel have no size.
    var bytes = [UInt8](repeating: 0, count: 4096)
    guard let file = try? PosixFile("/proc/cpuinfo", .read), let count = try? file.read(into: &bytes, at: 0) else {
      return "unknown processor"
    }
    let text = String(decoding: bytes[..<count], as: UTF8.self)
    for line in text.split(separator: "\n") where line.hasPrefix("model name") {
      guard let colon = line.firstIndex(of: ":") else { continue }
      return String(line[line.index(after: colon)...].drop { $0 == " " })
    }
    return "unknown processor"
  }

  /// Bytes of the largest cache; 0 where the system does not say.
  static var lastCacheBytes: Int {
    max(0, max(sysconf(Int32(_SC_LEVEL3_CACHE_SIZE)), sysconf(Int32(_SC_LEVEL2_CACHE_SIZE))))
  }
}
