import Foundation
import Testing

extension CommandTests.Survival {
  /// A signal in work that takes longer than a step: the ranks give it up, write a checkpoint and end, and it is done again on resuming.
  @Test(arguments: [("population", 1, 1000), ("validation", 3, 1000), ("population", 3, 10), ("validation", 2, 10)])
  func aSignalWithin(_ site: String, ranks: Int, steps: Int) throws {
    let sandbox = try Sandbox()
    // The tenth step ends an epoch. The last rank alone gets the signal, and while it stands there.
    let fault = "LOCKSTEP_FAULT=stop@\(site):rank=\(ranks - 1),step=10"
    let running = try sandbox.start(ranks: ranks, sandbox.training("run", ["training.maximum_steps=\(steps)"]), environment: [fault])
    try signalWhereItStopped(sandbox, running)
    let outcome = try running.wait()
    #expect(outcome.exitCode == 75 && outcome.errorMessages.isEmpty, "\(outcome)")
    #expect(try sandbox.linkedStep("run") == 10 && sandbox.events("run", "validation").isEmpty && sandbox.events("run", "step").count == 10)
    #expect(try sandbox.events("run").last?["reason"] as? String == "signal")
    let settings = ["training.maximum_steps=\(steps == 10 ? 10 : 14)"]
    try sandbox.train("run", ranks: 2, settings, ["--resume"])
    try sandbox.train("whole", settings)
    try CommandTests.Resuming.expectSameEnd(sandbox, "run", "whole", step: steps == 10 ? 10 : 14)
    #expect(try sandbox.numbers("run") == sandbox.numbers("whole") && sandbox.linkedStep("run", "best") == sandbox.linkedStep("whole", "best"))
  }

  /// Waits until a rank has stopped, sends it the signal, and lets it go on.
  private func signalWhereItStopped(_ sandbox: Sandbox, _ running: RunningCommand) throws {
    while running.process.isRunning {
      if let rank = try sandbox.rankProcesses().first(where: hasStopped) {
        kill(rank, SIGUSR1)
        kill(rank, SIGCONT)
        return
      }
      usleep(2000)
    }
    Issue.record("no rank stopped")
  }

  /// A single rank does not outlive its mpirun, which no MPI tells it of: it writes a checkpoint and ends.
  @Test func aRankWithoutItsLauncher() throws {
    let sandbox = try Sandbox()
    let arguments = sandbox.training("run", ["training.epochs=1000000", "training.maximum_steps=1000000"])
    let running = try RunningCommand(
      ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", "1", try Sandbox.program()] + arguments, in: sandbox.path,
      files: (sandbox("output"), sandbox("errors")))
    try sandbox.waitForSteps(3, of: "run", running)
    let rank = try #require(sandbox.rankProcesses().first)
    kill(running.process.processIdentifier, SIGKILL)
    _ = try running.wait()
    let start = ContinuousClock.now
    while try sandbox.rankProcesses().contains(rank), ContinuousClock.now - start < .seconds(60) { usleep(5000) }
    let outlived = try sandbox.rankProcesses()
    for rank in outlived { kill(rank, SIGKILL) }
    #expect(outlived.isEmpty)
    #expect(try sandbox.events("run").last?["reason"] as? String == "signal")
    #expect(try sandbox.linkedStep("run") == sandbox.events("run", "step").last?["step"] as? Int)
  }

  /// The same where utterances are read ahead.
  @Test func aSignalWithinPopulationOfSpeech() throws {
    let sandbox = try Sandbox()
    try sandbox.writeSpeech()
    // Three minibatches an epoch.
    let fault = "LOCKSTEP_FAULT=stop@population:rank=1,step=3"
    let running = try sandbox.start(ranks: 2, sandbox.speechTraining("run", []), environment: [fault])
    try signalWhereItStopped(sandbox, running)
    let outcome = try running.wait()
    #expect(outcome.exitCode == 75 && outcome.errorMessages.isEmpty, "\(outcome)")
    #expect(try sandbox.linkedStep("run") == 3 && sandbox.events("run", "validation").isEmpty)
    for (run, further) in [("run", ["--resume"]), ("whole", [])] {
      let trained = try sandbox.run(ranks: 3, sandbox.speechTraining(run, [], further))
      #expect(trained.exitCode == 0, "\(trained)")
    }
    try CommandTests.Resuming.expectSameEnd(sandbox, "run", "whole", step: 10)
    #expect(try sandbox.numbers("run") == sandbox.numbers("whole"))
  }

  /// A run that was killed while it wrote its configuration, or found no room for it, is in nobody's way.
  @Test func aConfigurationHalfWritten() throws {
    let sandbox = try Sandbox()
    try sandbox.train("run", ["training.maximum_steps=5"])
    try sandbox.write("run/config.yaml.partial", "task: langu")
    try sandbox.train("run", [], ["--resume"])
    #expect(try !sandbox.exists("run/config.yaml.partial") && sandbox.text("run/config.yaml").contains("maximum_steps: 12"))
  }
}
