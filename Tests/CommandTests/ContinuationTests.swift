import Foundation
import Testing

extension CommandTests {
  /// What a run directory may go on with, and what commands take from it.
  @Suite struct Continuation {
    private func reversed(_ text: String) -> String {
      text.split(separator: "\n").reversed().joined(separator: "\n") + "\n"
    }

    /// Another training text of the same length and words under the same name.
    @Test func otherTrainingText() throws {
      let sandbox = try Sandbox()
      try sandbox.train("run", ["training.maximum_steps=12"])
      let text = try sandbox.text("train.txt"), model = try sandbox.data("run/checkpoints/latest/model.safetensors")
      let metrics = try sandbox.data("run/metrics.jsonl"), configuration = try sandbox.data("run/config.yaml")
      try sandbox.write("train.txt", reversed(text))
      let settings = ["training.maximum_steps=20", "data.train=train.txt"]
      try sandbox.expectFailure(64, ["data.train", "train.txt", "--new-data"], sandbox.training("run", settings, ["--resume"]))
      #expect(try sandbox.data("run/checkpoints/latest/model.safetensors") == model)
      #expect(try sandbox.data("run/metrics.jsonl") == metrics && sandbox.data("run/config.yaml") == configuration)

      // The same text under another name is no other text.
      try sandbox.write("moved.txt", text)
      for (ranks, directory) in [(1, "one"), (3, "three")] {
        try FileManager.default.copyItem(atPath: sandbox("run"), toPath: sandbox(directory))
        let outcome = try sandbox.train(directory, ranks: ranks, settings, ["--resume", "--new-data"])
        #expect(outcome.warnings.count { $0.contains("data.train") && $0.contains("epoch 2 begins again") } == 1, "\(outcome)")
      }
      let moved = try sandbox.train("run", ["training.maximum_steps=20", "data.train=moved.txt"], ["--resume"])
      #expect(moved.warnings.isEmpty, "\(moved)")
      let file = "checkpoints/latest/training.safetensors"
      #expect(try sandbox.data("one/\(file)") == sandbox.data("three/\(file)"))
      #expect(try sandbox.data("one/\(file)") != sandbox.data("run/\(file)"))
      // The epoch of 10 windows began again after 12 updates.
      #expect(try sandbox.events("one", "step").last?["epoch"] as? Int == 2 && sandbox.events("run", "step").last?["epoch"] as? Int == 2)
      // From now on this is the run's text.
      try sandbox.train("one", ["training.maximum_steps=22", "data.train=train.txt"], ["--resume"])
    }

    /// The same keys and lengths, and other features or labels.
    @Test(arguments: ["features", "labels"]) func otherTrainingArchive(part: String) throws {
      let sandbox = try Sandbox()
      try sandbox.writeSpeech()
      func train(_ further: [String], steps: Int) throws -> Outcome {
        try sandbox.run(ranks: 2, sandbox.speechTraining("run", ["training.maximum_steps=\(steps)"], further))
      }
      try #require(try train([], steps: 5).exitCode == 0)
      let other = randomUtterances(lengths: Sandbox.trainLengths, seed: 7)
      try sandbox.write("train-\(part).ark", part == "features" ? featureArchive(other) : labelArchive(other))
      let words = ["data.train", "train-features.ark", "--new-data"]
      try sandbox.expectFailure(64, words, sandbox.speechTraining("run", ["training.maximum_steps=10"], ["--resume"]))
      let outcome = try train(["--resume", "--new-data"], steps: 10)
      #expect(outcome.exitCode == 0 && outcome.warnings.contains { $0.contains("epoch 2 begins again") }, "\(outcome)")
    }

    /// Other keys and lengths; features keep the scale of the model, and no utterance may be longer than its statistics.
    @Test func longerArchive() throws {
      let sandbox = try Sandbox()
      try sandbox.writeSpeech()
      try #require(try sandbox.run(sandbox.speechTraining("run", ["training.maximum_steps=5"])).exitCode == 0)
      let record = try sandbox.text("run/checkpoints/latest/features.json")
      func mean(_ record: String) -> Substring? { record.firstRange(of: "\"mean\":").map { record[$0.upperBound...].prefix { $0 != "]" } } }
      try sandbox.write("train", randomUtterances(lengths: [4, 11, 3, 5], seed: 8))
      let further = ["--resume", "--new-data"], settings = ["training.maximum_steps=10"]
      try sandbox.expectFailure(64, ["data.train", "(21 of 108)"], sandbox.speechTraining("run", settings, ["--resume"]))
      try sandbox.expectFailure(64, ["11 frames", "data.maximum_frames: 9"], sandbox.speechTraining("run", settings, further))
      try sandbox.write("train", randomUtterances(lengths: [4, 9, 3, 5], seed: 8))
      let outcome = try sandbox.run(ranks: 2, sandbox.speechTraining("run", settings, further))
      #expect(outcome.exitCode == 0, "\(outcome)")
      let after = try sandbox.text("run/checkpoints/latest/features.json")
      #expect(mean(after) == mean(record) && mean(after) != nil && after.contains("\"utterances\":4"))
    }

    /// Losses on two texts cannot be compared, so the best model is looked for anew.
    @Test(arguments: [1, 2]) func otherValidation(ranks: Int) throws {
      let sandbox = try Sandbox()
      let settings = ["optimizer.learning_rate=0.01", "evaluation.statistics=running"]
      try sandbox.train("run", ranks: ranks, settings + ["training.maximum_steps=10"])
      // Hopeless, so that no loss on it is below those before.
      try sandbox.write("valid.txt", randomText(tokens: 300, types: 5, seed: 9))
      let outcome = try sandbox.train("run", ranks: ranks, settings + ["training.maximum_steps=11"], ["--resume"])
      #expect(outcome.warnings.count { $0.contains("data.validation") && $0.contains("best model is looked for anew") } == 1, "\(outcome)")
      #expect(try sandbox.linkedStep("run", "best") == 11)
      // A run that is at its end is judged again.
      try sandbox.write("valid.txt", randomText(tokens: 300, types: 40, seed: 10))
      let again = try sandbox.train("run", ranks: ranks, settings + ["training.maximum_steps=11"], ["--resume"])
      #expect(again.output.contains("step 11: validation loss") && again.output.contains("(best so far)"), "\(again)")
      let quiet = try sandbox.train("run", ranks: ranks, settings + ["training.maximum_steps=11"], ["--resume"])
      #expect(quiet.warnings.isEmpty && !quiet.output.contains("validation loss 0"), "\(quiet)")
    }

    @Test func otherConfiguration() throws {
      let sandbox = try Sandbox()
      try sandbox.train("run")
      let settings = ["model.hidden_size=9", "training.seed=4", "optimizer.learning_rate=0.5", "training.epochs=3"]
      try sandbox.expectFailure(
        64, ["model.hidden_size is 9, but the run began with 8", "training.seed is 4, but the run began with 1"],
        sandbox.training("run", settings, ["--resume"]))
    }

    @Test func whatBegins() throws {
      let sandbox = try Sandbox()
      let new = try sandbox.train("run", [], ["--resume"])
      #expect(new.output.contains("No run lies in"), "\(new)")
      let resumed = try sandbox.train("run", ["training.maximum_steps=14"], ["--resume", "--initialize-from", "absent.safetensors"])
      #expect(resumed.warnings.count { $0.contains("--initialize-from absent.safetensors is not read") } == 1, "\(resumed)")
      #expect(!resumed.output.contains("No run lies in") && resumed.output.contains("Resumed at step 12"), "\(resumed)")
    }

    /// Steps that come twice have a line between them.
    @Test func restart() throws {
      let sandbox = try Sandbox()
      let settings = ["checkpoint.every_steps=null", "training.maximum_steps=100000", "training.epochs=100000", "evaluation.every_epochs=100000"]
      let running = try sandbox.start(ranks: 2, sandbox.training("run", settings))
      try sandbox.waitForSteps(3, of: "run", running)
      for rank in try sandbox.rankProcesses() { kill(rank, SIGKILL) }
      _ = try running.wait()
      let again = try sandbox.train("run", ranks: 2, ["training.maximum_steps=5"], ["--resume"])
      #expect(again.output.contains("has no checkpoint: it begins again"), "\(again)")
      let kinds = try sandbox.text("run/metrics.jsonl").split(separator: "\n").compactMap { line in
        try (JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]).map { ($0["event"] as? String ?? "", $0["step"] as? Int) }
      }
      let restart = try #require(kinds.firstIndex { $0.0 == "restart" })
      #expect(kinds[restart].1 == 0 && kinds.count { $0.0 == "restart" } == 1)
      #expect(kinds[..<restart].contains { $0.0 == "step" } && kinds[restart...].first { $0.0 == "step" }?.1 == 1)
    }

    /// A run directory means its best checkpoint, and the output names the step.
    @Test func bestCheckpoint() throws {
      let sandbox = try Sandbox()
      try sandbox.train("run", ["optimizer.learning_rate=0.5", "training.maximum_steps=20", "checkpoint.keep=100"])
      // The best is the last here; the link decides.
      let link = sandbox("run/checkpoints/best")
      try FileManager.default.removeItem(atPath: link)
      try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: "step-00000010")
      for (path, step) in [("run", 10), ("run/checkpoints/latest", 20), ("run/checkpoints/step-00000015", 15)] {
        let outcome = try sandbox.run(["evaluate", path])
        #expect(outcome.exitCode == 0 && outcome.output.contains("(step \(step))"), "\(outcome)")
        let generated = try sandbox.run(["generate", path, "--tokens", "3"])
        #expect(generated.exitCode == 0 && generated.errors.contains("step \(step)"), "\(generated)")
      }
      // A run that was never validated.
      try FileManager.default.removeItem(atPath: link)
      #expect(try sandbox.run(["evaluate", "run"]).output.contains("(step 20)"))
    }

    /// A pipe that nobody writes to, in place of each file that a command reads.
    @Test func pipes() throws {
      let sandbox = try Sandbox()
      for name in ["pipe", "pipe.yaml", "pipe.safetensors", "pipe.ark", "pipe.scp"] { unsafe mkfifo(sandbox(name), 0o600) }
      for (code, arguments) in [
        (64, ["train", "pipe.yaml"]), (64, ["benchmark", "pipe.yaml"]), (64, ["inspect", "pipe.yaml"]), (65, ["inspect", "pipe.safetensors"]),
        (65, ["inspect", "pipe.ark"]), (65, ["inspect", "pipe.scp"]), (65, sandbox.training("a", [], ["--initialize-from", "pipe.safetensors"])),
        (65, sandbox.training("b", ["data.train=pipe"])), (65, sandbox.training("c", ["data.validation=pipe"])),
      ] as [(Int32, [String])] {
        try sandbox.expectFailure(code, ["pipe"], ranks: [1], arguments)
      }
      try sandbox.train("run")
      for name in ["state.json", "model.safetensors", "vocabulary.json"] {
        let file = sandbox("run/checkpoints/step-00000012/\(name)"), kept = try Data(contentsOf: URL(fileURLWithPath: file))
        try FileManager.default.removeItem(atPath: file)
        unsafe mkfifo(file, 0o600)
        try sandbox.expectFailure(65, [name, "pipe"], ranks: [1], ["evaluate", "run/checkpoints/step-00000012"])
        try FileManager.default.removeItem(atPath: file)
        try kept.write(to: URL(fileURLWithPath: file))
      }
    }

    /// A file system without symbolic links: files name the checkpoints. The run can go on where there are links, and back.
    @Test(arguments: [1, 2]) func withoutLinks(ranks: Int) throws {
      let sandbox = try Sandbox(), library = "libWithoutLinks.so"
      func train(_ steps: Int, _ further: [String] = [], preloading: String?) throws -> Outcome {
        try sandbox.start(
          ranks: ranks, sandbox.training("run", ["training.maximum_steps=\(steps)", "checkpoint.keep=2"], further), preloading: preloading).wait()
      }
      let first = try train(12, preloading: library)
      #expect(first.exitCode == 0 && first.warnings.isEmpty && first.output.contains("Test loss"), "\(first)")
      #expect(try sandbox.text("run/checkpoints/latest") == "step-00000012\n")
      #expect(try sandbox.names(in: "run/checkpoints").count { $0.hasPrefix("step-") } <= 3)
      for path in ["run", "run/checkpoints/latest", "run/checkpoints/best"] {
        #expect(try sandbox.run(["evaluate", path]).output.contains("(step "), "\(path)")
      }
      let second = try train(17, ["--resume"], preloading: nil)
      #expect(second.exitCode == 0 && second.output.contains("Resumed at step 12"), "\(second)")
      #expect(try sandbox.linkedStep("run") == 17)
      let third = try train(23, ["--resume"], preloading: library)
      #expect(third.exitCode == 0 && third.output.contains("Resumed at step 17"), "\(third)")
      #expect(try sandbox.text("run/checkpoints/latest") == "step-00000023\n")
      try sandbox.train("whole", ranks: ranks, ["training.maximum_steps=23"])
      let file = "checkpoints/step-00000023/model.safetensors"
      #expect(try sandbox.data("run/\(file)") == sandbox.data("whole/\(file)"))
    }

    /// Links in a run directory lead to what is somebody else's.
    @Test(arguments: ["lock", "metrics.jsonl"]) func links(name: String) throws {
      let sandbox = try Sandbox()
      try FileManager.default.createDirectory(atPath: sandbox("run"), withIntermediateDirectories: false)
      try sandbox.write("precious", "not of this run")
      try FileManager.default.createSymbolicLink(atPath: sandbox("run/\(name)"), withDestinationPath: sandbox("precious"))
      try sandbox.expectFailure(65, ["run/\(name)", "symbolic link"], sandbox.training("run", [], ["--resume"]))
      #expect(try sandbox.text("precious") == "not of this run")
    }
  }
}
