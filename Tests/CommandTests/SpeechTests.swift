import Foundation
import Testing

extension CommandTests {
  /// Frame classification as users run it: utterances of any lengths, uneven and empty shards.
  @Suite struct Speech {
    struct Variant: CustomTestStringConvertible, Sendable {
      var name: String
      var ranks: [Int]
      var settings: [String]
      var testDescription: String { name }
    }

    static let variants = [
      Variant(
        name: "sequence, global, dropout", ranks: [1, 2, 3, 4, 5, 8], settings: ["normalization.scope=global", "model.dropout=0.3"]),
      Variant(
        name: "frame, global", ranks: [1, 2, 4, 8], settings: ["normalization.statistics=frame", "optimizer.momentum=0.9"]),
      Variant(name: "sequence, local", ranks: [1, 2, 4, 8], settings: ["normalization.scope=local", "evaluation.statistics=running"]),
      Variant(
        name: "frame, local", ranks: [1, 2, 4, 8], settings: ["normalization.statistics=frame", "normalization.scope=local", "training.shards=8"]),
      Variant(
        name: "frame, local, statistics of what is evaluated", ranks: [1, 2, 3, 8],
        settings: ["normalization.statistics=frame", "normalization.scope=local", "evaluation.statistics=batch"]),
      Variant(
        name: "frame, group of 3, averaged", ranks: [1, 2, 3, 8],
        settings: ["normalization.statistics=frame", "normalization.scope={group: 3}", "evaluation.statistics=averaged"]),
      Variant(
        name: "group of 3, adam, accumulation", ranks: [1, 2, 4, 8],
        settings: ["normalization.scope={group: 3}", "optimizer.method=adam", "optimizer.learning_rate=0.01", "training.accumulate_steps=2"]),
      Variant(
        name: "preactivation, group of 2, average over frames", ranks: [1, 2, 4, 8],
        settings: [
          "normalization.placement=preactivation", "normalization.statistics=frame", "normalization.scope={group: 2}",
          "training.average_over=frames",
        ]),
      Variant(
        name: "no normalisation, peepholes, archive order", ranks: [1, 2, 4, 8],
        settings: [
          "normalization.placement=none", "model.peepholes=all", "training.shuffle=false", "data.normalize=utterance", "data.deltas=1",
        ]),
      Variant(
        name: "minibatches by frames", ranks: [1, 2, 3, 8],
        settings: ["training.batch_frames=24", "normalization.statistics=frame", "normalization.scope={group: 3}", "model.dropout=0.3"]),
      Variant(
        name: "minibatches by frames, archive order, accumulation", ranks: [1, 4],
        settings: ["training.batch_frames=17", "training.shuffle=false", "training.accumulate_steps=2", "evaluation.statistics=batch"]),
      Variant(
        name: "rnn in one direction, many buckets", ranks: [1, 4, 8],
        settings: [
          "model.cell=rnn", "model.bidirectional=false", "normalization.placement=preactivation", "normalization.statistics=frame",
          "communication.bucket_megabytes=0.001", "data.normalize=none", "data.maximum_frames=8",
        ]),
    ]

    @Test(arguments: variants) func sameBits(_ variant: Variant) throws {
      let sandbox = try Sandbox()
      try sandbox.writeSpeech()
      try sandbox.expectSameBits(onRanks: variant.ranks) { sandbox.speechTraining($0, variant.settings) }
    }

    /// Minibatches have at most so many frames, and a run that was stopped goes on in the middle of an epoch.
    @Test func minibatchesByFrames() throws {
      let sandbox = try Sandbox()
      try sandbox.writeSpeech()
      let settings = ["training.batch_frames=24", "training.epochs=3", "training.maximum_steps=null"]
      let whole = try sandbox.run(ranks: 2, sandbox.speechTraining("whole", settings))
      #expect(whole.exitCode == 0 && whole.output.contains("minibatches of at most 24 frames in the first epoch"), "\(whole)")
      let steps = try sandbox.events("whole", "step")
      for epoch in 1...3 {
        let frames = steps.filter { $0["epoch"] as? Int == epoch }.compactMap { $0["frames"] as? Int }
        #expect(frames.reduce(0, +) == Sandbox.trainLengths.reduce(0, +) && frames.allSatisfy { $0 <= 24 })
      }
      let first = try sandbox.run(ranks: 1, sandbox.speechTraining("resumed", settings + ["training.maximum_steps=7"]))
      let second = try sandbox.run(ranks: 3, sandbox.speechTraining("resumed", settings) + ["--resume"])
      #expect(first.exitCode == 0 && second.exitCode == 0, "\(first)\n\(second)")
      let model = "checkpoints/latest/model.safetensors"
      #expect(try sandbox.data("whole/\(model)") == sandbox.data("resumed/\(model)"))
      try sandbox.expectFailure(
        64, ["training.batch_frames is 8", "\"utterance-1\" of train-features.ark has 9 frames"],
        sandbox.speechTraining("refused", ["training.batch_frames=8"]))
      let rehearsal = try sandbox.run(sandbox.speechTraining("rehearsal", settings) + ["--dry-run"])
      #expect(rehearsal.exitCode == 0 && rehearsal.output.contains(" in the first; of the run: \(steps.count)"), "\(rehearsal)")
      // No more epochs are planned than are needed.
      let long = try sandbox.run(sandbox.speechTraining("long", settings + ["training.epochs=2000000000", "optimizer.cosine={final: 0.1}"]) + ["--dry-run"])
      #expect(long.exitCode == 0 && long.output.contains("in at most 2000000000 epochs"), "\(long)")
    }

    /// Lists of archives, packed ones, and commands give the bits of one plain archive; a checkpoint does not decide that commands are run.
    @Test func otherFormsOfArchives() throws {
      let sandbox = try Sandbox()
      try sandbox.writeSpeech()
      let utterances = randomUtterances(lengths: Sandbox.trainLengths, seed: 1)
      for (name, part) in [("1", utterances[..<9]), ("2", utterances[9...])] {
        try sandbox.write("\(name).ark", featureArchive(Array(part)))
        try sandbox.write("\(name)-labels.ark", labelArchive(Array(part)))
      }
      let gzip = Process()
      gzip.executableURL = URL(filePath: "/bin/gzip")
      gzip.currentDirectoryURL = URL(filePath: sandbox.path)
      gzip.arguments = ["2.ark", "1-labels.ark"]
      try gzip.run()
      gzip.waitUntilExit()
      let command = "cat 1.ark; gunzip -c 2.ark.gz |"
      let forms = [
        "whole": [], "list": ["data.train={features: [1.ark, 2.ark.gz], labels: [1-labels.ark.gz, 2-labels.ark]}"],
        "command": ["data.train.features=ark:\(command)", "data.validation.features=cat valid-features.ark |", "data.allow_commands=true"],
      ]
      for (name, settings) in forms {
        let outcome = try sandbox.run(ranks: 2, sandbox.speechTraining(name, settings))
        #expect(outcome.exitCode == 0, "\(name): \(outcome)")
      }
      for file in ["model.safetensors", "training.safetensors", "features.json"] {
        for name in ["list", "command"] {
          #expect(try sandbox.data("whole/checkpoints/latest/\(file)") == sandbox.data("\(name)/checkpoints/latest/\(file)"), "\(name): \(file)")
        }
      }
      try sandbox.expectFailure(
        65, ["ark:\(command): is a command", "data.allow_commands: true"], sandbox.speechTraining("refused", ["data.train.features=ark:\(command)"]))
      try sandbox.expectFailure(65, ["cat valid-features.ark |: is a command"], ["evaluate", "command"])
      let evaluated = try sandbox.run(["evaluate", "command", "--set", "data.allow_commands=true"])
      #expect(evaluated.exitCode == 0 && evaluated.output.contains("cat valid-features.ark |: loss"), "\(evaluated)")
    }

    /// Frames, padding and error rates in the metrics are those of the data.
    @Test func metrics() throws {
      let sandbox = try Sandbox()
      try sandbox.writeSpeech()
      let settings = ["training.shuffle=false", "training.maximum_steps=30", "data.maximum_frames=8"]
      let outcome = try sandbox.run(ranks: 2, sandbox.speechTraining("run", settings))
      #expect(outcome.exitCode == 0 && outcome.output.contains("2 utterances of more than 8 frames are left out"), "\(outcome)")
      let lengths = Sandbox.trainLengths.filter { $0 <= 8 }, steps = try sandbox.events("run", "step")
      #expect(steps.count == 30)
      // 19 utterances make minibatches of 10 and 9.
      for (index, part) in [lengths[..<10], lengths[10...]].enumerated() {
        #expect(steps[index]["frames"] as? Int == part.reduce(0, +))
        let padding = 1 - Double(part.reduce(0, +)) / Double(part.count * (part.max() ?? 0))
        #expect(abs((steps[index]["padding"] as? Double ?? -1) - padding) < 1e-12)
      }
      let rates = steps.compactMap { $0["frame_error_rate"] as? Double }
      #expect(rates.count == 30 && rates.allSatisfy { (0...1).contains($0) } && rates[28] < rates[0])
      let validation = try #require(try sandbox.events("run", "validation").last)
      #expect(validation["frames"] as? Int == Sandbox.validLengths.reduce(0, +) && validation["perplexity"] == nil)
      let start = try #require(try sandbox.events("run", "start").first)
      #expect(start["utterances"] as? Int == 19 && start["left_out"] as? Int == 2 && start["features"] as? Int == 9)
      #expect(try sandbox.events("run", "test").first?["frame_error_rate"] != nil)
      // The leading dimension of frame-wise statistics is the longest utterance trained on.
      let frame = try sandbox.run(sandbox.speechTraining("frame", settings + ["normalization.statistics=frame", "training.maximum_steps=1"]))
      #expect(frame.exitCode == 0, "\(frame)")
      let tensors = try sandbox.tensors("frame/checkpoints/latest/model.safetensors")
      #expect(tensors.first { $0.name == "lstm.1.backward.input_norm.running_mean" }?.shape == [8, 24])
      #expect(tensors.first { $0.name == "lstm.1.backward.input_weight" }?.shape == [24, 12])
      #expect(tensors.first { $0.name == "output.weight" }?.shape == [5, 12])
      #expect(!tensors.contains { $0.name.hasPrefix("embedding") })
    }

    /// Shuffled epochs go on where they stopped, on other ranks too.
    @Test func resuming() throws {
      let sandbox = try Sandbox()
      try sandbox.writeSpeech()
      let settings = ["optimizer.momentum=0.9", "model.dropout=0.2"]
      for (directory, ranks, steps, further) in [("whole", 3, 11, []), ("parts", 2, 5, []), ("parts", 4, 11, ["--resume"])] {
        let outcome = try sandbox.run(ranks: ranks, sandbox.speechTraining(directory, settings + ["training.maximum_steps=\(steps)"], further))
        try #require(outcome.exitCode == 0, "\(outcome)")
      }
      try Resuming.expectSameEnd(sandbox, "parts", "whole", step: 11)
      // Other utterances than the run began with are refused.
      try sandbox.write("train", randomUtterances(lengths: Sandbox.trainLengths.reversed(), seed: 1))
      try sandbox.expectFailure(
        64, ["data.train", "21 utterances"], sandbox.speechTraining("parts", settings + ["training.maximum_steps=12"], ["--resume"]))
    }

    /// A checkpoint evaluates as the run did when it was written, also where fewer steps went into the population's statistics than training saw.
    @Test(arguments: ["population", "running", "averaged"]) func storedStatistics(kind: String) throws {
      let sandbox = try Sandbox()
      try sandbox.writeSpeech()
      let settings = [
        "normalization.statistics=frame", "evaluation.population_batches=1", "training.shuffle=false", "evaluation.statistics=\(kind)",
        "training.maximum_steps=3",
      ]
      // The first minibatch is shorter than the longest utterance of the second, which two of it have.
      var lengths = Sandbox.trainLengths.map { min($0, 6) }
      for k in 10..<20 { lengths[k] = 9 }
      try sandbox.write("train", randomUtterances(lengths: lengths, seed: 1))
      let outcome = try sandbox.run(ranks: 2, sandbox.speechTraining("run", settings))
      try #require(outcome.exitCode == 0, "\(outcome)")
      let validation = try #require(try sandbox.events("run", "validation").last?["loss"] as? Double)
      let words = try sandbox.run(["evaluate", "run/checkpoints/latest"]).output.split(separator: " ")
      let printed = try #require(words.firstIndex(of: "loss").flatMap { Double(words[$0 + 1]) })
      #expect(abs(validation - printed) <= 1e-14 * validation)
      // Rows of steps that were not seen hold those of the last one seen.
      let mean = try #require(
        try sandbox.tensors("run/checkpoints/latest/model.safetensors").first { $0.name == "lstm.0.forward.input_norm.running_mean" })
      #expect(mean.shape == [9, 24])
      let rows = (0..<9).map { Array(mean.values[$0 * 24..<($0 + 1) * 24]) }
      #expect(rows[4] != rows[5] && (kind == "running" ? rows[8] != rows[5] : rows[6...].allSatisfy { $0 == rows[5] }))
    }

    /// With the statistics of what is evaluated, the number of shards and ranks changes rounding alone, and a warning says what matters.
    @Test(arguments: ["frame", "sequence"]) func batchStatistics(statistics: String) throws {
      let sandbox = try Sandbox()
      try sandbox.writeSpeech()
      let settings = ["normalization.statistics=\(statistics)", "evaluation.statistics=batch", "training.maximum_steps=4"]
      let outcome = try sandbox.run(ranks: 2, sandbox.speechTraining("run", settings))
      try #require(outcome.exitCode == 0, "\(outcome)")
      #expect(outcome.warnings.count { $0.contains("evaluation.statistics: batch") } == 1, "\(outcome)")
      func loss(ranks: Int, _ settings: [String], _ further: [String] = []) throws -> Double {
        let outcome = try sandbox.run(ranks: ranks, ["evaluate", "run/checkpoints/latest"] + further + settings.flatMap { ["--set", $0] })
        let words = outcome.output.split(separator: " ")
        return try #require(words.firstIndex(of: "loss").flatMap { Double(words[$0 + 1]) }, "\(outcome)")
      }
      let validation = try #require(try sandbox.events("run", "validation").last?["loss"] as? Double)
      for ranks in [1, 3] {
        #expect(abs(try loss(ranks: ranks, []) - validation) <= 1e-14 * validation)
        // Single precision.
        #expect(abs(try loss(ranks: ranks, ["training.shards=3"]) - validation) <= 1e-5 * validation)
        // What is evaluated together is the archive's order, with and without posteriors.
        #expect(abs(try loss(ranks: ranks, [], ["--posteriors", "out-\(ranks).ark"]) - validation) <= 1e-14 * validation)
        #expect(abs(try loss(ranks: ranks, ["evaluation.statistics=running"]) - validation) > 1e-6 * validation)
      }
      #expect(try sandbox.data("out-1.ark") == sandbox.data("out-3.ark"))
    }

    /// Time steps with too few frames take the statistics of the last that has enough; the frames of all updates count, those before a resume too.
    @Test(arguments: ["population", "averaged", "running"]) func framesPerStep(kind: String) throws {
      let sandbox = try Sandbox()
      try sandbox.writeSpeech()
      let settings = [
        "normalization.statistics=frame", "training.shuffle=false", "evaluation.statistics=\(kind)", "evaluation.frames_per_step=12",
      ]
      var outputs: [String] = []
      for (directory, ranks, steps, further) in [("whole", 1, 2, []), ("parts", 2, 1, []), ("parts", 3, 2, ["--resume"])] {
        let outcome = try sandbox.run(ranks: ranks, sandbox.speechTraining(directory, settings + ["training.maximum_steps=\(steps)"], further))
        try #require(outcome.exitCode == 0, "\(outcome)")
        outputs.append(outcome.output)
      }
      // Two minibatches have 20, 18, 16, 14, 12, 9, 7 and 4 frames at their steps, and once each a ninth.
      let words = "From time step 6 on evaluation takes the statistics of step 5"
      #expect(outputs[0].ranges(of: words).count == 1 && outputs[2].contains(words), "\(outputs)")
      let file = "checkpoints/latest/model.safetensors"
      #expect(try sandbox.data("whole/\(file)") == sandbox.data("parts/\(file)"))
      for name in ["lstm.0.forward", "lstm.1.backward"] {
        let mean = try #require(try sandbox.tensors("whole/\(file)").first { $0.name == "\(name).input_norm.running_mean" })
        let rows = (0..<9).map { Array(mean.values[$0 * 24..<($0 + 1) * 24]) }
        #expect(rows[3] != rows[4] && rows[5...].allSatisfy { $0 == rows[4] })
      }
      // Evaluated as trained, and as another setting has it.
      func loss(_ settings: [String]) throws -> Double {
        let outcome = try sandbox.run(ranks: 2, ["evaluate", "whole/checkpoints/latest"] + settings.flatMap { ["--set", $0] })
        let words = outcome.output.split(separator: " ")
        return try #require(words.firstIndex(of: "loss").flatMap { Double(words[$0 + 1]) }, "\(outcome)")
      }
      let validation = try #require(try sandbox.events("whole", "validation").last?["loss"] as? Double)
      #expect(abs(try loss([]) - validation) <= 1e-14 * validation)
      #expect(abs(try loss(["evaluation.frames_per_step=12"]) - validation) <= 1e-14 * validation)
      #expect(try loss(["evaluation.frames_per_step=1"]) != loss(["evaluation.frames_per_step=12"]))
    }

    /// Log posteriors are a distribution in every frame, in the archive's order, whatever the ranks; priors are those of the training labels.
    @Test func posteriors() throws {
      let sandbox = try Sandbox()
      try sandbox.writeSpeech()
      #expect(try sandbox.run(sandbox.speechTraining("run", [])).exitCode == 0)
      let valid = randomUtterances(lengths: Sandbox.validLengths, seed: 2)
      for ranks in [1, 2, 3] {
        let outcome = try sandbox.run(ranks: ranks, ["evaluate", "run", "--posteriors", "out-\(ranks).ark"])
        #expect(outcome.exitCode == 0 && outcome.output.contains("frame error rate"), "\(outcome)")
        #expect(try sandbox.data("out-\(ranks).ark") == sandbox.data("out-1.ark"))
      }
      let posteriors = try sandbox.matrices("out-1.ark")
      #expect(posteriors.map(\.key) == valid.map(\.key))
      #expect(posteriors.map(\.rows.count) == valid.map(\.features.count))
      var loss = 0.0
      for (matrix, utterance) in zip(posteriors, valid) {
        for (row, label) in zip(matrix.rows, utterance.labels) {
          // Single precision.
          #expect(abs(row.reduce(0) { $0 + exp(Double($1)) } - 1) < 1e-5)
          loss -= Double(row[Int(label)])
        }
      }
      let result = try sandbox.run(["evaluate", "run"]).output, words = result.split(separator: " ")
      let printed = try #require(words.firstIndex(of: "loss").flatMap { Double(words[$0 + 1]) })
      #expect(abs(loss / Double(valid.reduce(0) { $0 + $1.labels.count }) - printed) < 1e-5, "\(result)")

      // Without labels, and with priors.
      let outcome = try sandbox.run(
        ranks: 2, ["evaluate", "run", "--data", "valid-features.ark", "--posteriors", "priors.ark", "--subtract-priors"])
      #expect(outcome.exitCode == 0 && !outcome.output.contains("frame error rate"), "\(outcome)")
      let labels = randomUtterances(lengths: Sandbox.trainLengths, seed: 1).flatMap(\.labels)
      let counts = (0..<5).map { c in Double(max(labels.count { $0 == Int32(c) }, 1)) }, total = counts.reduce(0, +)
      for (with, without) in zip(try sandbox.matrices("priors.ark"), posteriors) {
        for (a, b) in zip(with.rows, without.rows) {
          for c in 0..<5 { #expect(abs(Double(a[c]) - (Double(b[c]) - log(counts[c] / total))) < 1e-5) }
        }
      }
      try sandbox.expectFailure(64, ["--labels"], ["evaluate", "run", "--data", "valid-features.ark"])
      try sandbox.expectFailure(64, ["--posteriors"], ["evaluate", "run", "--subtract-priors"])
      try sandbox.expectFailure(64, ["frame-classification"], ranks: [1], ["generate", "run"])
      #expect(try sandbox.run(["evaluate", "run", "--data", "train-features.ark", "--labels", "train-labels.ark"]).exitCode == 0)
    }

    struct Bad: CustomTestStringConvertible, Sendable {
      var name: String
      var words: [String]
      var settings: [String] = []
      var code: Int32 = 65
      var testDescription: String { name }
    }

    static let bad = [
      Bad(name: "labels-of-another", words: ["train-labels.ark", "utterance-3", "without"]),
      Bad(name: "features-of-another", words: ["train-features.ark", "utterance-3", "without"]),
      Bad(name: "label-too-large", words: ["train-labels.ark", "utterance-4", "frame 2", "5", "0 to 4"]),
      Bad(name: "label-negative", words: ["train-labels.ark", "utterance-4", "frame 2", "-1"]),
      Bad(name: "valid-label", words: ["valid-labels.ark", "utterance-1", "7"]),
      Bad(name: "lengths-differ", words: ["utterance-2", "2 frames", "1 labels"]),
      Bad(name: "nan", words: ["train-features.ark", "utterance-5", "row 0", "column 1"]),
      Bad(name: "duplicate", words: ["train-features.ark", "utterance-0", "twice"]),
      Bad(name: "truncated", words: ["train-features.ark", "utterance-20"]),
      Bad(name: "widths", words: ["train-features.ark", "utterance-20", "2 columns"]),
      Bad(name: "valid-width", words: ["data.validation", "2 features", "trained on 3"], code: 64),
      Bad(name: "all-too-long", words: ["train-features.ark", "2 frames"], settings: ["data.maximum_frames=1"]),
      Bad(name: "missing", words: ["nowhere.ark"], settings: ["data.train={features: nowhere.ark, labels: train-labels.ark}"]),
      Bad(name: "swapped", words: ["train-labels.ark"], settings: ["data.train={features: train-labels.ark, labels: train-features.ark}"]),
      Bad(name: "sequence-preactivation", words: ["normalization.statistics"], settings: ["normalization.placement=preactivation"], code: 64),
    ]

    @Test(arguments: bad) func oneMessage(_ bad: Bad) throws {
      let sandbox = try Sandbox()
      try sandbox.writeSpeech()
      var train = randomUtterances(lengths: Sandbox.trainLengths, seed: 1), valid = randomUtterances(lengths: Sandbox.validLengths, seed: 2)
      switch bad.name {
      case "labels-of-another": try sandbox.write("train-labels.ark", labelArchive(train.filter { $0.key != "utterance-3" }))
      case "features-of-another": try sandbox.write("train-features.ark", featureArchive(train.filter { $0.key != "utterance-3" }))
      case "label-too-large": train[4].labels[2] = 5
      case "label-negative": train[4].labels[2] = -1
      case "valid-label": valid[1].labels[0] = 7
      case "lengths-differ": train[2].labels.removeLast()
      case "nan": train[5].features[0][1] = .nan
      case "duplicate": try sandbox.write("train-features.ark", featureArchive(train + [train[0]]))
      case "truncated": try sandbox.write("train-features.ark", featureArchive(train).dropLast(7))
      case "widths":
        for t in train[20].features.indices { train[20].features[t].removeLast() }
      case "valid-width":
        for u in valid.indices { for t in valid[u].features.indices { valid[u].features[t].removeLast() } }
      case "all-too-long":
        train = train.filter { $0.labels.count > 1 }
      default: break
      }
      switch bad.name {
      case "label-too-large", "label-negative", "lengths-differ", "nan", "widths", "all-too-long": try sandbox.write("train", train)
      case "valid-label", "valid-width": try sandbox.write("valid", valid)
      default: break
      }
      try sandbox.expectFailure(bad.code, bad.words, sandbox.speechTraining("run", bad.settings))
      #expect(!sandbox.exists("run/config.yaml") && !sandbox.exists("run/metrics.jsonl"))
    }
  }
}

extension Sandbox {
  /// The float matrices of a binary archive.
  func matrices(_ name: String) throws -> [(key: String, rows: [[Float]])] {
    let bytes = [UInt8](try data(name))
    var at = 0, matrices: [(key: String, rows: [[Float]])] = []
    func word(_ at: Int) -> UInt32 { (0..<4).reduce(0) { $0 | UInt32(bytes[at + $1]) << (8 * UInt32($1)) } }
    while at < bytes.count {
      let space = try #require(bytes[at...].firstIndex(of: 0x20)), key = String(decoding: bytes[at..<space], as: UTF8.self)
      try #require(Array(bytes[space + 1..<space + 6]) == Array("\0BFM ".utf8))
      let rows = Int(word(space + 7)), columns = Int(word(space + 12))
      at = space + 16
      matrices.append((key, (0..<rows).map { r in (0..<columns).map { Float(bitPattern: word(at + 4 * (r * columns + $0))) } }))
      at += 4 * rows * columns
    }
    return matrices
  }
}
