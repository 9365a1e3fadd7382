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
}
