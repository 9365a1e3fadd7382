import Foundation
import Testing

extension CommandTests {
  /// Frame classification where something is not as it should be, beside archives that are wrong from the start.
  @Suite struct SpeechFailures {
    /// What tensors do not give away of how a model was trained cannot be changed for its evaluation.
    @Test func otherFeatures() throws {
      let sandbox = try Sandbox()
      try sandbox.writeSpeech()
      for (directory, normalize, others) in [("plain", "none", ["global", "utterance"]), ("scaled", "global", ["none"])] {
        let settings = ["data.normalize=\(normalize)", "training.maximum_steps=1"]
        #expect(try sandbox.run(sandbox.speechTraining(directory, settings)).exitCode == 0)
        for other in others {
          try sandbox.expectFailure(
            64, ["data.normalize is \(other)", "trained with \(normalize)"], ["evaluate", directory, "--set", "data.normalize=\(other)"])
        }
        let same = try sandbox.run(["evaluate", directory, "--set", "data.normalize=\(normalize)", "--set", "training.batch_size=2"])
        #expect(same.exitCode == 0, "\(same)")
      }
      try sandbox.expectFailure(64, ["data.deltas"], ["evaluate", "plain", "--set", "data.deltas=1"])
    }

    /// Posteriors never take the place of what they are computed from, and a name that cannot be had is refused at once.
    @Test func posteriorsInTheWay() throws {
      let sandbox = try Sandbox()
      try sandbox.writeSpeech()
      #expect(try sandbox.run(sandbox.speechTraining("run", ["training.maximum_steps=1"])).exitCode == 0)
      let features = try sandbox.data("valid-features.ark")
      let first = randomUtterances(lengths: Sandbox.validLengths, seed: 2)[0]
      try sandbox.write("valid-features.scp", "\(first.key) valid-features.ark:\(first.key.utf8.count + 1)\n")
      let index = try sandbox.data("valid-features.scp")
      // The archive itself, by its name and another; and the index beside the posteriors, of the same name as that of the features.
      for (data, output) in [("ark", "valid-features.ark"), ("scp", "./valid-features.ark"), ("scp", "valid-features")] {
        try sandbox.expectFailure(
          64, ["valid-features", "that are read"], ["evaluate", "run", "--data", "valid-features.\(data)", "--posteriors", output])
      }
      try FileManager.default.createDirectory(atPath: sandbox("posteriors.scp"), withIntermediateDirectories: false)
      try sandbox.expectFailure(74, ["posteriors.scp", "Is a directory"], ["evaluate", "run", "--posteriors", "posteriors.ark"])
      #expect(try sandbox.data("valid-features.ark") == features)
      #expect(try sandbox.data("valid-features.scp") == index)
      #expect(try !sandbox.names(in: "").contains { $0.hasPrefix("posteriors.ark") || $0.contains("partial") })
    }

    /// An archive that is cut off while it is trained on: the ranks that meet the end agree on one message.
    @Test(arguments: [1, 4]) func truncatedMeanwhile(_ ranks: Int) throws {
      let sandbox = try Sandbox()
      try sandbox.writeSpeech()
      let settings = ["training.maximum_steps=1000000", "training.epochs=1000000", "checkpoint.every_steps=null"]
      let running = try sandbox.start(ranks: ranks, sandbox.speechTraining("run", settings))
      try sandbox.waitForSteps(3, of: "run", running)
      try FileHandle(forWritingTo: URL(fileURLWithPath: sandbox("train-features.ark"))).truncate(atOffset: 100)
      let outcome = try running.wait()
      #expect(outcome.exitCode == 65 && outcome.errorMessages.count == 1, "\(outcome)")
      #expect(outcome.errorMessages.first?.contains("train-features.ark: \"utterance-") == true, "\(outcome)")
      let end = try #require(try sandbox.events("run", "end").last)
      #expect(end["reason"] as? String == "error" && (end["message"] as? String)?.contains("train-features.ark") == true)
    }

    /// Groups of one sequence have no frame-wise statistics: that is said. With two they have, and nothing is.
    @Test func smallGroups() throws {
      let sandbox = try Sandbox()
      try sandbox.writeSpeech()
      let cases: [(settings: [String], words: [String])] = [
        (["training.batch_size=8", "normalization.scope=local"], ["nothing is normalised"]),
        (["training.batch_size=10", "normalization.scope=local"], ["6 of 8"]),
        (["training.batch_size=16", "normalization.scope=local"], []),
        (["training.batch_size=8", "normalization.scope={group: 2}"], []),
        (["training.batch_size=3", "training.shards=3", "normalization.scope={group: 3}"], []),
        (["training.batch_size=1", "training.shards=1"], ["nothing is normalised"]),
        (["training.batch_size=8", "normalization.scope=local", "normalization.statistics=sequence"], []),
      ]
      for (number, (settings, words)) in cases.enumerated() {
        let outcome = try sandbox.run(
          sandbox.speechTraining("run-\(number)", ["normalization.statistics=frame", "training.maximum_steps=1"] + settings))
        #expect(outcome.exitCode == 0 && outcome.warnings.count == words.count, "\(outcome)")
        for word in words { #expect(outcome.warnings.first?.contains(word) == true, "\(outcome)") }
      }
    }

    /// With several minibatches an update, its padding is that of all of them.
    @Test func paddingOfAccumulatedMinibatches() throws {
      let sandbox = try Sandbox()
      try sandbox.writeSpeech()
      let settings = ["training.shuffle=false", "training.accumulate_steps=2", "training.maximum_steps=2"]
      #expect(try sandbox.run(sandbox.speechTraining("run", settings)).exitCode == 0)
      let lengths = Sandbox.trainLengths, steps = try sandbox.events("run", "step")
      // 21 utterances: two minibatches of 10, then one of 1.
      let area = 10 * (lengths[..<10].max() ?? 0) + 10 * (lengths[10..<20].max() ?? 0)
      let padding = steps.compactMap { $0["padding"] as? Double }
      #expect(padding.count == 2 && abs(padding[0] - (1 - Double(lengths[..<20].reduce(0, +)) / Double(area))) < 1e-12 && padding[1] == 0)
    }

    /// Of damaged archives `inspect` says what is wrong with what they are.
    @Test func inspecting() throws {
      let sandbox = try Sandbox()
      let utterances = randomUtterances(lengths: [4, 6], seed: 1)
      let labels = labelArchive(utterances), features = featureArchive(utterances), junk = Data("junk \0\0\0\0".utf8)
      let damaged: [(name: String, data: Data, words: [String])] = [
        ("labels-cut", labels.dropLast(2), ["utterance-1", "takes at least"]),
        ("first-labels-cut", labels.prefix(25), ["utterance-0", "takes at least"]),
        ("labels-junk", labels + junk, ["junk", "a vector of integers"]),
        ("features-cut", features.dropLast(2), ["utterance-1", "takes at least"]),
        ("features-junk", features + junk, ["junk", "a matrix"]),
        ("floats", Data("k \0BFV \u{4}\u{1}\0\0\0abcd".utf8), ["floating-point", "a matrix"]),
        ("words-cut", Data("k 1 2 3\nl  ".utf8), ["\"l\"", "the end of the line"]),
      ]
      for (name, data, words) in damaged {
        try sandbox.write("\(name).ark", data)
        try sandbox.expectFailure(65, [name] + words, ranks: [1], ["inspect", "\(name).ark"])
      }
    }
  }
}
