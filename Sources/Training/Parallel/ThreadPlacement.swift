import MPI
import Tensors

extension ThreadError: ExitCodeError {
  public var exitCode: Int32 { ExitCode.usage.rawValue }
}

/// The most threads that a rank can have.
public var mostThreads: Int { Threads.most }

/// Starts the threads of every rank, and warns where they have to share cores. All ranks call it together.
/// - Throws: the same error on every rank where one cannot start them.
func startThreads(_ count: Int, world: Communicator, console: Console) throws {
  try world.agree { try Threads.set(count) }
  if count == 1 { return }
  let cores = UsableCores.numbers.map { $0.map(String.init).joined(separator: ",") } ?? "?"
  let ranks = try world.allGather(bytes: Array("\(world.hostName)\n\(cores)".utf8)).map { bytes in
    let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
    let numbers = lines[1] == "?" ? nil : lines[1].split(separator: ",").compactMap { Int($0) }
    return ThreadPlacement.Rank(host: String(lines[0]), cores: numbers)
  }
  for warning in ThreadPlacement(ranks: ranks, threads: count).warnings { console.warn(warning) }
}

/// The threads of all ranks and the cores on which their launcher lets them run.
package struct ThreadPlacement {
  /// Where a rank may run.
  package struct Rank {
    package let host: String
    /// Numbers of the host's cores; nil where the system does not say.
    package let cores: [Int]?

    package init(host: String, cores: [Int]?) {
      self.host = host
      self.cores = cores
    }
  }

  private let ranks: [Rank]
  private let threads: Int

  /// - ranks: in their order.
  /// - threads: of each.
  package init(ranks: [Rank], threads: Int) {
    self.ranks = ranks
    self.threads = threads
  }

  /// A line for each host that has more threads than cores, or a rank with more threads than cores of its own.
  package var warnings: [String] {
    var hosts: [String] = []
    for rank in ranks where !hosts.contains(rank.host) { hosts.append(rank.host) }
    return hosts.compactMap { warning(for: $0) }
  }

  private func warning(for host: String) -> String? {
    let here = ranks.filter { $0.host == host }, known = here.compactMap(\.cores)
    guard known.count == here.count else { return nil }
    let cores = Set(known.joined()).count, all = here.count * threads, least = known.map(\.count).min() ?? 0
    let work = "\(here.count) rank\(here.count == 1 ? "" : "s") × \(threads) threads"
    let problem: String
    if all > cores {
      problem = "\(work) = \(all) threads on \(host), where the process\(here.count == 1 ? "" : "es") may use \(count(cores))"
    } else if threads > least {
      problem = "\(work) on \(host), where one rank may use \(count(least)) alone"
    } else {
      return nil
    }
    return problem + ": threads that share a core are slower than one; `mpirun --map-by slot:PE=\(threads) --bind-to core` gives each rank "
      + "\(threads) cores, where there are so many; else take fewer --threads or ranks"
  }

  private func count(_ cores: Int) -> String { "\(cores) core\(cores == 1 ? "" : "s")" }
}
