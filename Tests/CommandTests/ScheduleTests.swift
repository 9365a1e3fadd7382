import Foundation
import Testing

extension CommandTests {
  /// Learning rates that follow updates and validations, and runs that validations end.
  @Suite struct Schedules {
    private func rates(_ sandbox: Sandbox, _ run: String) throws -> [Double] {
      try sandbox.events(run, "step").compactMap { $0["learning_rate"] as? Double }
    }

    /// One result for all rank counts, and for a run that was interrupted in the middle of a plateau.
    @Test func resumesOnAPlateau() throws {
      let sandbox = try Sandbox()
      // Ten updates an epoch. Progress by 30 % a validation is not made, so that the rate is divided after every second one but the first.
      let settings = [
        "optimizer.plateau={factor: 2, patience: 2, threshold: 0.3}", "optimizer.warmup_steps=4", "optimizer.cosine={final: 0.1}",
        "optimizer.weight_decay=0.01", "optimizer.decay=null", "training.maximum_steps=70", "checkpoint.keep=100", "evaluation.statistics=running",
      ]
      let whole = try sandbox.train("whole", settings)
      #expect(whole.output.contains("The learning rate is") && whole.output.contains("from here on (optimizer.plateau)"), "\(whole)")
      #expect(whole.output.contains("rises over 4 updates"), "\(whole)")
      try sandbox.train("ranks", ranks: 3, settings)
      // As a kill after update 49 would leave it: between two validations without progress.
      try FileManager.default.copyItem(atPath: sandbox("whole"), toPath: sandbox("killed"))
      for name in try sandbox.names(in: "killed/checkpoints") where name > "step-00000045" && name.hasPrefix("step-") {
        try FileManager.default.removeItem(atPath: sandbox("killed/checkpoints/\(name)"))
      }
      let resumed = try sandbox.train("killed", ranks: 2, settings, ["--resume"])
      #expect(resumed.output.contains("Resumed at step 45"), "\(resumed)")
      for run in ["ranks", "killed"] {
        for file in ["model", "training"] {
          let path = "checkpoints/step-00000070/\(file).safetensors"
          #expect(try sandbox.data("\(run)/\(path)") == sandbox.data("whole/\(path)"), "\(run) \(file)")
        }
      }
      #expect(try rates(sandbox, "ranks") == rates(sandbox, "whole"))
      #expect(try rates(sandbox, "killed").suffix(25) == rates(sandbox, "whole").suffix(25))
      // By the formula: epochs 1 to 3 end with a plateau of length 0, 1, 2.
      let found = try rates(sandbox, "whole")
      for (i, rate) in found.enumerated() {
        let s = i + 1, epoch = i / 10 + 1, share = 0.1 + 0.9 * (1 + cos(Double.pi * Double(i) / 69)) / 2
        let expected = share * min(1, Double(s) / 4) / Double(1 << ((epoch - 2) / 2))
        #expect(abs(rate - expected) <= 1e-15, "update \(s)")
      }
    }

    @Test func stopsEarly() throws {
      let sandbox = try Sandbox()
      // So large a rate makes it worse soon.
      let settings = [
        "training.early_stopping={patience: 2}", "optimizer.learning_rate=30", "optimizer.clip_norm=null", "training.maximum_steps=null",
        "evaluation.statistics=running", "optimizer.decay=null",
      ]
      let outcome = try sandbox.train("one", settings)
      let validations = try sandbox.events("one", "validation").compactMap { $0["loss"] as? Double }
      let best = try #require(validations.indices.min { validations[$0] < validations[$1] })
      #expect(validations.count == best + 3, "\(validations)")
      let end = try #require(try sandbox.events("one", "end").last)
      #expect(end["reason"] as? String == "done" && end["by"] as? String == "training.early_stopping")
      #expect(outcome.output.contains("2 validations without a new best one (training.early_stopping)"), "\(outcome)")
      #expect(try sandbox.events("one", "test").count == 1)
      #expect(try sandbox.linkedStep("one", "best") == (best + 1) * 10)
      try sandbox.train("two", ranks: 2, settings)
      #expect(try sandbox.events("two", "validation").compactMap { $0["loss"] as? Double } == validations)
      // Where it has ended it stays, until it may go on longer.
      try sandbox.train("one", settings, ["--resume"])
      #expect(try sandbox.events("one", "validation").count == validations.count)
      try sandbox.train("one", settings + ["training.early_stopping={patience: 3}"], ["--resume"])
      #expect(try sandbox.events("one", "validation").count > validations.count)
      try sandbox.train("steps")
      #expect(try sandbox.events("steps", "end").last?["by"] as? String == "training.maximum_steps")
    }
  }
}
