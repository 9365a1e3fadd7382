import Foundation
import Testing

extension CommandTests {
  /// k micro-batches of B / k sequences make the update of one minibatch of B.
  @Suite struct Accumulation {
    /// Loss, gradient norm and weights of two runs agree but for rounding, step by step and in the end.
    static func expectSame(_ sandbox: Sandbox, _ a: String, _ b: String, steps: Int) throws {
      let runs = try [a, b].map { try sandbox.events($0, "step") }
      try #require(runs.allSatisfy { $0.count == steps })
      for (left, right) in zip(runs[0], runs[1]) {
        for key in ["loss", "gradient_norm"] {
          let x = try #require(left[key] as? Double), y = try #require(right[key] as? Double)
          // Single precision, sums in another order.
          #expect(abs(x - y) <= 1e-5 * abs(x), "\(key) of step \(left["step"] ?? 0): \(x) and \(y)")
        }
        #expect(left["frames"] as? Int == right["frames"] as? Int)
      }
      let tensors = try [a, b].map { try sandbox.tensors("\($0)/checkpoints/latest/model.safetensors") }
      try #require(tensors[0].map(\.name) == tensors[1].map(\.name))
      for (left, right) in zip(tensors[0], tensors[1]) {
        let size = left.values.map(abs).max() ?? 0
        #expect(zip(left.values, right.values).allSatisfy { abs($0 - $1) <= 1e-4 * size }, "\(left.name) of \(a) and \(b)")
      }
    }

    /// 19 utterances of 1 to 8 frames in the archive's order: updates of 10 and of 9 sequences, the last micro-batch smaller than the others.
    @Test(arguments: ["sequences", "frames"]) func ofUnequalUtterances(average: String) throws {
      let sandbox = try Sandbox()
      try sandbox.writeSpeech()
      let settings = [
        "training.average_over=\(average)", "training.shuffle=false", "data.maximum_frames=8", "normalization.placement=none",
        "training.shards=2", "training.maximum_steps=6", "optimizer.momentum=0.5", "optimizer.clip_norm=0.05",
      ]
      for (name, batch, steps, ranks) in [("whole", 10, 1, 1), ("halves", 5, 2, 2), ("fifths", 2, 5, 1)] {
        let parts = ["training.batch_size=\(batch)", "training.accumulate_steps=\(steps)"]
        let outcome = try sandbox.run(ranks: ranks, sandbox.speechTraining(name, settings + parts))
        try #require(outcome.exitCode == 0, "\(outcome)")
      }
      let norms = try sandbox.events("whole", "step").compactMap { $0["gradient_norm"] as? Double }
      #expect(norms.allSatisfy { $0 > 0.01 } && norms.contains { $0 > 0.05 }, "nothing to compare: \(norms)")
      try Self.expectSame(sandbox, "whole", "halves", steps: 6)
      try Self.expectSame(sandbox, "whole", "fifths", steps: 6)
    }
  }
}
