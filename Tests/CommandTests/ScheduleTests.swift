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

    /// The validation at the end of a run that goes on later counts for nothing.
    @Test func forcedValidations() throws {
      let sandbox = try Sandbox()
      let settings = ["optimizer.plateau={factor: 2, patience: 1, threshold: 0.5}", "optimizer.decay=null", "training.early_stopping={patience: 3}"]
      try sandbox.train("whole", settings + ["training.maximum_steps=34"])
      try sandbox.train("parts", settings + ["training.maximum_steps=15"])
      let resumed = try sandbox.train("parts", settings + ["training.maximum_steps=34"], ["--resume"])
      #expect(resumed.warnings.isEmpty, "\(resumed)")
      #expect(try rates(sandbox, "parts") == rates(sandbox, "whole"))
      let model = "checkpoints/latest/model.safetensors"
      #expect(try sandbox.data("parts/\(model)") == sandbox.data("whole/\(model)"))
      // A cosine over more updates is another one.
      try sandbox.train("cosine", ["optimizer.cosine={final: 0}", "training.maximum_steps=11"])
      let longer = try sandbox.train("cosine", ["optimizer.cosine={final: 0}", "training.maximum_steps=14"], ["--resume"])
      #expect(longer.warnings.count { $0.contains("optimizer.cosine") && $0.contains("jumps") } == 1, "\(longer)")
    }

    /// A run that has ended by the patience that it is resumed with ends at once, and as a whole.
    @Test func lessPatience() throws {
      let sandbox = try Sandbox()
      let settings = ["optimizer.learning_rate=30", "optimizer.clip_norm=null", "optimizer.decay=null", "evaluation.statistics=running", "checkpoint.every_steps=1", "checkpoint.keep=200"]
      try sandbox.train("run", settings + ["training.maximum_steps=150"])
      let validations = try sandbox.events("run", "validation").compactMap { $0["loss"] as? Double }
      let worse = try #require(validations.indices.dropFirst().dropLast().first { validations[$0] >= validations[..<$0].min()! }, "\(validations)")
      // In the middle of the epoch after the first validation that is not the best.
      let step = (worse + 1) * 10 + 4
      for name in try sandbox.names(in: "run/checkpoints") where name.hasPrefix("step-") && Int(name.suffix(8)) ?? 0 > step {
        try FileManager.default.removeItem(atPath: sandbox("run/checkpoints/\(name)"))
      }
      let outcome = try sandbox.train("run", settings + ["training.maximum_steps=150", "training.early_stopping={patience: 1}"], ["--resume"])
      #expect(outcome.output.contains("(training.early_stopping)") && outcome.output.contains("step \(step): validation loss"), "\(outcome)")
      #expect(try sandbox.events("run", "end").last?["by"] as? String == "training.early_stopping")
      #expect(try !sandbox.names(in: "run/checkpoints").contains { $0.hasSuffix(".partial") })
      #expect(try sandbox.linkedStep("run", "latest") == step)
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
