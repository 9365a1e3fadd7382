import Glibc
import MPI
import Tensors

/// Warns where a rank has one core alone and another process of this program has the same, as of two jobs whose mpiruns each bind from the first core
/// on. All ranks call it together.
func warnOfSharedCores(world: Communicator, console: Console) throws {
  let mine = SharedCores.found.map { "\(world.hostName)\n\($0.core)\n\($0.process)" } ?? ""
  for (rank, bytes) in try world.allGather(bytes: Array(mine.utf8)).enumerated() where !bytes.isEmpty {
    let parts = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
    console.warn(
      "rank \(rank) may use core \(parts[1]) of \(parts[0]) alone, which process \(parts[2]) of this program uses too: both run at half speed; "
        + "`mpirun --bind-to none` leaves the choice of cores to the system")
    // One says enough.
    return
  }
}

/// Processes of this program that are bound to the core of this one.
private enum SharedCores {
  /// This process's only core and another process of the program, of the same name, that has no other; nil where there is none.
  static var found: (core: Int, process: Int)? {
    guard let cores = UsableCores.numbers, cores.count == 1, let name = status("self", "Name:") else { return nil }
    for entry in (try? FileSystem().names(in: "/proc")) ?? [] {
      guard let process = Int(entry), process != Int(getpid()), status(entry, "Name:") == name,
        status(entry, "Cpus_allowed_list:") == "\(cores[0])"
      else { continue }
      return (cores[0], process)
    }
    return nil
  }

  /// A line of what the system says about a process.
  private static func status(_ process: String, _ key: String) -> Substring? {
    systemText("/proc/\(process)/status")?.split(separator: "\n").first { $0.hasPrefix(key) }?.split(whereSeparator: \.isWhitespace).last
  }
}
