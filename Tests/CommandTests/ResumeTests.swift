import Foundation
import Testing

extension CommandTests {
  /// A run that was interrupted ends with the bits of one that was not.
  @Suite struct Resuming {
    static let settings = [
      "optimizer.momentum=0.9", "optimizer.learning_rate=0.3", "optimizer.decay={factor: 2, after: 2}", "normalization.scope={group: 2}",
      "training.accumulate_steps=3",
    ]

    static func expectSameEnd(_ sandbox: Sandbox, _ a: String, _ b: String, step: Int) throws {
      #expect(try sandbox.linkedStep(a) == step)
      for file in ["model.safetensors", "training.safetensors"] {
        let bytes = try sandbox.data("\(sandbox.checkpoint(a, step))/\(file)")
        #expect(try bytes == sandbox.data("\(sandbox.checkpoint(b, step))/\(file)"), "\(file) of \(a) and \(b)")
      }
    }

    /// 4 updates an epoch: step 20 is the end of an epoch, step 18 the middle of one.
    @Test(arguments: [20, 18]) func onOtherRanks(stop: Int) throws {
      let sandbox = try Sandbox()
      try sandbox.train("whole", ranks: 3, Self.settings + ["training.maximum_steps=50"])
      try sandbox.train("parts", ranks: 4, Self.settings + ["training.maximum_steps=\(stop)"])
      #expect(try sandbox.linkedStep("parts") == stop)
      let resumed = try sandbox.train("parts", ranks: 2, Self.settings + ["training.maximum_steps=50"], ["--resume"])
      #expect(resumed.output.contains("Resumed at step \(stop)"), "\(resumed)")
      try Self.expectSameEnd(sandbox, "parts", "whole", step: 50)
      #expect(try sandbox.numbers("parts", kinds: ["step"]) == sandbox.numbers("whole", kinds: ["step"]))
      #expect(try sandbox.events("parts", "resume").map { $0["step"] as? Int } == [stop])
      // The last validation is that of the whole run.
      #expect(try sandbox.numbers("parts", kinds: ["validation"]).last == sandbox.numbers("whole", kinds: ["validation"]).last)
    }

    /// In the middle of an epoch, and of an interval between two whitenings.
    @Test(arguments: [
      ["normalization.placement=state", "model.initial_state_noise=0.1"],
      ["normalization.placement=separate", "model.initial_state=learned"],
      ["normalization.placement=hidden", "model.cell=gru"], ["normalization.method=layer", "normalization.placement=preactivation"],
      ["normalization.placement=whitened-input", "normalization.whitening_interval=7", "optimizer.momentum=0.9"],
    ])
    func everyPlacement(_ settings: [String]) throws {
      let sandbox = try Sandbox(), settings = settings + ["training.shards=4", "model.dropout=0.3", "optimizer.learning_rate=0.1"]
      try sandbox.train("whole", ranks: 2, settings + ["training.maximum_steps=40"])
      try sandbox.train("parts", ranks: 1, settings + ["training.maximum_steps=18"])
      try sandbox.train("parts", ranks: 3, settings + ["training.maximum_steps=40"], ["--resume"])
      try Self.expectSameEnd(sandbox, "parts", "whole", step: 40)
      #expect(try sandbox.numbers("parts", kinds: ["step"]) == sandbox.numbers("whole", kinds: ["step"]))
    }

    @Test func afterKill() throws {
      let sandbox = try Sandbox()
      try sandbox.write("train.txt", randomText(tokens: 6000, types: 60, seed: 5))
      let settings = Self.settings + ["checkpoint.every_steps=7", "training.maximum_steps=150"]
      try sandbox.train("whole", ranks: 2, settings)

      let running = try sandbox.start(ranks: 2, sandbox.training("killed", settings))
      try sandbox.waitForSteps(25, of: "killed", running)
      let victim = try #require(try sandbox.rankProcesses().last)
      kill(victim, SIGKILL)
      let outcome = try running.wait()
      #expect(outcome.exitCode != 0 && outcome.exitCode != 110, "\(outcome)")
      #expect(try sandbox.events("killed", "end").isEmpty, "killed too late to test anything")

      let resumed = try sandbox.train("killed", ranks: 3, settings, ["--resume"])
      #expect(resumed.output.contains("Resumed at step"), "\(resumed)")
      try Self.expectSameEnd(sandbox, "killed", "whole", step: 150)
    }

    /// `train-one.txt` has one window an epoch, so that the signal always comes at an epoch's end.
    @Test(arguments: ["train.txt", "train-one.txt"]) func afterSignal(text: String) throws {
      let sandbox = try Sandbox()
      try sandbox.write("train-one.txt", randomText(tokens: 150, types: 50, seed: 6))
      let settings = ["data.train=\(text)", "training.epochs=100000", "optimizer.momentum=0.5"]
      let running = try sandbox.start(ranks: 2, sandbox.training("stopped", settings + ["training.maximum_steps=1000000"]))
      try sandbox.waitForSteps(10, of: "stopped", running)
      kill(running.process.processIdentifier, SIGUSR1)
      let outcome = try running.wait()
      #expect(outcome.exitCode == 75, "\(outcome)")
      #expect(outcome.errorMessages.isEmpty, "\(outcome)")
      let step = try sandbox.linkedStep("stopped")
      let last = try #require(try sandbox.events("stopped", "step").last)
      #expect(last["step"] as? Int == step)
      #expect(try sandbox.events("stopped").last?["reason"] as? String == "signal")

      let end = ["training.maximum_steps=\(step + 15)"]
      try sandbox.train("stopped", ranks: 3, settings + end, ["--resume"])
      try sandbox.train("whole", ranks: 1, settings + end)
      try Self.expectSameEnd(sandbox, "stopped", "whole", step: step + 15)
      let kinds = ["step", "validation"]
      #expect(try sandbox.numbers("stopped", kinds: kinds) == sandbox.numbers("whole", kinds: kinds))
    }

    /// A signal during the last update of all: what is left to do is done on resuming.
    @Test func afterSignalInLastStep() throws {
      let sandbox = try Sandbox()
      let settings = ["training.maximum_steps=1"]
      // It stops itself in its only step.
      let running = try sandbox.start(
        ranks: 1, sandbox.training("stopped", settings), environment: ["LOCKSTEP_FAULT=stop@exchange:step=1"])
      let rank = try sandbox.waitForRank(running)
      waitUntilStopped(rank, running)
      kill(rank, SIGUSR1)
      kill(rank, SIGCONT)
      let outcome = try running.wait()
      #expect(outcome.exitCode == 75, "\(outcome)")
      #expect(try sandbox.events("stopped", "validation").isEmpty)
      try sandbox.train("stopped", settings, ["--resume"])
      try sandbox.train("whole", settings)
      try Self.expectSameEnd(sandbox, "stopped", "whole", step: 1)
      #expect(try sandbox.numbers("stopped", kinds: ["validation"]) == sandbox.numbers("whole", kinds: ["validation"]))
      #expect(try sandbox.linkedStep("stopped", "best") == 1)

      // A run that is done has nothing left to do.
      try sandbox.train("stopped", settings, ["--resume"])
      #expect(try sandbox.events("stopped", "validation").count == 1)
    }

    /// A second SIGTERM or SIGINT ends a rank at once, without a checkpoint; a second SIGUSR1 does no harm.
    @Test(arguments: [SIGTERM, SIGINT, SIGUSR1]) func afterTwoSignals(_ signal: Int32) throws {
      let sandbox = try Sandbox()
      // It stops itself twice in its only step: at each stop a signal comes.
      let running = try sandbox.start(
        ranks: 1, sandbox.training("run", ["training.maximum_steps=1"]),
        environment: ["LOCKSTEP_FAULT=stop@step:step=1;stop@exchange:step=1"])
      let rank = try sandbox.waitForRank(running)
      for place in 0..<2 {
        // After the first stop it takes the signal, and stops again.
        while running.process.isRunning && place == 1 && isPending(signal, rank) { usleep(2000) }
        waitUntilStopped(rank, running)
        kill(rank, signal)
        kill(rank, SIGCONT)
      }
      let outcome = try running.wait()
      #expect(outcome.exitCode == (signal == SIGUSR1 ? 75 : 128 + signal), "\(outcome)")
      #expect(sandbox.exists("run/checkpoints/latest") == (signal == SIGUSR1))
    }

    @Test func unordered() throws {
      let sandbox = try Sandbox()
      let settings = ["communication.reproducible=false", "training.accumulate_steps=2"]
      try sandbox.train("run", ranks: 3, settings)
      try sandbox.train("run", ranks: 2, settings + ["training.maximum_steps=25"], ["--resume"])
      #expect(try sandbox.linkedStep("run") == 25)
      #expect(try sandbox.events("run", "step").count == 25)
      #expect(try sandbox.checkpointsAreFinite("run"))
    }

    @Test func ofNothing() throws {
      let sandbox = try Sandbox()
      try sandbox.train("missing", [], ["--resume"])
      try FileManager.default.createDirectory(atPath: sandbox("empty"), withIntermediateDirectories: false)
      try sandbox.train("empty", ranks: 2, [], ["--resume"])
      try Self.expectSameEnd(sandbox, "missing", "empty", step: 12)
      #expect(try sandbox.events("empty", "resume").isEmpty)
    }

    /// Damage is passed over with a warning, as long as an older checkpoint stands.
    @Test(arguments: [(1, "model.safetensors"), (2, "training.safetensors"), (4, "state.json")])
    func passesOverDamage(ranks: Int, file: String) throws {
      let sandbox = try Sandbox()
      try sandbox.train("whole", ["training.maximum_steps=17"])
      try sandbox.train("run")
      let damaged = "\(sandbox.checkpoint("run", 12))/\(file)"
      var bytes = try sandbox.data(damaged)
      if ranks == 2 { bytes[bytes.count / 2] ^= 1 } else { bytes.removeLast(5) }
      try sandbox.write(damaged, bytes)

      try sandbox.expectFailure(65, [file], ranks: [ranks], ["evaluate", sandbox("run/checkpoints/latest")])
      let resumed = try sandbox.train("run", ranks: ranks, ["training.maximum_steps=17"], ["--resume"])
      #expect(resumed.warnings.count == 1 && resumed.warnings[0].contains(file), "\(resumed)")
      #expect(resumed.output.contains("Resumed at step 10"), "\(resumed)")
      try Self.expectSameEnd(sandbox, "run", "whole", step: 17)

      for name in try sandbox.names(in: "run/checkpoints") where name.hasPrefix("step-") {
        try sandbox.write("run/checkpoints/\(name)/\(file)", bytes.prefix(10))
      }
      let before = try sandbox.names(in: "run/checkpoints")
      try sandbox.expectFailure(65, [file], sandbox.training("run", ["training.maximum_steps=20"], ["--resume"]))
      #expect(try sandbox.names(in: "run/checkpoints") == before)
    }

    @Test func refusesAnotherRun() throws {
      let sandbox = try Sandbox()
      try sandbox.train("run", ranks: 2)
      let content = { [try sandbox.data("run/metrics.jsonl"), try sandbox.data("run/config.yaml"), try sandbox.data("run/checkpoints/latest/state.json")] }
      let before = try content()
      try sandbox.expectFailure(64, [sandbox("run"), "--resume"], sandbox.training("run", []))
      for setting in ["model.hidden_size=9", "training.batch_size=32", "training.seed=2", "training.shards=4", "optimizer.method=adam"] {
        let key = String(setting.prefix { $0 != "=" })
        try sandbox.expectFailure(64, [key], ranks: [1, 4], sandbox.training("run", [setting], ["--resume"]))
      }
      try sandbox.expectFailure(64, ["training.shards", "9"], ranks: [9], sandbox.training("run", [], ["--resume"]))
      try sandbox.write("short.txt", randomText(tokens: 150, types: 60, seed: 1))
      let shorter = sandbox.training("run", ["data.train=short.txt", "training.maximum_steps=20"], ["--resume"])
      try sandbox.expectFailure(64, ["data.train", "short.txt", "--new-data"], shorter)
      #expect(try content() == before)
    }
  }
}
