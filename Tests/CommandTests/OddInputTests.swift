import Foundation
import Testing

extension CommandTests {
  /// Input as it comes from other programs and systems: it is used, or the message says what is odd about it.
  @Suite struct OddInput {
    private let once = ["training.maximum_steps=1"]

    @Test(arguments: ["d/corpus #2.txt", "a: b.txt", "100%.txt", "'q'.txt", "line\nend.txt", " b.txt", "~x.txt"])
    func pathsOfTheCommandLine(_ path: String) throws {
      let sandbox = try Sandbox()
      try FileManager.default.createDirectory(atPath: sandbox("d"), withIntermediateDirectories: false)
      try sandbox.write(path, sandbox.text("train.txt"))
      try sandbox.train("run", ranks: 2, once + ["data.train=\(path)", "data.test=\(path)"])
      // What a run wrote says the same to the commands that read it.
      let outcome = try sandbox.run(["evaluate", "run", "--data", path])
      #expect(outcome.exitCode == 0, "\(outcome)")
      try FileManager.default.removeItem(atPath: sandbox(path))
      try sandbox.expectFailure(65, ["cannot be opened"], ranks: [1], sandbox.training("other", ["data.train=\(path)"]))
    }

    @Test func pathsThatAreNotThere() throws {
      let sandbox = try Sandbox()
      for (path, words) in [("~/t.txt", "~ is not expanded"), ("'t.txt'", "quotes count"), ("t\u{a0}.txt", "U+00A0 (no-break space), character 2")] {
        try sandbox.expectFailure(65, [words], ranks: [1], sandbox.training("run", ["data.train=\(path)"]))
        try sandbox.expectFailure(64, [words], ranks: [1], ["train", path, "--run-directory", "run"])
        try sandbox.expectFailure(64, [words], ranks: [1], ["inspect", path])
      }
      #expect(!sandbox.exists("run"))
    }

    /// Swift would make another name of it.
    @Test func namesThatAreNotUTF8() throws {
      let sandbox = try Sandbox()
      let script = "exec \(try Sandbox.program()) \"$@\" \"$(printf 'data.train=\\377.txt')\""
      let outcome = try RunningCommand(
        ["sh", "-c", script, "sh", "train", "tiny.yaml", "--set"], in: sandbox.path, files: (sandbox("output"), sandbox("errors"))).wait()
      #expect(outcome.exitCode == 64 && outcome.errorMessages.first?.contains("not UTF-8") == true, "\(outcome)")
      #expect(!sandbox.exists("Runs"))
    }

    @Test func integersOfOptions() throws {
      let sandbox = try Sandbox()
      try sandbox.train("run", once + ["training.seed=1e3", "training.batch_size=24.0"], ["--threads", "2.0"])
      let outcome = try sandbox.run(["generate", "run", "--tokens", "1e1", "--seed", "3.0"])
      #expect(outcome.exitCode == 0, "\(outcome)")
      for tokens in ["1.5", "many", "1e30"] {
        try sandbox.expectFailure(64, [tokens, "integers"], ranks: [1], ["generate", "run", "--tokens", tokens])
      }
    }

    @Test func invisibleCharactersInConfigurations() throws {
      let sandbox = try Sandbox()
      let text = try sandbox.text("tiny.yaml")
      try sandbox.write("space.yaml", text + "optimizer:\n  momentum:\u{a0}0.5\n  learning_rate: 1\n")
      try sandbox.expectFailure(64, ["space.yaml:", "line 8 has U+00A0 (no-break space) in column 12"], ranks: [1, 2], ["train", "space.yaml"])
      try sandbox.write("mark.yaml", "\u{feff}" + text)
      #expect(try sandbox.run(["inspect", "mark.yaml"]).exitCode == 0)
      try sandbox.write("twice.yaml", text + "model.hidden_size: 9\n")
      try sandbox.expectFailure(64, ["twice.yaml:7: model.hidden_size", "line 3", "once"], ["train", "twice.yaml"])
      let hosts = try sandbox.run(["launch", "-n", "2", "--hosts", "a:2,\u{feff}b:2", "--", "train", "tiny.yaml"])
      #expect(hosts.exitCode == 64 && hosts.errors.contains("U+FEFF (byte-order mark)"), "\(hosts)")
    }

    /// A feature that differs in one frame by a matter of rounding would be scaled up by thousands.
    @Test func almostConstantFeature() throws {
      let sandbox = try Sandbox()
      try sandbox.writeSpeech()
      func write(_ name: String, _ lengths: [Int], seed: UInt64, value: (Int, Int) -> Float) throws {
        var utterances = randomUtterances(lengths: lengths, seed: seed)
        for u in utterances.indices { for t in utterances[u].features.indices { utterances[u].features[t][2] = value(u, t) } }
        try sandbox.write(name, utterances)
      }
      try write("train", Sandbox.trainLengths, seed: 1) { u, t in u == 3 && t == 2 ? 7.0001 : 7 }
      try write("valid", Sandbox.validLengths, seed: 2) { u, t in 7 + Float((u + t) % 3) }
      let outcome = try sandbox.run(ranks: 2, sandbox.speechTraining("run", once))
      let warnings = outcome.warnings.filter { $0.contains("data.train: of features 0 to 2, 2") && $0.contains("not scaled") }
      #expect(warnings.count == 1, "\(outcome)")
    }

    /// Lines that end otherwise than with LF are said; a text without lines asks for none of others.
    @Test func lineEnds() throws {
      let sandbox = try Sandbox()
      let text = try sandbox.text("train.txt")
      try sandbox.write("crlf.txt", text.replacing("\n", with: "\r\n"))
      try sandbox.write("cr.txt", text.replacing("\n", with: "\r"))
      try sandbox.write("mixed.txt", text + text.replacing("\n", with: "\r\n"))
      try sandbox.write("line.txt", text.replacing("\n", with: " "))
      let cases = [
        ("crlf", "word", nil), ("cr", "word", "CR alone in 130 places"), ("mixed", "word", "130 × LF, 130 × CR LF"),
        ("line", "word", "no line end: it is read as one line, without <eos>"), ("crlf", "character", "CR is a character"),
        ("line", "character", "no line end"),
      ]
      for (name, unit, words) in cases {
        let settings = once + ["data.train=\(name).txt", "data.validation=\(name).txt", "data.test=null", "data.unit=\(unit)"]
        let outcome = try sandbox.train("\(name)-\(unit)", settings)
        let remarks = outcome.warnings.filter { $0.contains("\(name).txt has ") }
        #expect(remarks.count == (words == nil ? 0 : 2) && remarks.allSatisfy { $0.contains(words ?? "") }, "\(outcome)")
      }
      #expect(try sandbox.numbers("crlf-word") != sandbox.numbers("line-word"))

      // All words fit, so that nothing is unknown: the newlines of the validation text would be.
      let settings = once + ["data.train=line.txt", "data.vocabulary_size=1000", "data.test=valid.txt"]
      try sandbox.train("words", ranks: 2, settings)
      #expect(try sandbox.run(["evaluate", "words", "--data", "train.txt"]).exitCode == 0)
      #expect(try sandbox.run(["generate", "words", "--tokens", "3", "--prompt", "w1\nw2"]).exitCode == 0)
      // Of characters the one that ends the text.
      try sandbox.write("one.txt", "w1 w2 w3\n")
      try sandbox.train("characters", settings + ["data.unit=character", "data.validation=one.txt", "data.test=null"])
      try sandbox.expectFailure(65, ["valid.txt:1", "data.unknown: add"], ranks: [1], ["evaluate", "characters", "--data", "valid.txt"])
    }

    /// The message says what helps, and it does.
    @Test func unknownWords() throws {
      let sandbox = try Sandbox()
      try sandbox.write("other.txt", "w1 w2\nw3 zebra w4\n")
      let settings = once + ["data.vocabulary_size=1000", "data.validation=other.txt", "data.test=null"]
      try sandbox.expectFailure(
        65, ["other.txt:2", "zebra", "all 61 types", "data.unknown: add", "data.vocabulary_size below 61"], sandbox.training("run", settings))
      try sandbox.train("add", settings + ["data.unknown=add"])
      #expect(try sandbox.events("add", "start").first?["vocabulary"] as? Int == 62)
      #expect(try sandbox.run(["evaluate", "add", "--data", "valid.txt"]).exitCode == 0)
      try sandbox.train("fewer", settings + ["data.vocabulary_size=60"])
      try sandbox.expectFailure(64, ["data.unknown"], sandbox.training("add", settings, ["--resume"]))
    }

    @Test func marksWithinTexts() throws {
      let sandbox = try Sandbox()
      let text = try sandbox.text("valid.txt")
      try sandbox.write("joined.txt", text + "\u{feff}" + text)
      try sandbox.write("wide.txt", try #require(text.data(using: .utf16)))
      for key in ["train", "validation", "test"] {
        try sandbox.expectFailure(65, ["joined.txt:21: U+FEFF", "column 1"], ranks: [1, 2], sandbox.training("run", ["data.\(key)=joined.txt"]))
        try sandbox.expectFailure(65, ["wide.txt", "UTF-16", "iconv"], ranks: [1], sandbox.training("run", ["data.\(key)=wide.txt"]))
      }
      #expect(!sandbox.exists("run"))
    }

    /// Utterances without labels, of other lengths, or empty: all are named, and left out on request, wherever archives are read.
    @Test func unusableUtterances() throws {
      let sandbox = try Sandbox()
      try sandbox.writeSpeech()
      var utterances = randomUtterances(lengths: Sandbox.validLengths, seed: 2)
      try sandbox.write("fewer-features.ark", featureArchive(Array(utterances[..<3])))
      try sandbox.write("fewer-labels.ark", labelArchive(Array(utterances[..<3])))
      utterances[3].features = []
      try sandbox.write("odd-features.ark", featureArchive(utterances))
      utterances[0].labels.removeLast()
      try sandbox.write("odd-labels.ark", labelArchive(Array(utterances[..<4])))
      let words = ["3 utterances cannot be used", "without labels in odd-labels.ark (\"utterance-4\")", "without frames (\"utterance-3\")",
        "\"utterance-0\": 6 frames, 5 labels", "data.on_unusable: skip goes on with the other 2"]
      let settings = ["training.maximum_steps=2"]
      for key in ["train", "validation", "test"] {
        let odd = ["data.\(key).features=odd-features.ark", "data.\(key).labels=odd-labels.ark"]
        try sandbox.expectFailure(65, words, ranks: [1, 2], sandbox.speechTraining("run", settings + odd))
        #expect(!sandbox.exists("run"))
        let outcome = try sandbox.run(ranks: 2, sandbox.speechTraining(key, settings + odd + ["data.on_unusable=skip"]))
        #expect(outcome.exitCode == 0, "\(outcome)")
        #expect(outcome.warnings.contains { $0.contains("3 utterances cannot be used") && $0.contains("left out") }, "\(outcome)")
        #expect(try sandbox.events(key, "start").first?["unusable"] as? Int == (key == "train" ? 3 : 0))
      }
      let odd = ["evaluate", "test", "--data", "odd-features.ark", "--labels", "odd-labels.ark"]
      let outcome = try sandbox.run(ranks: 2, odd)
      #expect(outcome.exitCode == 0 && outcome.warnings.contains { $0.contains("left out") }, "\(outcome)")
      try sandbox.expectFailure(65, words, odd + ["--set", "data.on_unusable=stop"])

      // What is left trains as it would alone.
      let skipped = ["data.validation.features=fewer-features.ark", "data.on_unusable=skip"]
      #expect(try sandbox.run(sandbox.speechTraining("skipped", settings + skipped)).exitCode == 0)
      let fewer = ["data.validation.features=fewer-features.ark", "data.validation.labels=fewer-labels.ark"]
      #expect(try sandbox.run(sandbox.speechTraining("fewer", settings + fewer)).exitCode == 0)
      #expect(try sandbox.numbers("skipped") == sandbox.numbers("fewer"))
    }

    /// Labels in text whose last line has no end: lengths tell whether it was cut off.
    @Test func lastLineOfLabels() throws {
      let sandbox = try Sandbox()
      try sandbox.writeSpeech()
      let lines = randomUtterances(lengths: Sandbox.validLengths, seed: 2).map { utterance in
        "\(utterance.key) " + utterance.labels.map { "\($0)" }.joined(separator: " ")
      }
      let text = lines.joined(separator: "\n")
      try sandbox.write("labels.txt", text)
      try sandbox.write("cut.txt", String(text.dropLast(2)))
      try sandbox.write("mark.txt", "\u{feff}" + text)
      let settings = ["training.maximum_steps=2", "data.validation.labels=labels.txt"]
      #expect(try sandbox.run(sandbox.speechTraining("text", settings)).exitCode == 0)
      #expect(try sandbox.run(sandbox.speechTraining("binary", [settings[0]])).exitCode == 0)
      #expect(try sandbox.numbers("text") == sandbox.numbers("binary"))
      try sandbox.expectFailure(
        65, ["\"utterance-4\": 5 frames, 4 labels"], sandbox.speechTraining("run", ["data.validation.labels=cut.txt"]))
      try sandbox.expectFailure(65, ["mark.txt:1: U+FEFF"], sandbox.speechTraining("run", ["data.train.labels=mark.txt"]))
    }

    /// A configuration that the data or the ranks refuse leaves no directory behind, but the one of the user.
    @Test func directoriesOfRefusedRuns() throws {
      let sandbox = try Sandbox()
      try sandbox.expectFailure(64, ["training.shards"], ranks: [3], sandbox.training("a/b", ["training.shards=2"]))
      try sandbox.expectFailure(65, ["nowhere.txt"], ["train", "tiny.yaml", "--set", "data.train=nowhere.txt"])
      #expect(!sandbox.exists("a") && !sandbox.exists("Runs"))
      try FileManager.default.createDirectory(atPath: sandbox("mine"), withIntermediateDirectories: false)
      try sandbox.write("mine/notes", "kept")
      try sandbox.expectFailure(65, ["nowhere.txt"], sandbox.training("mine", ["data.train=nowhere.txt"]))
      #expect(try sandbox.text("mine/notes") == "kept")
      try sandbox.train("mine", once)
      try sandbox.expectFailure(64, ["holds a run"], sandbox.training("mine", []))
      try sandbox.expectFailure(64, ["model.layers"], sandbox.training("mine", ["model.layers=1"], ["--resume"]))
      #expect(sandbox.exists("mine/checkpoints/latest"))
    }
  }
}
