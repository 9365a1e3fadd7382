import Foundation
import Testing

extension CommandTests {
  /// Ranks that hang, fail or go astray (`LOCKSTEP_FAULT`).
  @Suite struct Survival {
    @Test(arguments: ["kill", "burn@step", "kill@moon:rank=0", "kill@step:rank=-1", "kill@step:rank", "flip@step:bit=x", "kill@step:size=1",
      "full@step", "flip@write:bit=1", "full@rename", "tear@write:bytes=-1", "full@link", "kill@link:file=model.safetensors"])
    func faultsThatAreNone(_ fault: String) throws {
      let sandbox = try Sandbox()
      let outcome = try sandbox.run(ranks: 1, sandbox.training("run", []), environment: ["LOCKSTEP_FAULT=\(fault)"])
      #expect(outcome.exitCode == 64 && outcome.errorMessages.count == 1 && outcome.errors.contains("LOCKSTEP_FAULT: '\(fault)'"), "\(outcome)")
    }

    /// A rank that fails alone ends the job with its message, wherever it fails; the run goes on to the same end.
    @Test(arguments: ["step", "exchange", "update", "checkpoint", "validation", "population"]) func oneRankFails(at site: String) throws {
      let sandbox = try Sandbox()
      try sandbox.train("whole")
      for rank in [0, 2] {
        let step = ["validation", "population"].contains(site) ? 10 : site == "checkpoint" ? 5 : 7
        // The validation of the tenth step ends the first epoch.
        let fault = "LOCKSTEP_FAULT=throw@\(site):rank=\(rank),step=\(step)", run = "run-\(rank)"
        let outcome = try sandbox.run(ranks: 3, sandbox.training(run, []), environment: [fault])
        #expect(outcome.exitCode == 70, "\(outcome)")
        #expect(outcome.errorMessages.count == 1 && outcome.errors.contains("rank \(rank): LOCKSTEP_FAULT asked"), "\(outcome)")
        try sandbox.train(run, ranks: 2, [], ["--resume"])
        try Resuming.expectSameEnd(sandbox, run, "whole", step: 12)
      }
    }

    /// A disk that is full or fails, or writes less than it says: nothing half done is left, and the run goes on to the same end.
    @Test(arguments: [
      ("full@write:step=5,file=training.safetensors,bytes=100", 74, ["training.safetensors", "No space left"]),
      ("throw@write:step=10,bytes=100", 74, ["model.safetensors", "Input/output error"]), ("throw@rename:step=5", 74, ["step-00000005"]),
      ("tear@write:step=10,bytes=700", 74, ["model.safetensors", "700 bytes", "read back"]),
      ("tear@write:step=10,file=state.json,bytes=30", 74, ["state.json", "read back"]),
    ] as [(String, Int32, [String])])
    func aDiskThatFails(_ fault: String, _ code: Int32, _ words: [String]) throws {
      let sandbox = try Sandbox()
      let outcome = try sandbox.run(ranks: 2, sandbox.training("run", []), environment: ["LOCKSTEP_FAULT=\(fault)"])
      #expect(outcome.exitCode == code && outcome.errorMessages.count == 1, "\(outcome)")
      for word in words { #expect(outcome.errorMessages.first?.contains(word) == true, "no \(word) in \(outcome)") }
      #expect(try !sandbox.names(in: "run/checkpoints").contains { $0.hasPrefix(".") })
      try sandbox.train("run", ranks: 3, [], ["--resume"])
      try sandbox.train("whole")
      try Resuming.expectSameEnd(sandbox, "run", "whole", step: 12)
    }

    /// A rank that is killed amid a checkpoint, or before it has its name, and a checkpoint whose file is cut after all was well.
    @Test(arguments: [
      ("kill@write:step=10,file=training.safetensors,bytes=100", "cleared .step-00000010.partial"),
      ("kill@rename:step=10", "cleared .step-00000010.partial"),
      // The checkpoint before is complete when the next begins.
      ("tear@rename:step=10,bytes=700;kill@checkpoint:step=12", "passed over a checkpoint"),
    ])
    func killedWhileWriting(_ fault: String, _ words: String) throws {
      let sandbox = try Sandbox()
      let outcome = try sandbox.run(ranks: 2, sandbox.training("run", []), environment: ["LOCKSTEP_FAULT=\(fault)"])
      #expect(outcome.exitCode == 137, "\(outcome)")
      let resumed = try sandbox.train("run", ranks: 3, [], ["--resume"])
      #expect(resumed.warnings.contains { $0.contains(words) } && resumed.output.contains("Resumed at step 5"), "\(resumed)")
      try sandbox.train("whole")
      try Resuming.expectSameEnd(sandbox, "run", "whole", step: 12)
    }

    /// Random kills of ranks and of mpirun, and starts on other numbers of ranks: a short run of the script that does it at length.
    @Test func chaos() throws {
      let sandbox = try Sandbox()
      let command = ["bash", "Scripts/chaos", "--kills", "8", "--seed", "\(Int.random(in: 1...9999))", try Sandbox.program()]
      let outcome = try RunningCommand(
        ["TMPDIR=\(sandbox.path)"] + command, in: repository.path, files: (sandbox("output"), sandbox("errors")), limit: 240).wait()
      #expect(outcome.exitCode == 0 && outcome.output.contains("8 of 8 kills"), "\(outcome)")
    }

    /// One run at a time trains in a directory; one that was killed is in nobody's way.
    @Test func oneRunADirectory() throws {
      let sandbox = try Sandbox()
      let endless = ["training.maximum_steps=1000000", "training.epochs=1000000"]
      let first = try sandbox.start(ranks: 1, sandbox.training("run", endless))
      try sandbox.waitForSteps(6, of: "run", first)
      let rank = try #require(sandbox.rankProcesses().first)
      try sandbox.expectFailure(64, ["run", "another process trains there now", "process \(rank)"], sandbox.training("run", [], ["--resume"]))
      kill(rank, SIGKILL)
      _ = try first.wait()
      // The newest checkpoint may not have been linked yet.
      let step = try sandbox.linkedStep("run") + 12
      try sandbox.train("run", ["training.maximum_steps=\(step)"], ["--resume"])
      #expect(try sandbox.linkedStep("run") == step)
    }

    /// A rank that is stopped is named, with what it was at, and the job ends.
    @Test(arguments: [(0, "exchange", "phase other"), (2, "step", "phase input"), (1, "validation", "validation")])
    func aStoppedRank(_ rank: Int, _ site: String, _ words: String) throws {
      let sandbox = try Sandbox()
      let step = site == "validation" ? 10 : 7
      let settings = ["watchdog.warn_seconds=0.4", "watchdog.abort_seconds=1.2"]
      let fault = "LOCKSTEP_FAULT=stop@\(site):rank=\(rank),step=\(step)"
      let outcome = try sandbox.run(ranks: 3, sandbox.training("run", settings), environment: [fault])
      #expect(outcome.exitCode == 70, "\(outcome)")
      let warnings = outcome.errors.split(separator: "\n").filter { $0.hasPrefix("lockstep: warning:") }
      // On a busy machine another rank may be late for a moment, too.
      #expect(warnings.contains { $0.contains("s for rank \(rank) on host ") }, "\(outcome)")
      #expect(outcome.errorMessages.count == 1 && outcome.errors.contains("watchdog.abort_seconds"), "\(outcome)")
      for text in ["s for rank \(rank) on host ", words, "step \(step)"] {
        #expect(outcome.errorMessages.first?.contains(text) == true, "no \(text) in \(outcome)")
      }
      #expect(try sandbox.rankProcesses().isEmpty)
      try sandbox.train("run", ranks: 2, settings, ["--resume"])
      try sandbox.train("whole", settings)
      try Resuming.expectSameEnd(sandbox, "run", "whole", step: 12)
    }

    /// A rank that works for longer than the limit while others wait, or rests for less, does not end the run; one that rests for longer does.
    @Test(arguments: [
      ("spin@checkpoint:rank=0,step=5,seconds=4", true), ("sleep@step:rank=1,step=3,seconds=1", true),
      ("sleep@validation:rank=1,step=10,seconds=30", false),
    ])
    func aBusyRank(_ fault: String, _ ends: Bool) throws {
      let sandbox = try Sandbox()
      let settings = ["watchdog.warn_seconds=0.4", "watchdog.abort_seconds=2"]
      let outcome = try sandbox.run(ranks: 3, sandbox.training("run", settings), environment: ["LOCKSTEP_FAULT=\(fault)"])
      #expect(outcome.exitCode == (ends ? 0 : 70) && outcome.errorMessages.count == (ends ? 0 : 1), "\(outcome)")
      #expect(outcome.warnings.count == 1 && outcome.warnings.first?.contains("rank \(ends && fault.hasPrefix("spin") ? 0 : 1) on host") == true, "\(outcome)")
    }

    /// A fault that only its rank finds impossible ends all.
    @Test func aTensorThatIsNone() throws {
      let sandbox = try Sandbox()
      let outcome = try sandbox.run(ranks: 3, sandbox.training("run", []), environment: ["LOCKSTEP_FAULT=flip@update:rank=1,step=2,tensor=none"])
      #expect(outcome.exitCode == 64 && outcome.errorMessages.count == 1 && outcome.errors.contains("no tensor none"), "\(outcome)")
    }

    /// Replicas stay the same whatever adds gradients.
    @Test(arguments: [2, 3, 4, 8]) func healthy(ranks: Int) throws {
      let sandbox = try Sandbox()
      for (index, settings) in [
        ["communication.reproducible=false", "normalization.scope=local"],
        ["communication.reproducible=false", "optimizer.method=adam", "communication.bucket_megabytes=0.001", "model.hidden_size=40"],
        ["optimizer.method=rmsprop", "optimizer.learning_rate=0.003", "communication.gradients=bfloat16"],
      ].enumerated() {
        try sandbox.train("run-\(index)", ranks: ranks, settings + ["replica_check.every_steps=1"])
      }
    }

    /// A flip before a validation is found before it, though no comparison is due.
    @Test func aFlipBeforeAValidation() throws {
      let sandbox = try Sandbox()
      let outcome = try sandbox.run(ranks: 4, sandbox.training("run", []), environment: ["LOCKSTEP_FAULT=flip@update:rank=1,step=9,bit=29"])
      #expect(outcome.exitCode == 70 && outcome.errorMessages.first?.contains("step 10: the replicas of the ranks differ") == true, "\(outcome)")
      #expect(try sandbox.events("run", "validation").isEmpty)
    }

    /// A run that an earlier version began, without these keys.
    @Test func configurationWithoutTheKeys() throws {
      let sandbox = try Sandbox()
      try sandbox.train("run", ranks: 2, ["training.maximum_steps=7"])
      let keys = /(watchdog|replica_check):\n .*?\n .*?\n/
      // The copy in the checkpoint is under a checksum and stays.
      let text = try sandbox.text("run/config.yaml"), old = text.replacing(keys, with: "")
      #expect(text.contains("watchdog") && !old.contains("watchdog") && !old.contains("replica_check"), "\(old)")
      try sandbox.write("run/config.yaml", old)
      let outcome = try sandbox.run(
        ranks: 2, ["train", "run/config.yaml", "--run-directory", sandbox("run"), "--resume", "--set", "training.maximum_steps=12"])
      #expect(outcome.exitCode == 0 && outcome.output.contains("Resumed at step 7") && outcome.warnings.isEmpty, "\(outcome)")
      try sandbox.train("whole")
      try Resuming.expectSameEnd(sandbox, "run", "whole", step: 12)
    }

    /// A bit that flips in one rank's weights, optimiser or averages is found by the next comparison, with rank and tensor.
    @Test(arguments: ["lstm.1.forward.recurrent_weight", "optimizer.velocity.output.weight", "running.lstm.0.forward.input_norm.running_mean"])
    func aFlippedBit(in tensor: String) throws {
      let sandbox = try Sandbox()
      let settings = ["optimizer.momentum=0.5", "replica_check.every_steps=5", "checkpoint.every_steps=4"]
      let fault = "LOCKSTEP_FAULT=flip@update:rank=1,step=9,tensor=\(tensor),bit=86"
      for (ranks, place) in [(3, "\(tensor) on rank 1 (host "), (2, "no value has a majority")] {
        let outcome = try sandbox.run(ranks: ranks, sandbox.training("run-\(ranks)", settings), environment: [fault])
        #expect(outcome.exitCode == 70 && outcome.errorMessages.count == 1, "\(outcome)")
        for text in ["step 10: the replicas of the ranks differ", place, "--resume"] {
          #expect(outcome.errorMessages.first?.contains(text) == true, "no \(text) in \(outcome)")
        }
        #expect(try sandbox.linkedStep("run-\(ranks)") == 8)
      }
    }

    /// With a majority the odd rank is healed; before its weights have entered a gradient, as if nothing had happened.
    @Test func healing() throws {
      let sandbox = try Sandbox()
      let settings = ["replica_check.every_steps=5", "replica_check.heal=true", "optimizer.momentum=0.5"]
      try sandbox.train("whole", settings)
      let faults = [
        "flip@update:rank=0,step=10,tensor=output.weight,bit=20", "flip@update:rank=0,step=10,tensor=optimizer.velocity.output.weight,bit=33",
      ]
      let outcome = try sandbox.run(ranks: 3, sandbox.training("run", settings), environment: ["LOCKSTEP_FAULT=\(faults.joined(separator: ";"))"])
      #expect(outcome.exitCode == 0 && outcome.errorMessages.isEmpty, "\(outcome)")
      #expect(outcome.errors.contains("step 10: healed output.weight on rank 0 (host "), "\(outcome)")
      let healed = try sandbox.events("run", "heal")
      #expect(healed.count == 1 && healed.first?["step"] as? Int == 10 && healed.first?["ranks"] as? [Int] == [0])
      #expect(healed.first?["tensors"] as? [String] == ["output.weight", "optimizer.velocity.output.weight"])
      try Resuming.expectSameEnd(sandbox, "run", "whole", step: 12)
      // Two ranks have no majority.
      let two = try sandbox.run(ranks: 2, sandbox.training("two", settings), environment: ["LOCKSTEP_FAULT=\(faults[0])"])
      #expect(two.exitCode == 70 && two.errors.contains("no value has a majority"), "\(two)")
    }
  }
}
