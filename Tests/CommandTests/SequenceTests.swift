import Foundation
import Testing

/// Sequences of a class each: the first feature of the first two frames says it, all else is noise.
func randomSequences(lengths: [Int], classes: Int = 3, seed: UInt64) -> [Utterance] {
  randomUtterances(lengths: lengths, features: 2, seed: seed).enumerated().map { number, utterance in
    var utterance = utterance
    let label = Int32(number % classes)
    for t in utterance.features.indices { utterance.features[t][0] = t < 2 ? Float(label) : utterance.features[t][1] - 3 }
    utterance.labels = [label]
    return utterance
  }
}

extension Sandbox {
  /// Writes archives with one label an utterance and `sequences.yaml`, a tiny bidirectional model of 8 shards.
  func writeSequences() throws {
    try writeArchives("sequences.yaml", task: "sequence-classification", classes: 3, deltas: 1) { randomSequences(lengths: $0, seed: $1) }
  }

  /// The arguments of a training run of `sequences.yaml` in `directory`.
  func sequenceTraining(_ directory: String, _ settings: [String], _ further: [String] = []) -> [String] {
    ["train", "sequences.yaml", "--run-directory", self(directory)] + further + settings.flatMap { ["--set", $0] }
  }
}

extension CommandTests {
  /// Sequence classification as users run it: sequences of any lengths, uneven and empty shards.
  @Suite struct Sequences {
    static let variants = [
      Speech.Variant(
        name: "sequence, global, dropout", ranks: [1, 2, 3, 8], settings: ["normalization.scope=global", "model.dropout=0.3"]),
      Speech.Variant(
        name: "frame, local, momentum", ranks: [1, 2, 3],
        settings: ["normalization.statistics=frame", "normalization.scope=local", "optimizer.momentum=0.9"]),
      Speech.Variant(
        name: "group of 3, adam, accumulation", ranks: [1, 2, 3],
        settings: ["normalization.scope={group: 3}", "optimizer.method=adam", "optimizer.learning_rate=0.01", "training.accumulate_steps=2"]),
      Speech.Variant(
        name: "preactivation in one direction, running averages", ranks: [1, 2, 3],
        settings: [
          "model.bidirectional=false", "normalization.placement=preactivation", "normalization.statistics=frame", "evaluation.statistics=running",
        ]),
      Speech.Variant(
        name: "rnn without normalisation, archive order, many buckets", ranks: [1, 2, 3],
        settings: [
          "model.cell=rnn", "normalization.placement=none", "training.shuffle=false", "communication.bucket_megabytes=0.001",
          "data.maximum_frames=8",
        ]),
    ]

    @Test(arguments: variants) func sameBits(_ variant: Speech.Variant) throws {
      let sandbox = try Sandbox()
      try sandbox.writeSequences()
      try sandbox.expectSameBits(onRanks: variant.ranks) { sandbox.sequenceTraining($0, variant.settings) }
    }

    /// Both settings of `average_over` divide by the number of sequences.
    @Test func averages() throws {
      let sandbox = try Sandbox()
      try sandbox.writeSequences()
      for kind in ["sequences", "frames"] {
        #expect(try sandbox.run(sandbox.sequenceTraining(kind, ["training.average_over=\(kind)"])).exitCode == 0)
      }
      try Resuming.expectSameEnd(sandbox, "frames", "sequences", step: 10)
      #expect(try sandbox.numbers("frames") == sandbox.numbers("sequences"))
    }

    @Test func resuming() throws {
      let sandbox = try Sandbox()
      try sandbox.writeSequences()
      let settings = ["optimizer.momentum=0.9", "model.dropout=0.2"]
      for (directory, ranks, steps, further) in [("whole", 3, 11, []), ("parts", 2, 5, []), ("parts", 4, 11, ["--resume"])] {
        let outcome = try sandbox.run(ranks: ranks, sandbox.sequenceTraining(directory, settings + ["training.maximum_steps=\(steps)"], further))
        try #require(outcome.exitCode == 0, "\(outcome)")
      }
      try Resuming.expectSameEnd(sandbox, "parts", "whole", step: 11)
      // Another task is another run.
      let other = settings + ["training.maximum_steps=12", "task=frame-classification"]
      try sandbox.expectFailure(64, ["task", "sequence-classification"], sandbox.sequenceTraining("parts", other, ["--resume"]))
    }

    /// The class is said at the beginning of a sequence, and read at its ends.
    @Test(arguments: [true, false]) func learning(isBidirectional: Bool) throws {
      let sandbox = try Sandbox()
      try sandbox.writeSequences()
      func lengths(_ n: Int) -> [Int] { (0..<n).map { 7 + $0 % 10 } }
      try sandbox.write("train", randomSequences(lengths: lengths(480), seed: 1))
      try sandbox.write("valid", randomSequences(lengths: lengths(60), seed: 2))
      let settings = [
        "model.bidirectional=\(isBidirectional)", "model.layers=1", "model.hidden_size=16", "training.epochs=15", "training.maximum_steps=null",
        "optimizer.method=adam", "optimizer.learning_rate=0.01", "evaluation.population_batches=null", "initialization.forget_bias=1",
      ]
      let outcome = try sandbox.run(ranks: 2, sandbox.sequenceTraining("run", settings))
      try #require(outcome.exitCode == 0, "\(outcome)")
      let rates = try sandbox.events("run", "validation").compactMap { $0["sequence_error_rate"] as? Double }
      #expect(rates.count == 15 && rates[14] < 0.05, "\(rates)")
    }

    /// Frames count frames; losses and error rates are means over sequences.
    @Test func metrics() throws {
      let sandbox = try Sandbox()
      try sandbox.writeSequences()
      let outcome = try sandbox.run(ranks: 2, sandbox.sequenceTraining("run", ["training.shuffle=false"]))
      #expect(outcome.exitCode == 0 && outcome.output.contains("sequence error rate"), "\(outcome)")
      let steps = try sandbox.events("run", "step"), lengths = Sandbox.trainLengths
      for (index, part) in [lengths[..<10], lengths[10..<20], lengths[20...]].enumerated() {
        #expect(steps[index]["frames"] as? Int == part.reduce(0, +) && steps[index]["frame_error_rate"] == nil)
        let errors = (steps[index]["sequence_error_rate"] as? Double ?? -1) * Double(part.count)
        #expect(errors >= 0 && abs(errors - errors.rounded()) < 1e-9 && errors <= Double(part.count))
      }
      // Of three classes before anything is learned.
      #expect(abs((steps[0]["loss"] as? Double ?? 0) - log(3)) < 0.3)
      for (kind, lengths) in [("validation", Sandbox.validLengths), ("test", [4, 7])] {
        let event = try #require(try sandbox.events("run", kind).last)
        #expect(event["frames"] as? Int == lengths.reduce(0, +) && event["sequences"] as? Int == lengths.count)
        #expect(event["sequence_error_rate"] is Double && event["perplexity"] == nil && event["frame_error_rate"] == nil)
      }
      let start = try #require(try sandbox.events("run", "start").first)
      #expect(start["utterances"] as? Int == 21 && start["features"] as? Int == 4)
      #expect(
        try sandbox.tensors("run/checkpoints/latest/model.safetensors").first { $0.name == "output.weight" }?.shape == [3, 12])
    }

    /// One row of log posteriors an utterance, in the archive's order, whatever the ranks.
    @Test func posteriors() throws {
      let sandbox = try Sandbox()
      try sandbox.writeSequences()
      #expect(try sandbox.run(sandbox.sequenceTraining("run", [])).exitCode == 0)
      let valid = randomSequences(lengths: Sandbox.validLengths, seed: 2)
      for ranks in [1, 2, 3] {
        let outcome = try sandbox.run(ranks: ranks, ["evaluate", "run", "--posteriors", "out-\(ranks).ark"])
        #expect(outcome.exitCode == 0 && outcome.output.contains("of 5 sequences lie in"), "\(outcome)")
        #expect(try sandbox.data("out-\(ranks).ark") == sandbox.data("out-1.ark"))
      }
      let posteriors = try sandbox.matrices("out-1.ark")
      #expect(posteriors.map(\.key) == valid.map(\.key) && posteriors.allSatisfy { $0.rows.count == 1 && $0.rows[0].count == 3 })
      var loss = 0.0, errors = 0
      for (matrix, utterance) in zip(posteriors, valid) {
        let row = matrix.rows[0], label = Int(utterance.labels[0])
        // Single precision.
        #expect(abs(row.reduce(0) { $0 + exp(Double($1)) } - 1) < 1e-5)
        loss -= Double(row[label]) / 5
        errors += row.max() == row[label] ? 0 : 1
      }
      let validation = try #require(try sandbox.events("run", "validation").last)
      #expect(abs((validation["loss"] as? Double ?? 0) - loss) < 1e-5 * loss)
      #expect(validation["sequence_error_rate"] as? Double == Double(errors) / 5)

      let labels = randomSequences(lengths: Sandbox.trainLengths, seed: 1).map { $0.labels[0] }
      let counts = (0..<3).map { c in Double(max(labels.count { $0 == Int32(c) }, 1)) }, total = counts.reduce(0, +)
      let unlabelled = ["evaluate", "run", "--data", "valid-features.ark", "--posteriors", "priors.ark", "--subtract-priors"]
      let outcome = try sandbox.run(ranks: 2, unlabelled)
      #expect(outcome.exitCode == 0 && !outcome.output.contains("error rate"), "\(outcome)")
      for (with, without) in zip(try sandbox.matrices("priors.ark"), posteriors) {
        for c in 0..<3 { #expect(abs(Double(with.rows[0][c]) - (Double(without.rows[0][c]) - log(counts[c] / total))) < 1e-5) }
      }
    }

    @Test func otherCommands() throws {
      let sandbox = try Sandbox()
      try sandbox.writeSequences()
      #expect(try sandbox.run(sandbox.sequenceTraining("run", ["training.maximum_steps=3"])).exitCode == 0)
      let evaluated = try sandbox.run(ranks: 3, ["evaluate", "run", "--data", "test-features.ark", "--labels", "test-labels.ark"])
      #expect(evaluated.exitCode == 0 && evaluated.output.contains("2 sequences (step 3)"), "\(evaluated)")
      let test = try #require(try sandbox.events("run", "test").last)
      #expect(evaluated.output.contains("test-features.ark: loss \(try #require(test["loss"] as? Double)) nats, sequence error rate"))
      let train = try sandbox.run(["evaluate", "run", "--data", "train-features.ark", "--labels", "train-labels.ark"])
      #expect(train.exitCode == 0 && train.output.contains("21 sequences"), "\(train)")
      try sandbox.expectFailure(64, ["--labels"], ["evaluate", "run", "--data", "valid-features.ark"])
      try sandbox.expectFailure(64, ["sequence-classification"], ranks: [1], ["generate", "run"])
      for ranks in [1, 2] {
        let outcome = try sandbox.run(ranks: ranks, ["benchmark", "sequences.yaml", "--steps", "2", "--json"])
        #expect(outcome.exitCode == 0 && outcome.output.contains("frames/s"), "\(outcome)")
      }
      for path in ["sequences.yaml", "run", "run/checkpoints/latest", "train-labels.ark"] {
        let outcome = try sandbox.run(["inspect", path])
        #expect(outcome.exitCode == 0 && !outcome.output.contains("perplexity"), "\(outcome)")
      }
    }

    static let bad = [
      Speech.Bad(name: "label-too-large", words: ["train-labels.ark", "utterance-4", "label is 3", "0 to 2"]),
      Speech.Bad(name: "label-negative", words: ["train-labels.ark", "utterance-4", "label is -1"]),
      Speech.Bad(name: "no-label", words: ["train-labels.ark", "\"utterance-2\": 0", "one for the whole utterance"]),
      Speech.Bad(name: "two-labels", words: ["train-labels.ark", "\"utterance-2\": 2", "one for the whole utterance"]),
      Speech.Bad(name: "labels-of-frames", words: ["valid-labels.ark", "4 utterances", "\"utterance-0\": 6", "\"utterance-4\": 5"]),
      Speech.Bad(name: "missing-labels", words: ["train-labels.ark", "utterance-3", "without"]),
      Speech.Bad(name: "text", words: ["data.train", "{features: PATH, labels: PATH}"], settings: ["data.train=train.txt"], code: 64),
      Speech.Bad(
        name: "language-model-key", words: ["training.unroll_steps", "language-model"], settings: ["training.unroll_steps=5"], code: 64),
      Speech.Bad(
        name: "vocabulary", words: ["data.vocabulary_size", "sequence-classification"], settings: ["data.vocabulary_size=5"], code: 64),
    ]

    @Test(arguments: bad) func oneMessage(_ bad: Speech.Bad) throws {
      let sandbox = try Sandbox()
      try sandbox.writeSequences()
      var train = randomSequences(lengths: Sandbox.trainLengths, seed: 1)
      switch bad.name {
      case "label-too-large": train[4].labels = [3]
      case "label-negative": train[4].labels = [-1]
      case "no-label": train[2].labels = []
      case "two-labels": train[2].labels = [0, 1]
      case "labels-of-frames": try sandbox.write("valid", randomUtterances(lengths: Sandbox.validLengths, features: 2, classes: 3, seed: 2))
      case "missing-labels": train[3].key = "another"
      default: break
      }
      try sandbox.write("train-labels.ark", labelArchive(train.filter { $0.key != "another" }))
      try sandbox.expectFailure(bad.code, bad.words, sandbox.sequenceTraining("run", bad.settings))
      #expect(!sandbox.exists("run/config.yaml") && !sandbox.exists("run/metrics.jsonl"))
    }
  }
}
