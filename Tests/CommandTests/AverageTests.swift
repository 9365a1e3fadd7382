import Foundation
import Testing

extension CommandTests {
  /// Averaged weights beside the trained ones.
  @Suite struct Averages {
    private let settings = [
      "evaluation.average={decay: 0.5}", "checkpoint.every_steps=1", "checkpoint.keep=100", "normalization.statistics=sequence",
      "optimizer.momentum=0.5",
    ]

    private func loss(_ outcome: Outcome) -> Double? {
      outcome.output.firstMatch(of: /loss ([0-9.e-]+) nats/).flatMap { Double($0.1) }
    }

    @Test func averagesOfUpdates() throws {
      let sandbox = try Sandbox()
      let outcome = try sandbox.train("run", settings)
      #expect(outcome.output.contains("; averaged weights: loss "), "\(outcome)")
      // 12 updates: the weights after update i count 2^(i - 12).
      var sums: [String: [Double]] = [:]
      for step in 1...12 {
        let name = "run/checkpoints/step-000000\(step < 10 ? "0" : "")\(step)"
        for tensor in try sandbox.tensors("\(name)/model.safetensors") {
          let share = pow(2, Double(step - 12)) / (2 - pow(2, -11))
          let before = sums[tensor.name] ?? Array(repeating: 0, count: tensor.values.count)
          sums[tensor.name] = zip(before, tensor.values).map { $0 + share * Double($1) }
        }
      }
      let training = try sandbox.tensors("run/checkpoints/step-00000012/training.safetensors")
      let model = try sandbox.tensors("run/checkpoints/step-00000012/model.safetensors").filter { !$0.name.contains("running_") }
      var averages: [FileTensor] = []
      for tensor in model {
        let average = try #require(training.first { $0.name == "average." + tensor.name })
        let wanted = try #require(sums[tensor.name])
        // Twelve roundings of single precision.
        for (x, y) in zip(average.values, wanted) { #expect(abs(Double(x) - y) <= 1e-6 * (1 + abs(y)), "\(tensor.name)") }
        averages.append(FileTensor(name: tensor.name, shape: tensor.shape, values: average.values))
      }
      #expect(averages.map(\.values) != model.map(\.values))

      // What training said of them is what evaluation says, by the checkpoint and by a file.
      let event = try #require(try sandbox.events("run", "validation").last)
      let said = try #require(event["average_loss"] as? Double)
      #expect(said != event["loss"] as? Double)
      #expect(try abs(#require(event["average_perplexity"] as? Double) - exp(said)) <= 1e-9 * exp(said))
      let checkpoint = "run/checkpoints/latest"
      let evaluated = try sandbox.run(["evaluate", checkpoint, "--average"])
      // Foundation reads numbers in JSON to the last bits but one.
      func isSaid(_ outcome: Outcome) -> Bool { loss(outcome).map { abs($0 - said) <= 1e-14 * said } ?? false }
      #expect(isSaid(evaluated), "\(event): \(evaluated)")
      let distributed = try sandbox.run(ranks: 2, ["evaluate", checkpoint, "--average"])
      #expect(loss(distributed) == loss(evaluated), "\(distributed)")
      try sandbox.write("average.safetensors", FileTensor.write(averages))
      #expect(try loss(sandbox.run(["evaluate", checkpoint, "--weights", "average.safetensors"])) == loss(evaluated))
      // A file that has statistics is evaluated with them.
      let plain = try loss(sandbox.run(["evaluate", checkpoint]))
      #expect(try loss(sandbox.run(["evaluate", checkpoint, "--weights", "\(checkpoint)/model.safetensors"])) == plain && plain != nil)
      let test = try #require(try sandbox.events("run", "test").last), best = try sandbox.linkedStep("run", "best")
      let path = "run/checkpoints/best"
      #expect(test["step"] as? Int == best)
      let tested = try #require(test["average_loss"] as? Double)
      let again = try sandbox.run(["evaluate", path, "--average", "--data", "test.txt"])
      #expect(try abs(#require(loss(again)) - tested) <= 1e-14 * tested, "\(again)")
    }

    @Test func sameBits() throws {
      let sandbox = try Sandbox()
      try sandbox.train("one", settings)
      try sandbox.train("three", ranks: 3, settings)
      try sandbox.train("resumed", settings + ["training.maximum_steps=7"])
      try sandbox.train("resumed", ranks: 2, settings, ["--resume"])
      let file = "checkpoints/step-00000012/training.safetensors"
      #expect(try sandbox.data("one/\(file)") == sandbox.data("three/\(file)"))
      #expect(try sandbox.data("one/\(file)") == sandbox.data("resumed/\(file)"))
      // The average changes nothing else.
      try sandbox.train("plain", settings.dropFirst() + [])
      let model = "checkpoints/step-00000012/model.safetensors"
      #expect(try sandbox.data("one/\(model)") == sandbox.data("plain/\(model)"))
      #expect(try sandbox.events("one", "validation").map { $0["loss"] as? Double } == sandbox.events("plain", "validation").map { $0["loss"] as? Double })
    }

    /// A run that goes on may leave the average, and may begin one.
    @Test func comesAndGoes() throws {
      let sandbox = try Sandbox()
      try sandbox.train("run", settings + ["training.maximum_steps=4"])
      try sandbox.train("run", settings.dropFirst() + ["training.maximum_steps=6"], ["--resume"])
      #expect(try !sandbox.tensors("run/checkpoints/latest/training.safetensors").contains { $0.name.hasPrefix("average.") })
      try sandbox.expectFailure(64, ["--average", "step 6 has no averaged weights"], ["evaluate", "run/checkpoints/latest", "--average"])
      try sandbox.train("run", settings + ["training.maximum_steps=7"], ["--resume"])
      let model = try sandbox.tensors("run/checkpoints/latest/model.safetensors").filter { !$0.name.contains("running_") }
      let average = try sandbox.tensors("run/checkpoints/latest/training.safetensors").filter { $0.name.hasPrefix("average.") }
      #expect(average.map(\.values) == model.map(\.values) && !model.isEmpty)

      // One that is taken over no update is none.
      try sandbox.train("other", settings.dropFirst() + ["training.maximum_steps=5", "evaluation.every_epochs=7"])
      try FileManager.default.removeItem(atPath: sandbox("other/checkpoints/step-00000005"))
      try sandbox.train("other", settings + ["training.maximum_steps=4"], ["--resume"])
      try sandbox.expectFailure(64, ["--average", "no averaged weights"], ["evaluate", "other/checkpoints/latest", "--average"])
      // A file with statistics needs no training text.
      try FileManager.default.moveItem(atPath: sandbox("train.txt"), toPath: sandbox("away.txt"))
      let evaluated = try sandbox.run(["evaluate", "other", "--weights", "other/checkpoints/latest/model.safetensors"])
      #expect(evaluated.exitCode == 0, "\(evaluated)")
    }

    @Test func refusals() throws {
      let sandbox = try Sandbox()
      try sandbox.train("run", settings)
      try sandbox.expectFailure(64, ["--average", "--weights"], ["evaluate", "run", "--average", "--weights", "x"])
      let tensors = try sandbox.tensors("run/checkpoints/latest/model.safetensors")
      try sandbox.write("short.safetensors", FileTensor.write(Array(tensors.dropFirst())))
      try sandbox.expectFailure(65, ["short.safetensors", tensors[0].name], ["evaluate", "run", "--weights", "short.safetensors"])
      try sandbox.expectFailure(
        64, ["evaluation.average", "whitened-input"], sandbox.training("white", ["evaluation.average={decay: 0.9}", "normalization.placement=whitened-input"]))
    }
  }
}
