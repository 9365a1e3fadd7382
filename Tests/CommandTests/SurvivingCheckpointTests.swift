import Foundation
import Testing

extension CommandTests.Survival {
  /// Killed between a checkpoint's name and its links: the next start points them to where the run stands, even if it has nothing else to do.
  @Test(arguments: ["latest", "best"]) func killedBeforeALink(_ link: String) throws {
    let sandbox = try Sandbox()
    let settings = ["training.maximum_steps=20"]
    try sandbox.train("whole", settings)
    #expect(try sandbox.linkedStep("whole", "best") == 20, "the second validation is to be the better one")
    let outcome = try sandbox.run(ranks: 2, sandbox.training("run", settings), environment: ["LOCKSTEP_FAULT=kill@link:step=20,file=\(link)"])
    #expect(outcome.exitCode == 137, "\(outcome)")
    #expect(try sandbox.linkedStep("run", "latest") == (link == "latest" ? 15 : 20) && sandbox.linkedStep("run", "best") == 10)
    let resumed = try sandbox.train("run", ranks: 3, settings, ["--resume"])
    #expect(resumed.output.contains("Resumed at step 20") && resumed.output.contains("The link best"), "\(resumed)")
    #expect(try sandbox.linkedStep("run", "best") == 20)
    try CommandTests.Resuming.expectSameEnd(sandbox, "run", "whole", step: 20)
    #expect(try sandbox.numbers("run", kinds: ["test"]) == sandbox.numbers("whole", kinds: ["test"]))
  }

  /// A checkpoint that reads back damaged does not end a run that is to go on.
  @Test(arguments: [1, 3]) func aDiskThatForgets(ranks: Int) throws {
    let sandbox = try Sandbox()
    let outcome = try sandbox.run(
      ranks: ranks, sandbox.training("run", ["checkpoint.on_error=continue"]), environment: ["LOCKSTEP_FAULT=tear@write:step=5,bytes=700"])
    #expect(outcome.exitCode == 0 && outcome.warnings.contains { $0.contains("700 bytes") && $0.contains("the run goes on") }, "\(outcome)")
    #expect(try sandbox.events("run", "checkpoint_failed").map { $0["step"] as? Int } == [5])
    try sandbox.train("whole")
    try CommandTests.Resuming.expectSameEnd(sandbox, "run", "whole", step: 12)
  }

  /// A run that fails while its disk does not answer waits for that as long as it would for a rank.
  @Test(arguments: [1, 3]) func aDiskThatHangs(ranks: Int) throws {
    let sandbox = try Sandbox()
    let fault = "LOCKSTEP_FAULT=sleep@write:step=5,seconds=40;nan@update:step=6", start = ContinuousClock.now
    let outcome = try sandbox.run(ranks: ranks, sandbox.training("run", ["watchdog.abort_seconds=2"]), environment: [fault])
    #expect(outcome.exitCode == 65 && outcome.errorMessages.count == 1, "\(outcome)")
    for text in ["step 7: the loss is not a number", "The checkpoint of step 5", "after 2.0 s", "--resume"] {
      #expect(outcome.errorMessages.first?.contains(text) == true, "no \(text) in \(outcome)")
    }
    #expect(ContinuousClock.now - start < .seconds(30))
    // No checkpoint stands, so the run begins anew.
    let again = try sandbox.train("run", [], ["--resume"])
    #expect(again.warnings.contains { $0.contains("cleared .step-00000005.partial") }, "\(again)")
    try sandbox.train("whole")
    try CommandTests.Resuming.expectSameEnd(sandbox, "run", "whole", step: 12)
  }

  /// A best model whose checkpoint failed is tried once more, and stays the best, where a signal ends the run.
  @Test(arguments: [1, 2]) func theBestIsRescuedAtASignal(ranks: Int) throws {
    let sandbox = try Sandbox()
    // No validation after that of the tenth step.
    let settings = ["checkpoint.on_error=continue", "checkpoint.every_steps=null", "evaluation.every_epochs=1"]
    let fault = "LOCKSTEP_FAULT=throw@rename:step=10,times=1;sleep@step:step=11,seconds=3"
    let running = try sandbox.start(ranks: ranks, sandbox.training("run", settings + ["training.maximum_steps=1000"]), environment: [fault])
    for _ in 0..<4000 where (try? sandbox.events("run", "validation").isEmpty) ?? true && running.process.isRunning { usleep(5000) }
    for rank in try sandbox.rankProcesses() { kill(rank, SIGUSR1) }
    let outcome = try running.wait()
    #expect(outcome.exitCode == 75 && outcome.errorMessages.isEmpty, "\(outcome)")
    #expect(try sandbox.events("run", "checkpoint_failed").map { $0["step"] as? Int } == [10])
    let stop = try sandbox.linkedStep("run")
    #expect(try sandbox.linkedStep("run", "best") == 10 && sandbox.events("run", "checkpoint").map { $0["step"] as? Int } == [10, stop])
    try sandbox.train("run", ranks: 2, ["training.maximum_steps=15"], ["--resume"])
    try sandbox.train("whole", ["training.maximum_steps=15"])
    try CommandTests.Resuming.expectSameEnd(sandbox, "run", "whole", step: 15)
    #expect(try sandbox.linkedStep("run", "best") == sandbox.linkedStep("whole", "best"))
  }

  /// The same before the last validation of a run.
  @Test func theBestIsRescuedAtTheEnd() throws {
    let sandbox = try Sandbox()
    let settings = ["checkpoint.on_error=continue", "checkpoint.every_steps=null"]
    let outcome = try sandbox.run(ranks: 2, sandbox.training("run", settings), environment: ["LOCKSTEP_FAULT=throw@rename:step=10,times=1"])
    #expect(outcome.exitCode == 0 && outcome.warnings.count == 1, "\(outcome)")
    #expect(try sandbox.events("run", "checkpoint_failed").map { $0["step"] as? Int } == [10])
    #expect(try sandbox.events("run", "checkpoint").map { $0["step"] as? Int } == [10, 12])
    try sandbox.train("whole")
    try CommandTests.Resuming.expectSameEnd(sandbox, "run", "whole", step: 12)
    #expect(try sandbox.numbers("run") == sandbox.numbers("whole"))
  }
}
