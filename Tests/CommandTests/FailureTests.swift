import Foundation
import Testing

extension CommandTests {
  /// Numbers that are not finite, and disks that are full.
  @Suite struct Failures {
    @Test func divergence() throws {
      let sandbox = try Sandbox()
      let settings = ["optimizer.learning_rate=1e30", "optimizer.clip_norm=null", "checkpoint.every_steps=1"]
      for ranks in [1, 2, 4] {
        let run = "run-\(ranks)"
        try sandbox.expectFailure(65, ["step 2", "rank 0", "lstm.0.forward"], ranks: [ranks], sandbox.training(run, settings))
        #expect(try sandbox.linkedStep(run) == 1)
        #expect(try sandbox.checkpointsAreFinite(run))
        #expect(try sandbox.events(run).last?["reason"] as? String == "error")
      }
      // With one step the validation is the first to see it.
      let one = settings + ["training.maximum_steps=1"]
      try sandbox.expectFailure(65, ["step 1", "validation", "lstm.0.forward"], ranks: [1, 3], sandbox.training("one", one, ["--resume"]))
      #expect(try !sandbox.names(in: "one/checkpoints").contains { $0.hasPrefix("step-") })
    }

    @Test func weightsThatAreNoNumbers() throws {
      let sandbox = try Sandbox()
      try sandbox.train("source", ["training.maximum_steps=1"])
      var tensors = try sandbox.tensors("source/checkpoints/latest/model.safetensors").filter { !$0.name.contains(".running_") }
      let index = try #require(tensors.firstIndex { $0.name == "lstm.1.forward.recurrent_weight" })
      tensors[index].values[7] = .nan
      try sandbox.write("nan.safetensors", FileTensor.write(tensors))
      let arguments = sandbox.training("run", [], ["--resume", "--initialize-from", "nan.safetensors"])
      try sandbox.expectFailure(65, ["step 1", "rank 0", "lstm.1.forward.recurrent_weight"], arguments)
      #expect(try !sandbox.names(in: "run/checkpoints").contains { $0.hasPrefix("step-") })
    }

    /// The loss is finite, its gradient too, and the update overflows.
    @Test func updateThatOverflows() throws {
      let sandbox = try Sandbox()
      try sandbox.train("source", ["training.maximum_steps=1"])
      var tensors = try sandbox.tensors("source/checkpoints/latest/model.safetensors").filter { !$0.name.contains(".running_") }
      let index = try #require(tensors.firstIndex { $0.name == "output.weight" })
      tensors[index].values = tensors[index].values.map { $0 * 1000 }
      try sandbox.write("large.safetensors", FileTensor.write(tensors))
      let settings = ["optimizer.learning_rate=3e38", "optimizer.clip_norm=null", "checkpoint.every_steps=1"]
      try sandbox.expectFailure(
        65, ["step 1", "not finite"], sandbox.training("run", settings, ["--resume", "--initialize-from", "large.safetensors"]))
      #expect(try !sandbox.names(in: "run/checkpoints").contains { $0.hasPrefix("step-") })
    }

    /// Gradients that single precision holds and float16 does not.
    @Test func gradientThatOverflowsOnTheWire() throws {
      let sandbox = try Sandbox()
      try sandbox.train("source", ["training.maximum_steps=1"])
      var tensors = try sandbox.tensors("source/checkpoints/latest/model.safetensors").filter { !$0.name.contains(".running_") }
      let index = try #require(tensors.firstIndex { $0.name == "output.weight" })
      tensors[index].values = tensors[index].values.map { $0 * 1e9 }
      try sandbox.write("large.safetensors", FileTensor.write(tensors))
      func arguments(_ run: String, _ format: String) -> [String] {
        let settings = ["communication.gradients=\(format)", "training.maximum_steps=1"]
        return sandbox.training(run, settings, ["--initialize-from", "large.safetensors"])
      }
      for ranks in [1, 2, 4] {
        let words = ["step 1", "gradient norm", "float16", "65504", "communication.gradients"]
        try sandbox.expectFailure(65, words, ranks: [ranks], arguments("half-\(ranks)", "float16"))
        #expect(try !sandbox.names(in: "half-\(ranks)/checkpoints").contains { $0.hasPrefix("step-") })
      }
      for format in ["float32", "bfloat16"] {
        let outcome = try sandbox.run(ranks: 2, arguments(format, format))
        #expect(outcome.exitCode == 0, "\(outcome)")
      }
    }

    @Test func metricsOnFullDisk() throws {
      let sandbox = try Sandbox()
      try FileManager.default.createDirectory(atPath: sandbox("run"), withIntermediateDirectories: false)
      // As long as no other file of the beginning of a run, so that files may grow to this size and no further.
      let before = String(repeating: "{\"event\":\"end\",\"reason\":\"done\"}\n", count: 400)
      try sandbox.write("run/metrics.jsonl", before)
      let outcome = try sandbox.run(sandbox.training("run", [], ["--resume"]), environment: ["prlimit", "--fsize=\(before.utf8.count)"])
      #expect(outcome.exitCode == 74 && outcome.errorMessages.count == 1, "\(outcome)")
      #expect(outcome.errorMessages.first?.contains("metrics.jsonl: File too large") == true, "\(outcome)")
      #expect(try sandbox.text("run/metrics.jsonl") == before)
    }

    /// What a run needs is counted before any of it is allocated.
    @Test(arguments: [
      "model.hidden_size=20000", "model.hidden_size=65536", "model.layers=32 model.hidden_size=65536 training.accumulate_steps=1024",
      "model.embedding_size=65536 optimizer.method=adam model.hidden_size=30000",
    ])
    func withoutMemory(settings: String) throws {
      let sandbox = try Sandbox()
      let settings = settings.split(separator: " ").map(String.init)
      let outcome = try sandbox.run(sandbox.training("run", settings), environment: ["prlimit", "--as=\(3 << 30)"])
      #expect(outcome.exitCode == 64 && outcome.errorMessages.count == 1, "\(outcome)")
      for words in ["not enough memory", "free", "the largest parts", "gradients"] {
        #expect(outcome.errorMessages.first?.contains(words) == true, "\(outcome)")
      }
      #expect(!sandbox.exists("run"))
      // No host has so much.
      if settings.count > 1 { try sandbox.expectFailure(64, ["not enough memory on", "2 ranks need"], ranks: [2], sandbox.training("run", settings)) }
    }

    @Test func moreShardsAndClassesThanFit() throws {
      let sandbox = try Sandbox()
      try sandbox.writeSpeech()
      try sandbox.expectFailure(
        64, ["training.shards", "1048576", "at most training.batch_size"], ["train", "speech.yaml", "--set", "training.shards=1048576"])
      let classes = ["--set", "data.classes=2147483647"]
      try sandbox.expectFailure(64, ["data.classes", "2147483647", "output layer", "free"], ["train", "speech.yaml"] + classes)
      try sandbox.expectFailure(64, ["data.classes", "2147483647"], ["benchmark", "speech.yaml"] + classes)
      try sandbox.expectFailure(64, ["not enough memory"], ["benchmark", "tiny.yaml", "--set", "model.hidden_size=65536"])
    }

    @Test func dryRun() throws {
      let sandbox = try Sandbox()
      let whole = sandbox.training("deep/run", [], ["--dry-run"])
      for ranks in [1, 2] {
        let outcome = try sandbox.run(ranks: ranks, whole)
        #expect(outcome.exitCode == 0 && outcome.errors.isEmpty, "\(outcome)")
        for words in [
          "parameters; \(ranks) rank", "Memory of a rank", "activations of training", ranks == 1 ? "one rank needs" : "2 ranks need",
          "Steps of an epoch: 10; of the run: 12", "A step takes", "for the 12 steps of the run", "Nothing was written",
        ] { #expect(outcome.output.contains(words), "no \(words) in: \(outcome)") }
        #expect(!sandbox.exists("deep") && !sandbox.exists("Runs"))
      }
      try sandbox.expectFailure(64, ["model.hidden_size"], sandbox.training("run", ["model.hidden_size=0"], ["--dry-run"]))
      try sandbox.expectFailure(65, ["absent.txt"], sandbox.training("run", ["data.train=absent.txt"], ["--dry-run"]))
      try sandbox.write("file", "")
      try sandbox.expectFailure(74, ["file/run"], sandbox.training("file/run", [], ["--dry-run"]))

      try sandbox.train("run", ["training.maximum_steps=5"])
      let before = try sandbox.names(in: "run"), events = try sandbox.text("run/metrics.jsonl")
      try sandbox.expectFailure(64, ["holds a run"], sandbox.training("run", [], ["--dry-run"]))
      let outcome = try sandbox.run(ranks: 2, sandbox.training("run", [], ["--dry-run", "--resume"]))
      #expect(outcome.exitCode == 0 && outcome.output.contains("for the 7 steps that are left"), "\(outcome)")
      #expect(try sandbox.names(in: "run") == before && sandbox.text("run/metrics.jsonl") == events)
    }

    @Test func directoryThatCannotBe() throws {
      let sandbox = try Sandbox()
      try sandbox.write("file", "")
      try sandbox.expectFailure(74, ["file/run"], sandbox.training("file/run", []))
      try sandbox.expectFailure(74, ["/proc/lockstep"], ["train", "tiny.yaml", "--run-directory", "/proc/lockstep/run"])
    }

    /// Files may grow no more while the run writes its checkpoints: the last one stands, and the run goes on from it to the same end.
    @Test(arguments: [1, 2]) func checkpointOnFullDisk(ranks: Int) throws {
      let sandbox = try Sandbox()
      let settings = ["model.hidden_size=48", "training.epochs=100000"]
      let running = try sandbox.start(ranks: ranks, sandbox.training("run", settings + ["training.maximum_steps=100000", "checkpoint.every_steps=10"]))
      try sandbox.waitForSteps(22, of: "run", running)
      var limited = 0
      for rank in try sandbox.rankProcesses() {
        // Larger than the metrics of a few seconds, smaller than a checkpoint of momenta and weights.
        let limiter = Process()
        limiter.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        limiter.arguments = ["prlimit", "--pid", "\(rank)", "--fsize=100000"]
        try limiter.run()
        limiter.waitUntilExit()
        // As soon as the writing rank has its limit the job may end, and the other ranks with it.
        if limiter.terminationStatus == 0 { limited += 1 }
      }
      #expect(limited > 0)
      let outcome = try running.wait()
      #expect(outcome.exitCode == 74, "\(outcome)")
      #expect(outcome.errorMessages.count == 1, "\(outcome)")
      #expect(try sandbox.checkpointsAreFinite("run"))
      let step = try sandbox.linkedStep("run"), names = try sandbox.names(in: "run/checkpoints")
      #expect(step >= 10 && !names.contains { $0.contains("partial") }, "\(names)")

      let end = settings + ["training.maximum_steps=\(step + 10)"]
      try sandbox.train("run", ranks: ranks, end, ["--resume"])
      try sandbox.train("whole", ranks: 1, end)
      try Resuming.expectSameEnd(sandbox, "run", "whole", step: step + 10)
    }

    /// With `checkpoint.on_error: continue` a run gets over a disk that is full for a while, says so, and writes checkpoints again.
    @Test(arguments: [1, 2]) func fullDiskForAWhile(ranks: Int) throws {
      let sandbox = try Sandbox()
      let settings = ["model.hidden_size=48", "training.epochs=100000", "checkpoint.on_error=continue", "evaluation.every_epochs=100000"]
      let running = try sandbox.start(ranks: ranks, sandbox.training("run", settings + ["training.maximum_steps=100000", "checkpoint.every_steps=10"]))
      try sandbox.waitForSteps(12, of: "run", running)
      func limit(_ bytes: String) throws {
        for rank in try sandbox.rankProcesses() {
          let limiter = Process()
          limiter.executableURL = URL(fileURLWithPath: "/usr/bin/env")
          limiter.arguments = ["prlimit", "--pid", "\(rank)", "--fsize=\(bytes):unlimited"]
          try limiter.run()
          limiter.waitUntilExit()
          try #require(limiter.terminationStatus == 0)
        }
      }
      // Smaller than a checkpoint; events may find no room either.
      try limit("100000")
      for _ in 0..<2000 where !(try sandbox.text("errors-1")).contains("the run goes on") && running.process.isRunning { usleep(5000) }
      try limit("unlimited")
      let before = (try? sandbox.linkedStep("run")) ?? 0
      for _ in 0..<2000 where (try? sandbox.linkedStep("run")) ?? 0 < before + 20 && running.process.isRunning { usleep(5000) }
      for rank in try sandbox.rankProcesses() { kill(rank, SIGUSR1) }
      let outcome = try running.wait()
      #expect(outcome.exitCode == 75 && outcome.errorMessages.isEmpty, "\(outcome)")
      #expect(outcome.warnings.contains { $0.contains("no checkpoint was written, and the run goes on") }, "\(outcome)")
      #expect(try !sandbox.names(in: "run/checkpoints").contains { $0.contains("partial") })
      let end = try sandbox.linkedStep("run") + 5
      try sandbox.train("run", settings + ["training.maximum_steps=\(end)"], ["--resume"])
      try sandbox.train("whole", settings + ["training.maximum_steps=\(end)"])
      try Resuming.expectSameEnd(sandbox, "run", "whole", step: end)
    }

    /// Nobody reads the output any more: the run goes on.
    @Test func outputThatNobodyReads() throws {
      let sandbox = try Sandbox()
      let running = try RunningCommand(
        ["bash", "-c", "set -o pipefail; \"$@\" | true", "bash", try Sandbox.program()] + sandbox.training("run", []), in: sandbox.path,
        files: (sandbox("output"), sandbox("errors")))
      let outcome = try running.wait()
      #expect(outcome.exitCode == 0, "\(outcome)")
      #expect(try sandbox.linkedStep("run") == 12)
    }
  }
}
