import Foundation
import Testing

extension CommandTests {
  /// The names and files that users' scripts rely on.
  @Suite struct Promises {
    @Test func metrics() throws {
      let sandbox = try Sandbox()
      try sandbox.train("run", ranks: 2)
      let events = try sandbox.events("run")
      let start = try #require(events.first)
      #expect(start["event"] as? String == "start" && start["ranks"] as? Int == 2 && start["shards"] as? Int == 8)
      for name in ["version", "hosts", "blas", "mpi", "parameters"] { #expect(start[name] != nil, "\(name)") }
      #expect((start["hosts"] as? [String])?.count == 2)
      let parameters = try sandbox.tensors("run/checkpoints/latest/model.safetensors").filter { !$0.name.contains(".running_") }
      #expect(start["parameters"] as? Int == parameters.reduce(0) { $0 + $1.values.count })

      let steps = try sandbox.events("run", "step")
      #expect(steps.map { $0["step"] as? Int } == (1...12).map { $0 })
      #expect(steps.map { $0["epoch"] as? Int } == (1...12).map { $0 <= 10 ? 1 : 2 })
      for step in steps {
        #expect(step["frames"] as? Int == 120)
        for name in ["loss", "gradient_norm", "learning_rate", "seconds"] { #expect((step[name] as? Double ?? -1) > 0, "\(name)") }
      }
      // Untrained, the model knows little more than that there are 40 words.
      #expect(abs((steps[0]["loss"] as? Double ?? 0) - log(40)) < 0.3)

      let validations = try sandbox.events("run", "validation")
      #expect(validations.map { $0["step"] as? Int } == [10, 12] && validations.map { $0["epoch"] as? Int } == [1, 2])
      for event in try validations + sandbox.events("run", "test") {
        let loss = try #require(event["loss"] as? Double), perplexity = try #require(event["perplexity"] as? Double)
        #expect(abs(perplexity - exp(loss)) <= 1e-12 * perplexity)
      }
      #expect(try sandbox.events("run", "test").count == 1)
      let checkpoints = try sandbox.events("run", "checkpoint")
      #expect(checkpoints.map { $0["step"] as? Int } == [5, 10, 12])
      #expect(checkpoints.allSatisfy { FileManager.default.fileExists(atPath: $0["path"] as? String ?? "") })
      #expect(events.last?["event"] as? String == "end" && events.last?["reason"] as? String == "done")
    }

    @Test func resolvedConfiguration() throws {
      let sandbox = try Sandbox()
      let settings = ["optimizer.momentum=0.5", "normalization.scope={group: 2}", "training.shards=auto"]
      try sandbox.train("run", ranks: 2, settings)
      let text = try sandbox.text("run/config.yaml")
      let keys = [
        "task", "data", "train", "unit", "validation", "test", "vocabulary_size", "model", "embedding_size", "cell", "layers", "hidden_size",
        "bidirectional", "peepholes", "dropout", "normalization", "placement", "statistics", "scope", "epsilon", "momentum", "gamma",
        "initialization", "scheme", "embedding_deviation", "range", "forget_bias", "training", "seed", "batch_size", "shards", "unroll_steps",
        "epochs", "maximum_steps", "average_over", "accumulate_steps", "optimizer", "method", "learning_rate", "clip_norm", "decay",
        "evaluation", "frames_per_step", "population_batches", "every_epochs", "streams", "checkpoint", "every_steps", "every_minutes", "keep", "communication",
        "gradients", "reproducible", "bucket_megabytes",
      ]
      let found = Set(text.split(separator: "\n").compactMap { $0.firstMatch(of: /^ *([a-z_]+):/).map { String($0.1) } })
      #expect(Set(keys).subtracting(found).isEmpty, "\(Set(keys).subtracting(found)) in\n\(text)")
      #expect(text.contains("shards: 2") && text.contains("streams: 24") && text.contains("momentum: 0.5"))

      // It is a configuration of the same run.
      let again = try sandbox.run(ranks: 1, ["train", "run/config.yaml", "--run-directory", sandbox("again")])
      #expect(again.exitCode == 0, "\(again)")
      #expect(try sandbox.numbers("again") == sandbox.numbers("run"))
      #expect(try sandbox.text("again/config.yaml") == text)
    }

    @Test func defaultDirectory() throws {
      let sandbox = try Sandbox()
      let outcome = try sandbox.run(ranks: 2, ["train", "tiny.yaml"])
      #expect(outcome.exitCode == 0 && sandbox.exists("Runs/tiny/checkpoints/latest/model.safetensors"), "\(outcome)")
    }

    @Test func checkpoints() throws {
      let sandbox = try Sandbox()
      // The learning rate grows so that the first epochs are the best.
      try sandbox.train(
        "run", ["training.maximum_steps=33", "checkpoint.keep=2", "optimizer.decay={factor: 0.05, after: 1}", "checkpoint.every_steps=4"])
      let best = try sandbox.linkedStep("run", "best")
      #expect(best == 10, "the learning rate did not spoil the model")
      let names = try sandbox.names(in: "run/checkpoints")
      #expect(names == ["best", "latest", "step-00000010", "step-00000032", "step-00000033"], "\(names)")
      #expect(try sandbox.linkedStep("run") == 33)
      let losses = try sandbox.events("run", "validation").compactMap { $0["loss"] as? Double }
      #expect(losses.first == losses.min() && losses.count == 4)
      for name in ["latest", "best"] {
        #expect(try sandbox.names(in: "run/checkpoints/\(name)") == ["model.safetensors", "state.json", "training.safetensors", "vocabulary.json"])
      }
    }

    struct Model: CustomTestStringConvertible, Sendable {
      var settings: [String]
      var tensors: [String: [Int]]
      var testDescription: String { settings.joined(separator: " ") }
    }

    static let models = [
      Model(
        settings: ["normalization.placement=none", "model.peepholes=output"],
        tensors: ["bias": [32], "peephole": [8]]),
      Model(
        settings: ["normalization.placement=none", "model.peepholes=all"],
        tensors: ["bias": [32], "peephole": [3, 8]]),
      Model(
        settings: ["normalization.placement=input"],
        tensors: [
          "input_norm.gamma": [32], "input_norm.beta": [32], "input_norm.running_mean": [5, 32], "input_norm.running_variance": [5, 32],
        ]),
      Model(
        settings: ["normalization.placement=input", "normalization.statistics=sequence"],
        tensors: [
          "input_norm.gamma": [32], "input_norm.beta": [32], "input_norm.running_mean": [32], "input_norm.running_variance": [32],
        ]),
      Model(
        settings: ["normalization.placement=preactivation"],
        tensors: [
          "preactivation_norm.gamma": [32], "preactivation_norm.beta": [32], "preactivation_norm.running_mean": [5, 32],
          "preactivation_norm.running_variance": [5, 32],
        ]),
      Model(settings: ["normalization.placement=none", "model.cell=rnn"], tensors: ["bias": [8]]),
      Model(
        settings: ["normalization.placement=preactivation", "model.cell=rnn"],
        tensors: [
          "preactivation_norm.gamma": [8], "preactivation_norm.beta": [8], "preactivation_norm.running_mean": [5, 8],
          "preactivation_norm.running_variance": [5, 8],
        ]),
    ]

    @Test(arguments: models) func tensors(_ model: Model) throws {
      let sandbox = try Sandbox()
      try sandbox.train("run", model.settings + ["training.maximum_steps=1"])
      let isRNN = model.settings.contains("model.cell=rnn"), G = isRNN ? 8 : 32
      var expected = ["embedding.weight": [40, 6], "output.weight": [40, 8], "output.bias": [40]]
      for layer in 0..<2 {
        let prefix = (isRNN ? "rnn" : "lstm") + ".\(layer).forward."
        expected[prefix + "input_weight"] = [G, layer == 0 ? 6 : 8]
        expected[prefix + "recurrent_weight"] = [G, 8]
        for (name, shape) in model.tensors { expected[prefix + name] = shape }
      }
      let found = try sandbox.tensors("run/checkpoints/latest/model.safetensors")
      #expect(Dictionary(uniqueKeysWithValues: found.map { ($0.name, $0.shape) }) == expected)
    }
  }
}
