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

  /// Every file of the newest checkpoint, cut at each sixteenth of its length and with single bits flipped: the command names it and goes on from the
  /// checkpoint before.
  @Test(arguments: ["model.safetensors", "training.safetensors", "vocabulary.json", "state.json"]) func aDamagedFile(_ name: String) throws {
    let sandbox = try Sandbox()
    try sandbox.train("run", ["training.maximum_steps=10"])
    let file = "\(sandbox.checkpoint("run", 10))/\(name)", whole = try sandbox.data(file)
    var random = SeededNumbers(state: 16)
    var damaged = (0..<16).map { ("\($0)/16 of it", Data(whole.prefix(whole.count * $0 / 16))) }
    for _ in 0..<8 {
      let place = Int.random(in: 0..<whole.count, using: &random), bit = Int.random(in: 0..<8, using: &random)
      var bytes = whole
      bytes[place] ^= 1 << UInt8(bit)
      damaged.append(("bit \(bit) of byte \(place) flipped", bytes))
    }
    // Four at a time: a command mostly waits for MPI to begin and to end.
    for first in stride(from: 0, to: damaged.count, by: 4) {
      let started = try damaged[first..<min(first + 4, damaged.count)].enumerated().map { index, damage in
        let run = "run-\(first + index)"
        try FileManager.default.copyItem(atPath: sandbox("run"), toPath: sandbox(run))
        try sandbox.write("\(sandbox.checkpoint(run, 10))/\(name)", damage.1)
        return (run, damage, try sandbox.start(ranks: 1, sandbox.training(run, ["training.maximum_steps=5"], ["--resume"])))
      }
      for (run, (what, bytes), command) in started {
        let outcome = try command.wait()
        let named = outcome.warnings.filter { $0.contains("passed over a checkpoint") && $0.contains("step-00000010, file \(name):") }
        #expect(outcome.exitCode == 0 && named.count == 1 && outcome.output.contains("Resumed at step 5,"), "\(what): \(outcome)")
        #expect(try sandbox.data("\(sandbox.checkpoint(run, 10))/\(name)") == bytes && sandbox.linkedStep(run) == 5, "\(what)")
      }
    }
    // Whole, it is taken; and damaged, its step is done again, to the same bits.
    for bytes in [whole, damaged[20].1] {
      try sandbox.write(file, bytes)
      let outcome = try sandbox.train("run", ["training.maximum_steps=10"], ["--resume"])
      #expect(outcome.output.contains("Resumed at step \(bytes == whole ? 10 : 5),"), "\(outcome)")
      #expect(try sandbox.data(file) == whole, "\(outcome)")
    }
  }
}

/// SplitMix64 (Steele, Lea & Flood 2014): the same numbers on every run.
private struct SeededNumbers: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
