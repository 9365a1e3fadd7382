import Foundation
import Testing

extension CommandTests {
  /// `model.tied_embedding`: training, checkpoints and what reads them.
  @Suite struct TiedEmbedding {
    static let settings = ["model.tied_embedding=true", "model.embedding_size=8", "optimizer.momentum=0.5", "training.maximum_steps=30"]

    @Test func wholeLife() throws {
      let sandbox = try Sandbox()
      try sandbox.train("whole", ranks: 3, Self.settings)
      try sandbox.train("parts", ranks: 2, Self.settings + ["training.maximum_steps=17"])
      try sandbox.train("parts", ranks: 1, Self.settings, ["--resume"])
      try Resuming.expectSameEnd(sandbox, "parts", "whole", step: 30)

      let model = try sandbox.tensors("whole/checkpoints/latest/model.safetensors")
      #expect(model.first { $0.name == "embedding.weight" }?.shape == [40, 8] && model.contains { $0.name == "output.bias" })
      #expect(!model.contains { $0.name == "output.weight" })
      let losses = try sandbox.events("whole", "step").compactMap { $0["loss"] as? Double }
      #expect(losses.count == 30 && losses[29] < losses[0] - 0.2, "\(losses)")
      let parameters = try sandbox.events("whole", "start").first?["parameters"] as? Int
      #expect(parameters == model.filter { !$0.name.contains(".running_") }.reduce(0) { $0 + $1.values.count })

      for arguments in [
        ["evaluate", "whole", "--data", "test.txt"], ["generate", "whole", "--tokens", "7"], ["inspect", "whole/checkpoints/latest"],
      ] {
        let outcome = try sandbox.run(arguments)
        #expect(outcome.exitCode == 0, "\(outcome)")
        #expect(arguments[0] != "inspect" || outcome.output.contains("embedding.weight  F32 [40, 8]"), "\(outcome)")
      }
      let benchmark = try sandbox.run(ranks: 2, ["benchmark", "tiny.yaml", "--steps", "3", "--communication"] + Self.settings.flatMap { ["--set", $0] })
      #expect(benchmark.exitCode == 0, "\(benchmark)")

      // Weights go to models of the same kind only.
      let file = "whole/checkpoints/latest/model.safetensors"
      try sandbox.train("from", Self.settings, ["--initialize-from", file])
      try sandbox.expectFailure(
        65, ["output.weight"], ranks: [1], sandbox.training("untied", ["model.embedding_size=8"], ["--initialize-from", file]))
      try sandbox.train("source", ["model.embedding_size=8"])
      try sandbox.expectFailure(
        65, ["output.weight"], ranks: [1],
        sandbox.training("tied", Self.settings, ["--initialize-from", "source/checkpoints/latest/model.safetensors"]))
      try sandbox.expectFailure(
        64, ["model.tied_embedding", "embedding_size is 6", "is 8"], sandbox.training("sizes", ["model.tied_embedding=true"]))
    }
  }
}
