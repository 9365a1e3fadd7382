import Foundation
import Testing

extension CommandTests {
  /// The commands beside `train`, and the command line.
  @Suite struct Commands {
    /// The loss that `evaluate` prints.
    private func evaluate(_ sandbox: Sandbox, ranks: Int = 1, _ checkpoint: String, _ further: [String] = []) throws -> Double {
      let outcome = try sandbox.run(ranks: ranks, ["evaluate", checkpoint] + further)
      #expect(outcome.exitCode == 0 && outcome.errorMessages.isEmpty, "\(outcome)")
      return try #require(outcome.output.firstMatch(of: /loss ([-+.e0-9]+) nats/).flatMap { Double($0.1) }, "\(outcome)")
    }

    private func loss(_ sandbox: Sandbox, _ run: String, _ kind: String, step: Int) throws -> Double {
      // Not through JSONSerialization, which does not read every double back exactly.
      let line = try sandbox.numbers(run, kinds: [kind]).last { $0.contains("\"step\":\(step),") }
      return try #require(line?.firstMatch(of: /"loss":([-+.e0-9]+)/).flatMap { Double($0.1) })
    }

    /// A run that is resumed at its end with other statistics is tested with those.
    /// What the parser refuses, and what the commands themselves refuse, alone and on several ranks.
    @Test func errorsOfUsageNameTheHelp() throws {
      let sandbox = try Sandbox()
      try sandbox.train("run", ["training.maximum_steps=1"])
      for (command, arguments) in [
        ("train", sandbox.training("run", [])), ("evaluate", ["evaluate", "run", "--labels", "x.ark"]),
        ("benchmark", ["benchmark", "tiny.yaml", "--steps", "0"]), ("inspect", ["inspect", "nothing"]),
      ] {
        for ranks in [1, 2] {
          let outcome = try sandbox.run(ranks: ranks, arguments)
          #expect(outcome.exitCode == 64 && outcome.errorMessages.count == 1, "\(outcome)")
          #expect(outcome.errorMessages.first?.hasSuffix("(lockstep \(command) --help shows more)") == true, "\(outcome)")
        }
      }
      let parsed = try sandbox.run(["evaluate", "run", "--nonsense"])
      #expect(parsed.exitCode == 64 && parsed.errors.contains("See 'lockstep evaluate --help' for more information."), "\(parsed)")
      // A configuration is explained where it is wrong.
      let configuration = try sandbox.run(sandbox.training("other", ["model.cell=gru2"]))
      #expect(configuration.exitCode == 64 && !configuration.errors.contains("--help"), "\(configuration)")
    }

    @Test func testsWithTheConfiguredStatistics() throws {
      let sandbox = try Sandbox(), settings = ["training.maximum_steps=20", "normalization.scope=local", "evaluation.every_epochs=100"]
      let averaged = "evaluation.statistics=averaged"
      try sandbox.train("averaged", settings + [averaged])
      try sandbox.train("changed", settings)
      try sandbox.train("changed", settings + [averaged], ["--resume"])
      let wanted = try #require(try sandbox.events("averaged", "test").last?["loss"] as? Double)
      let found = try sandbox.events("changed", "test").compactMap { $0["loss"] as? Double }
      #expect(found.count == 2 && found[1] == wanted && found[0] != wanted)
    }

    /// Whitened inputs have no statistics of batches, so that evaluation never wants the training text.
    @Test func evaluatesWhitenedInputsWithoutTheTrainingText() throws {
      let sandbox = try Sandbox()
      try sandbox.train("run", ["training.maximum_steps=6", "normalization.placement=whitened-input", "checkpoint.every_steps=3"])
      try FileManager.default.removeItem(atPath: sandbox("train.txt"))
      for step in ["00000003", "00000006"] {
        let outcome = try sandbox.run(["evaluate", "run/checkpoints/step-\(step)", "--set", "evaluation.statistics=averaged"])
        #expect(outcome.exitCode == 0 && outcome.output.contains("perplexity"), "\(outcome)")
      }
      try sandbox.expectFailure(64, ["task"], ranks: [1], ["evaluate", "run", "--set", "task=frame-classification"])
    }

    @Test func evaluateAsInTraining() throws {
      let sandbox = try Sandbox()
      let kinds = ["population", "running", "averaged", "batch"]
      for kind in kinds { try sandbox.train(kind, ["evaluation.statistics=\(kind)", "training.maximum_steps=20"]) }
      let expected = try Dictionary(uniqueKeysWithValues: kinds.map { ($0, try loss(sandbox, $0, "validation", step: 20)) })
      #expect(Set(expected.values).count == kinds.count)
      for run in kinds {
        for ranks in [1, 2] {
          let last = "\(run)/checkpoints/latest"
          #expect(try evaluate(sandbox, ranks: ranks, last) == expected[run])
          // The weights of the two runs are the same: each can be evaluated as the other.
          for kind in kinds {
            #expect(try evaluate(sandbox, ranks: ranks, last, ["--set", "evaluation.statistics=\(kind)"]) == expected[kind], "\(run) as \(kind)")
          }
        }
        let best = try sandbox.linkedStep(run, "best")
        let test = try loss(sandbox, run, "test", step: best)
        #expect(try evaluate(sandbox, ranks: 2, "\(run)/checkpoints/best", ["--data", "test.txt"]) == test)
      }
      // A single text has no statistics of its own.
      let generated = try ["running", "batch"].map { try sandbox.run(["generate", "\($0)/checkpoints/latest", "--tokens", "9"]) }
      #expect(generated[0].output == generated[1].output && generated.map(\.warnings.count) == [0, 1], "\(generated)")
    }

    @Test func evaluateInStreams() throws {
      let sandbox = try Sandbox()
      try sandbox.train("run")
      let parts = try evaluate(sandbox, "run")
      #expect(try evaluate(sandbox, "run", ["--set", "evaluation.streams=24"]) == parts)
      // Fewer streams than shards, so that some shards have none.
      for streams in [1, 7, 199, 1000] {
        let setting = ["--set", "evaluation.streams=\(streams)"]
        let alone = try evaluate(sandbox, "run", setting)
        for ranks in [2, 5] { #expect(try evaluate(sandbox, ranks: ranks, "run", setting) == alone, "\(streams) streams") }
        // Other states at the beginnings of streams, and nothing else.
        #expect(alone != parts && abs(alone - parts) < 0.1)
      }
    }

    @Test func evaluateWhatIsNone() throws {
      let sandbox = try Sandbox()
      try sandbox.train("run")
      try sandbox.expectFailure(65, ["nowhere"], ranks: [1, 2], ["evaluate", "nowhere"])
      try sandbox.expectFailure(65, ["nowhere.txt"], ["evaluate", "run", "--data", "nowhere.txt"])
      try sandbox.expectFailure(64, ["model.hidden"], ranks: [1, 2], ["evaluate", "run", "--set", "model.hidden=3"])
      try sandbox.expectFailure(64, ["model.hidden_size is 9", "trained with 8"], ranks: [1, 2], ["evaluate", "run", "--set", "model.hidden_size=9"])
      for setting in ["training.unroll_steps=6", "data.unknown=add", "model.cell=gru", "normalization.placement=none"] {
        try sandbox.expectFailure(64, [String(setting.prefix { $0 != "=" }), "trained with"], ["evaluate", "run", "--set", setting])
      }
    }

    @Test func generateWords() throws {
      let sandbox = try Sandbox()
      try sandbox.train("run", ranks: 2, ["training.maximum_steps=60"])
      func generate(_ further: [String], ranks: Int = 1) throws -> String {
        let outcome = try sandbox.run(ranks: ranks, ["generate", "run"] + further)
        // Standard output is the text alone.
        #expect(outcome.exitCode == 0 && outcome.errors == "lockstep: model of step 60\n", "\(outcome)")
        return outcome.output
      }
      let first = try generate(["--tokens", "40"])
      #expect(try generate(["--tokens", "40"]) == first)
      #expect(try generate(["--tokens", "40"], ranks: 2) == first)
      #expect(try generate(["--tokens", "40", "--seed", "2"]) != first)
      // Every newline but the last is a token.
      let words = first.split { $0 == " " || $0 == "\n" }.count + first.dropLast().count { $0 == "\n" }
      #expect(words == 40, "\(first)")
      #expect(first.split { $0 == " " || $0 == "\n" }.allSatisfy { $0 == "<unk>" || $0.hasPrefix("w") })
      let likely = try generate(["--temperature", "0"])
      #expect(try generate(["--temperature", "0", "--seed", "7"]) == likely)
      #expect(try generate(["--temperature", "0.0001"]) == likely)
      #expect(try generate(["--prompt", "zebra w1", "--tokens", "2"]).hasPrefix("<unk> w1"))
      try sandbox.expectFailure(64, ["--temperature"], ranks: [1, 2], ["generate", "run", "--temperature", "-1"])
      try sandbox.expectFailure(65, ["nowhere"], ranks: [1, 2], ["generate", "nowhere"])
    }

    @Test func charactersAndUnknownPrompts() throws {
      let sandbox = try Sandbox()
      try sandbox.write("train.txt", String(repeating: "caf\u{E9} au lait\n", count: 60))
      try sandbox.write("valid.txt", "lait au caf\u{E9}\n")
      try sandbox.train("run", ranks: 2, ["data.unit=character", "data.test=null"])
      #expect(try sandbox.events("run", "validation").last?["frames"] as? Int == 12)
      let outcome = try sandbox.run(["generate", "run", "--prompt", "au", "--tokens", "30"])
      #expect(outcome.exitCode == 0 && outcome.output.unicodeScalars.count == 2 + 30 + 1 && outcome.output.hasPrefix("au"), "\(outcome)")
      try sandbox.expectFailure(65, ["z", "prompt"], ranks: [1, 2], ["generate", "run", "--prompt", "z"])
    }

    @Test func inspect() throws {
      let sandbox = try Sandbox()
      try sandbox.train("run", ranks: 2)
      func inspect(_ path: String, ranks: Int = 1) throws -> String {
        let outcome = try sandbox.run(ranks: ranks, ["inspect", path])
        #expect(outcome.exitCode == 0 && outcome.errors.isEmpty, "\(outcome)")
        return outcome.output
      }
      #expect(try inspect("tiny.yaml").contains("hidden_size: 8"))
      let run = try inspect("run", ranks: 2)
      #expect(run.contains("12 × step") && run.contains("latest: step 12"), "\(run)")
      #expect(run.split(separator: "\n").count { $0.hasPrefix("latest") } == 1, "printed more than once")
      let checkpoint = try inspect("run/checkpoints/latest")
      #expect(checkpoint.contains("step 12") && checkpoint.contains("output.weight  F32 [40, 8]"), "\(checkpoint)")
      #expect(try inspect("run/checkpoints/latest/model.safetensors").contains("embedding.weight  F32 [40, 6]"))

      try sandbox.expectFailure(64, ["nowhere"], ranks: [1, 2], ["inspect", "nowhere"])
      try sandbox.expectFailure(64, ["train.txt"], ranks: [1], ["inspect", "train.txt"])
      try FileManager.default.createDirectory(atPath: sandbox("empty"), withIntermediateDirectories: false)
      try sandbox.expectFailure(64, ["empty"], ranks: [1], ["inspect", "empty"])
      try sandbox.write("bad.safetensors", "nonsense")
      try sandbox.expectFailure(65, ["bad.safetensors"], ranks: [1], ["inspect", "bad.safetensors"])
      try sandbox.write("run/checkpoints/latest/vocabulary.json", "[]")
      try sandbox.expectFailure(65, ["vocabulary.json"], ranks: [1], ["inspect", "run/checkpoints/latest"])
      #expect(try inspect("run").contains("vocabulary.json"))
    }

    @Test func benchmark() throws {
      let sandbox = try Sandbox()
      let outcome = try sandbox.run(ranks: 2, ["benchmark", "tiny.yaml", "--steps", "3", "--json"])
      #expect(outcome.exitCode == 0, "\(outcome)")
      let line = try #require(outcome.output.split(separator: "\n").last)
      let object = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
      #expect(object["steps"] as? Int == 3 && object["ranks"] as? Int == 2 && object["tokens_per_step"] as? Int == 120)
      #expect((object["tokens_per_second"] as? Double ?? 0) > 0)
      #expect(!(object["phase_seconds"] as? [String: Any] ?? [:]).isEmpty)
      for words in ["limit ", "reached ", "most over its limit: ", "multiply-adds in registers ", "reduction of a step's gradient"] {
        #expect(outcome.output.contains(words), "no \(words)in: \(outcome)")
      }
      let limit = try #require(object["limit"] as? [String: Any]), rates = try #require(object["rates"] as? [String: Any])
      // 2 layers, 24 sequences of 5 steps, G = 32 and H = 8: 2 · 2 · (120 + 96) · 32 · 8.
      let phases = try #require(limit["phases"] as? [String: [String: Double]])
      #expect(phases["recurrence"]?["floating_point_operations"] == 221_184.0)
      #expect(limit["reduction_seconds"] as? Double ?? 0 > 0)
      #expect((limit["most_over_limit"] as? [String: Any])?["phase"] is String)
      // What a step reaches of the limit is the ratio of the two rates.
      let atLimit = try #require(limit["frames_per_second"] as? Double), share = try #require(object["share_of_limit"] as? Double)
      let reached = try #require(object["frames_per_second"] as? Double)
      #expect(abs(share - reached / atLimit) <= 1e-12 * share)
      for rate in ["multiply_add_peak", "memory_bandwidth", "update_bandwidth"] { #expect(rates[rate] as? Double ?? 0 > 0, "\(rate)") }
      let products = try #require(rates["products"] as? [[String: Any]])
      #expect(products.count == 10 && products.allSatisfy { $0["own"] as? Double ?? 0 > 0 && $0["blas"] as? Double ?? 0 > 0 })
      #expect(rates["reduction"] is [String: Any])
      let hosts = (object["machine"] as? [String: Any])?["hosts"] as? [[String: Any]] ?? []
      #expect(hosts.reduce(0) { $0 + ($1["ranks"] as? Int ?? 0) } == 2)
      #expect(!sandbox.exists("Runs"))
      try sandbox.expectFailure(64, ["--steps"], ranks: [1, 2], ["benchmark", "tiny.yaml", "--steps", "0"])
    }

    @Test(arguments: [
      [], ["normalization.placement=input"], ["normalization.placement=input", "normalization.statistics=sequence", "model.cell=rnn"],
      ["normalization.placement=preactivation", "normalization.scope=local"],
      ["normalization.placement=input", "normalization.scope={group: 4}", "training.accumulate_steps=2", "optimizer.method=adam"],
      ["normalization.placement=separate", "normalization.scope={group: 2}", "model.initial_state=learned"],
      ["normalization.placement=hidden", "model.cell=gru"], ["normalization.placement=state", "model.tied_embedding=true", "model.embedding_size=8"],
      ["normalization.placement=whitened-input"], ["normalization.method=layer", "normalization.placement=separate"],
    ])
    func stepsAllocateNothing(_ settings: [String]) throws {
      for ranks in [1, 2] {
        let sandbox = try Sandbox()
        let arguments = ["benchmark", "tiny.yaml", "--steps", "50", "--json"] + settings.flatMap { ["--set", $0] }
        let outcome = try sandbox.start(ranks: ranks, arguments, preloading: "libAllocationCounter.so").wait()
        let line = try #require(outcome.output.split(separator: "\n").last)
        let object = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any], "\(outcome)")
        let allocations = try #require(object["allocations"] as? [String: Double], "\(outcome)")
        // The MPI library takes a buffer now and then; what a step allocates would count fifty times.
        #expect(allocations["count"] ?? 50 <= 5, "\(outcome)")
      }
    }

    @Test func benchmarkOfCommunication() throws {
      let sandbox = try Sandbox()
      let asked = ["benchmark", "tiny.yaml", "--steps", "2", "--communication", "--link", "10,100", "--ranks-per-node", "4"]
      let outcome = try sandbox.run(ranks: 2, asked + ["--json"])
      #expect(outcome.exitCode == 0, "\(outcome)")
      for words in ["gradient reduction: ", "check: ", "weak scaling", "strong scaling", "100 Gb/s"] {
        #expect(outcome.output.contains(words), "no \(words)in: \(outcome)")
      }
      let line = try #require(outcome.output.split(separator: "\n").last)
      let object = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
      let found = try #require(object["communication"] as? [String: Any])
      let collectives = try #require(found["collectives"] as? [[String: Any]])
      #expect(collectives.count == 4)
      for collective in collectives {
        let samples = collective["samples"] as? [[String: Double]] ?? []
        #expect(!samples.isEmpty, "\(collective)")
        for key in ["bytes", "seconds", "fitted_seconds"] { #expect(samples.allSatisfy { $0[key] ?? 0 > 0 }, "\(key) of \(collective)") }
        for key in ["latency_seconds", "seconds_per_byte"] { #expect(collective[key] as? Double ?? -1 >= 0, "\(key) of \(collective)") }
      }
      let check = try #require(found["check"] as? [String: Double])
      #expect(check["measured_seconds"] ?? 0 > 0 && check["predicted_seconds"] ?? 0 >= check["predicted_seconds_overlapped"] ?? .infinity)
      let weak = try #require(found["weak_scaling"] as? [[String: Double]])
      let strong = try #require(found["strong_scaling"] as? [[String: Double]])
      // 2 to 4096 ranks, and as far as 24 sequences go.
      #expect(weak.count == 2 * 12 && strong.count == 2 * 4)
      let nodes: [Double] = [1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
      #expect(weak.compactMap { $0["nodes"] } == nodes.flatMap { [$0, $0] })
      for rows in [weak, strong] {
        for first in stride(from: 0, to: rows.count, by: 2) {
          let slow = rows[first], fast = rows[first + 1]
          #expect(slow["link_gigabits"] == 10 && fast["link_gigabits"] == 100 && slow["ranks"] == fast["ranks"])
          #expect(try #require(slow["step_seconds"]) >= #require(fast["step_seconds"]))
          for row in [slow, fast] {
            let efficiency = try #require(row["efficiency"]), overlapped = try #require(row["efficiency_overlapped"])
            #expect(efficiency > 0 && efficiency <= overlapped && overlapped <= 1, "\(row)")
          }
        }
      }

      try sandbox.expectFailure(64, ["mpirun"], ranks: [1], ["benchmark", "tiny.yaml", "--communication"])
      let wrong = [("--link", "10,,25"), ("--link", "-1"), ("--latency-us", "-1"), ("--latency-us", "nan"), ("--ranks-per-node", "0")]
      for (option, value) in wrong {
        try sandbox.expectFailure(64, [option], ranks: [2], ["benchmark", "tiny.yaml", "--communication", "\(option)=\(value)"])
      }
      try sandbox.expectFailure(64, ["--communication"], ranks: [2], ["benchmark", "tiny.yaml", "--link", "10"])
    }

    @Test func usage() throws {
      let sandbox = try Sandbox()
      for arguments in [["train"], ["bogus"], ["train", "tiny.yaml", "--bogus"], ["generate", "run", "--tokens", "many"]] {
        try sandbox.expectFailure(64, [], ranks: [1, 4, 8], arguments)
      }
      for ranks in [1, 2] {
        let version = try sandbox.run(ranks: ranks, ["--version"])
        #expect(version.exitCode == 0 && version.output.split(separator: "\n").count == 1 && version.errors.isEmpty, "\(version)")
        for arguments in [["--help"], ["train", "--help"]] {
          let help = try sandbox.run(ranks: ranks, arguments)
          #expect(help.exitCode == 0 && help.output.components(separatedBy: "USAGE").count == 2, "\(help)")
        }
      }
    }
  }
}
