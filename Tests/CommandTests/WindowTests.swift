import Foundation
import Testing

extension CommandTests {
  /// `training.windows: shuffled`.
  @Suite struct ShuffledWindows {
    /// A text of 264 or 263 pieces of 5 tokens, as the offset has it: 11 or 10 minibatches of 24 an epoch.
    static func sandbox() throws -> Sandbox {
      let sandbox = try Sandbox()
      try sandbox.write("pieces.txt", randomText(tokens: 1322, types: 60, seed: 8))
      return sandbox
    }
    static let settings = ["training.windows=shuffled", "data.train=pieces.txt", "optimizer.momentum=0.5", "evaluation.population_batches=null"]

    /// The run stops in the middle of an epoch. Epochs end where their own number of minibatches says.
    @Test func resumesWithinAnEpoch() throws {
      let sandbox = try Self.sandbox(), settings = Self.settings + ["normalization.scope={group: 2}", "training.accumulate_steps=2"]
      try sandbox.train("whole", ranks: 3, settings + ["training.maximum_steps=50"])
      try sandbox.train("parts", ranks: 4, settings + ["training.maximum_steps=27"])
      try sandbox.train("parts", ranks: 1, settings + ["training.maximum_steps=50"], ["--resume"])
      try Resuming.expectSameEnd(sandbox, "parts", "whole", step: 50)
      #expect(try sandbox.numbers("parts", kinds: ["step"]) == sandbox.numbers("whole", kinds: ["step"]))
      #expect(try sandbox.numbers("parts", kinds: ["validation"]).last == sandbox.numbers("whole", kinds: ["validation"]).last)

      let epochs = try sandbox.events("whole", "step").compactMap { $0["epoch"] as? Int }
      let lengths = Set((1..<(epochs.last ?? 1)).map { epoch in epochs.count { $0 == epoch } })
      #expect(lengths == [5, 6], "updates of two micro-batches in epochs of 10 and of 11")
      // No state is carried.
      let names = try sandbox.tensors("whole/checkpoints/latest/training.safetensors").map(\.name)
      #expect(!names.isEmpty && !names.contains { $0.hasPrefix("state.") })
    }

    /// Pieces come in the same order whatever the size of a minibatch, so micro-batches of a part of it make the same updates.
    @Test(arguments: ["sequences", "frames"]) func microBatches(average: String) throws {
      let sandbox = try Self.sandbox()
      let settings = Self.settings + [
        "training.average_over=\(average)", "normalization.placement=none", "model.dropout=0", "training.maximum_steps=6", "training.shards=2",
      ]
      for (name, batch, steps, ranks) in [("whole", 24, 1, 1), ("halves", 12, 2, 2), ("quarters", 6, 4, 1)] {
        try sandbox.train(name, ranks: ranks, settings + ["training.batch_size=\(batch)", "training.accumulate_steps=\(steps)"])
      }
      try Accumulation.expectSame(sandbox, "whole", "halves", steps: 6)
      try Accumulation.expectSame(sandbox, "whole", "quarters", steps: 6)
    }

    /// Commands that read the training text or the configuration alone.
    @Test func otherCommands() throws {
      let sandbox = try Self.sandbox(), settings = Self.settings.flatMap { ["--set", $0] }
      try sandbox.train("run", ranks: 2, Self.settings + ["evaluation.statistics=running"])
      #expect(try sandbox.events("run", "start").first?["windows"].flatMap { $0 as? Int }.map { [10, 11].contains($0) } == true)
      for arguments in [["evaluate", "run", "--set", "evaluation.statistics=population"], ["generate", "run", "--tokens", "5"], ["inspect", "run"]] {
        let outcome = try sandbox.run(ranks: arguments[0] == "evaluate" ? 2 : 1, arguments)
        #expect(outcome.exitCode == 0, "\(outcome)")
      }
      let benchmark = try sandbox.run(ranks: 2, ["benchmark", "tiny.yaml", "--steps", "15"] + settings)
      #expect(benchmark.exitCode == 0, "\(benchmark)")
      try sandbox.write("short.txt", randomText(tokens: 124, types: 20, seed: 1))
      try sandbox.expectFailure(
        65, ["short.txt", "124 tokens", "5 × 25 = 125"], sandbox.training("short", Self.settings + ["data.train=short.txt"]))
    }
  }
}
