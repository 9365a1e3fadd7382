import Foundation
import Testing

/// The root of the repository.
let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

/// A bed of several hosts, see `Cluster/testbed`; removed with the last reference, or with this process if that dies.
final class Bed {
  static let script = repository.appendingPathComponent("Cluster/testbed").path
  static let slurmScript = repository.appendingPathComponent("Cluster/slurm-local").path

  /// The exit code with which the scripts say that something is missing or forbidden on this machine.
  static let impossibleHere: Int32 = 69

  let name: String
  let sandbox: Sandbox
  private let script: String
  private var commands = 0

  /// - options: of `Cluster/testbed up`.
  /// - withSlurm: a bed of `Cluster/slurm-local`, whose commands `call` and `start` then give.
  /// - Throws: if the bed does not come up, with what the script says. Where this machine lacks what a bed needs, or forbids it, the
  ///   test is cancelled, which counts as skipped.
  init(hosts: Int, _ options: [String] = [], withSlurm: Bool = false, in sandbox: Sandbox) throws {
    name = "test-\(ProcessInfo.processInfo.processIdentifier)"
    script = withSlurm ? Self.slurmScript : Self.script
    self.sandbox = sandbox
    let outcome = try call(["up", "\(hosts)", "--while", "\(ProcessInfo.processInfo.processIdentifier)"] + options)
    if outcome.exitCode == Self.impossibleHere {
      let reason = outcome.errors.split(separator: "\n").last.map(String.init) ?? "nothing said"
      try Test.cancel("not run: \(reason)")
    }
    try #require(outcome.exitCode == 0, "no test bed: \(outcome)")
  }

  deinit { _ = try? call(["down"]) }

  /// Where keys, configuration and logs lie.
  var folder: String { "/run/lockstep-testbed/\(name)" }

  /// Starts a command of the bed. It ends after `timeout` seconds, or is ended soon after.
  func start(_ arguments: [String], environment: [String] = [], timeout: Int = 60) throws -> RunningCommand {
    try start(environment: environment, [script] + arguments, killedAfter: timeout)
  }

  func call(_ arguments: [String], environment: [String] = [], timeout: Int = 60) throws -> Outcome {
    let command = ["timeout", "--kill-after=5", "\(timeout)", script] + arguments
    return try start(environment: environment, command, killedAfter: timeout + 10).wait()
  }

  private func start(environment: [String], _ command: [String], killedAfter limit: Int) throws -> RunningCommand {
    commands += 1
    return try RunningCommand(
      ["TESTBED=\(name)"] + environment + command, in: sandbox.path,
      files: (sandbox("bed-output-\(commands)"), sandbox("bed-errors-\(commands)")), limit: limit)
  }

  /// Starts a training run of `tiny.yaml` under mpirun.
  func startTraining(_ directory: String, ranks: Int, hosts: String, _ settings: [String], _ further: [String] = []) throws -> RunningCommand {
    let arguments = ["run", "--timeout", "90", "-n", "\(ranks)", "--hosts", hosts, try Sandbox.program()]
    return try start(arguments + sandbox.training(directory, settings, further), timeout: 105)
  }

  /// Trains to the end, which must be a good one; again if mpirun hung, which is not what is tested.
  func train(
    _ directory: String, ranks: Int, hosts: String, _ settings: [String], _ further: [String] = [], sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    var running = try startTraining(directory, ranks: ranks, hosts: hosts, settings, further), outcome = try running.wait()
    if running.launcherHung {
      if !further.contains("--resume") { try? FileManager.default.removeItem(atPath: sandbox(directory)) }
      running = try startTraining(directory, ranks: ranks, hosts: hosts, settings, further)
      outcome = try running.wait()
    }
    try #require(outcome.exitCode == 0 && outcome.errorMessages.isEmpty, "\(outcome)", sourceLocation: sourceLocation)
  }
}
