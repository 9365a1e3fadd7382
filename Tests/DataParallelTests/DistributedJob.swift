import Foundation
import MPI

/// One job of several ranks: `mpirun` of the helper `DistributedCases`, which lies beside the test bundle.
struct DistributedJob {
  /// Exit code of mpirun, which passes on that of a failing rank; 110 after `timeout` seconds.
  let exitCode: Int32
  /// What all ranks printed.
  let output: String

  /// Runs `name` on `ranks` ranks and waits for the end.
  ///
  /// A job whose ranks hang ends with mpirun's own time-out and code 110. It also happens that all ranks have ended and mpirun never does: Open MPI 4.1.4
  /// with PMIx 4.2 then waits in `PMIx_server_finalize` for a lock. That is not what is tested, so such a job is run again.
  init(_ name: String, ranks: Int, timeout: Int = 90) throws {
    let limit = timeout + 20
    let command = [
      "/usr/bin/env", "timeout", "--kill-after=5", "\(limit)",
    ] + MPILibrary.current.localCommand(ranks: ranks, timeout: timeout) + [try Self.helper(), name]
    let start = ContinuousClock.now
    let first = try DistributedJob(command)
    self = ContinuousClock.now - start < .seconds(limit) ? first : try DistributedJob(command)
  }

  /// Runs `name` without mpirun.
  init(alone name: String) throws { try self.init([try Self.helper(), name]) }

  private init(_ command: [String]) throws {
    let process = Process()
    let pipe = Pipe()
    process.executableURL = URL(fileURLWithPath: command[0])
    process.arguments = Array(command.dropFirst())
    // Jobs at the same time would make and remove one folder of Open MPI.
    let folder = NSTemporaryDirectory() + "lockstep-mpi-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    process.environment = Self.environment().merging(["TMPDIR": folder]) { $1 }
    process.standardOutput = pipe
    process.standardError = pipe
    process.standardInput = FileHandle.nullDevice
    try process.run()
    let data = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    exitCode = process.terminationReason == .exit ? process.terminationStatus : 128 + process.terminationStatus
    output = String(decoding: data, as: UTF8.self)
  }

  private static func helper() throws -> String {
    URL(fileURLWithPath: try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"))
      .deletingLastPathComponent().appendingPathComponent("DistributedCases").path
  }

  /// The environment without what an MPI around the tests has left in it; containers run tests as root.
  private static func environment() -> [String: String] {
    var environment = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("OMPI_") && !$0.key.hasPrefix("PMIX_") }
    environment["OMPI_ALLOW_RUN_AS_ROOT"] = "1"
    environment["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    return environment
  }
}
