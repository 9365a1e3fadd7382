import Foundation
import SequenceData
import Testing

/// What gzip has packed, what commands write, and several files in place of one.
@Suite struct PackedFileTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  /// Runs a command of the shell in the directory.
  private func shell(_ command: String) throws {
    let process = Process()
    process.executableURL = URL(filePath: "/bin/sh")
    process.arguments = ["-c", "cd '\(directory.path)' && \(command)"]
    try process.run()
    process.waitUntilExit()
    try #require(process.terminationStatus == 0, "\(command)")
  }

  private func path(_ name: String) -> String { "\(directory.path)/\(name)" }

  @Test func texts() throws {
    let first = "a b c\nb c\n", second = "d a\nlast"
    try directory.write(first, to: "1.txt")
    try directory.write(second, to: "2.txt")
    // Two streams in one file, as two packed files joined.
    try shell("cat 1.txt 2.txt > all.txt; gzip -k 1.txt 2.txt; cat 1.txt.gz 2.txt.gz > all.txt.gz")
    for unit in [TextUnit.word, .character] {
      let whole = TextFile(path: path("all.txt"), unit: unit)
      let expected = try tokens(of: whole), (vocabulary, statistics, lineEnds) = try whole.buildVocabulary(size: 100)
      for names in [["all.txt.gz"], ["1.txt", "2.txt"], ["1.txt.gz", "2.txt"]] {
        for chunkSize in [1, 3, 1000] {
          let text = TextFile(paths: names.map(path), unit: unit, chunkSize: chunkSize)
          #expect(try tokens(of: text) == expected)
          let built = try text.buildVocabulary(size: 100)
          #expect(built.vocabulary.serialized() == vocabulary.serialized() && built.statistics == statistics && built.lineEnds == lineEnds)
          var bytes: [UInt8] = []
          try text.forEachPiece { piece in for index in piece.indices { bytes.append(piece[index]) } }
          #expect(bytes == Array((first + second).utf8))
        }
      }
    }
    // A word ends with its file, and a fault names the file that it is in.
    try directory.write("left", to: "left.txt")
    try directory.write("right\n", to: "right.txt")
    #expect(try tokens(of: TextFile(paths: ["left.txt", "right.txt"].map(path), unit: .word)) == ["left", "right", "<eos>"])
    let vocabulary = try TextFile(path: path("1.txt"), unit: .word).buildVocabulary(size: 100).vocabulary
    let both = TextFile(paths: ["1.txt", "2.txt"].map(path), unit: .word)
    #expect(throws: CorpusError.unknownToken(file: path("2.txt"), line: 1, token: "d", types: vocabulary.count)) {
      try both.readTokens(in: [], vocabulary: vocabulary, expectedTokens: 11)
    }
    #expect(both.path == "\(path("1.txt")) and \(path("2.txt"))")
    #expect(throws: CorpusError.cannotOpen(file: path("none"), reason: "No such file or directory")) {
      try TextFile(paths: ["1.txt", "none"].map(path), unit: .word).extent()
    }
  }

  @Test func damagedTexts() throws {
    try directory.write(String(repeating: "some words of a text\n", count: 1000), to: "a")
    try shell("gzip -k a; head -c 60 a.gz > short; head -c 30 a.gz > bad; echo nonsense >> bad; tail -c +39 a.gz >> bad; (cat a.gz; echo rest) > behind")
    #expect(throws: CorpusError.cannotUnpack(file: path("short"), reason: "the file ends in the middle of a stream")) {
      try TextFile(path: path("short"), unit: .word).extent()
    }
    guard case .cannotUnpack(path("bad"), let reason)? = #expect(throws: CorpusError.self, performing: { try TextFile(path: path("bad"), unit: .word).extent() })
    else {
      Issue.record("a damaged stream is read")
      return
    }
    #expect(!reason.contains("fd:") && !reason.isEmpty)
    // Nothing but zeros may stand behind the streams: a damaged one would be left out otherwise.
    try shell("cp a.gz padded; head -c 100 /dev/zero >> padded; cp a.gz half; tail -c +2 a.gz >> half; cp a.gz torn; head -c 1 a.gz >> torn")
    #expect(try TextFile(path: path("padded"), unit: .word).countTokens() == 6000)
    for (name, words) in [("behind", "behind a stream, is no stream"), ("half", "behind a stream, is no stream"), ("torn", "in the middle of a stream")] {
      guard case .cannotUnpack(_, let reason)? = #expect(throws: CorpusError.self, performing: { try TextFile(path: path(name), unit: .word).extent() }) else {
        Issue.record("\(name) is read")
        continue
      }
      #expect(reason.contains(words), "\(name): \(reason)")
    }
  }

  /// Two archives of matrices, and all of them in one table, however they come.
  @Test func archives() throws {
    let first = KaldiBytes.matrix("a", rows: 2, columns: 2, [1, 2, 3, 4]) + KaldiBytes.matrix("b", rows: 1, columns: 2, [5, 6])
    let second = KaldiBytes.matrix("c", rows: 1, columns: 2, [7, 8])
    try directory.write(first, to: "1.ark")
    try directory.write(second, to: "2.ark")
    try directory.write(first + second, to: "all.ark")
    try directory.write("c cat '\(path("2.ark"))' | tail -c +3 |\n", to: "2.scp")
    try shell("gzip -k 1.ark 2.ark all.ark; gzip -k 2.scp")
    let expected = try values(of: KaldiTable(path: path("all.ark"), content: .matrices))
    let inputs: [[String]] = [
      ["1.ark", "2.ark"].map(path), ["all.ark.gz"].map(path), ["ark:\(path("1.ark.gz"))", path("2.ark")], ["ark:cat '\(path("1.ark"))' '\(path("2.ark"))' |"],
      ["gunzip -c '\(path("all.ark.gz"))' |"], [path("1.ark"), "scp:\(path("2.scp"))"], [path("1.ark"), path("2.scp.gz")],
      [path("1.ark"), "scp:cat '\(path("2.scp"))' |"],
    ]
    for paths in inputs {
      let table = try KaldiTable(paths: paths, content: .matrices, allowsCommands: true)
      #expect(table.inputs == paths && table.entries.map(\.key) == ["a", "b", "c"], "\(paths)")
      #expect(try values(of: table) == expected, "\(paths)")
      let copy = try KaldiTable(serialized: table.serialized())
      #expect(copy == table && copy.sources == table.sources)
      #expect(try values(of: copy) == expected, "\(paths)")
    }
    #expect(throws: KaldiError.indexLine(file: path("2.scp"), line: 1, problem: .commandNotAllowed(path: "cat '\(path("2.ark"))' | tail -c +3 |"))) {
      try KaldiTable(paths: [path("2.scp")], content: .matrices)
    }
    // A pipe sign before an offset makes no command of a path, whatever is allowed.
    for allows in [false, true] {
      try directory.write("c touch '\(path("run"))'; cat '\(path("2.ark"))' |:2\n", to: "odd.scp")
      let problem = KaldiError.IndexProblem.stream(path: "touch '\(path("run"))'; cat '\(path("2.ark"))' |:2")
      #expect(throws: KaldiError.indexLine(file: path("odd.scp"), line: 1, problem: problem)) {
        try KaldiTable(paths: [path("odd.scp")], content: .matrices, allowsCommands: allows)
      }
    }
    #expect(!FileManager.default.fileExists(atPath: path("run")))
    #expect(throws: KaldiError.stream(path: "-")) { try KaldiTable(paths: ["-"], content: .matrices, allowsCommands: true) }
  }

  /// A command runs once for all readers of an archive, and each time for a line of an index.
  @Test func commands() throws {
    try directory.write(KaldiBytes.matrix("a", rows: 1, columns: 1, [1]), to: "a.ark")
    let count = "echo >> '\(path("count"))'; cat '\(path("a.ark"))' |"
    let table = try KaldiTable(path: "ark:" + count, content: .matrices, allowsCommands: true)
    let before = try runs()
    for _ in 0..<3 { #expect(try values(of: table).count == 1) }
    #expect(try before == 1 && runs() == 2)

    // What goes wrong, with the last line that the command has to say of it.
    let command = "echo first >&2; echo second >&2; exit 7 |"
    #expect(kaldiError("ark:" + command) == .command(command, ending: "ended with exit code 7", message: "second"))
    try directory.write("a \(command)\n", to: "a.scp")
    let error = kaldiError(path("a.scp"))
    #expect(error == .indexLine(file: path("a.scp"), line: 1, problem: .command(command, ending: "ended with exit code 7", message: "second")))
    #expect(error?.description == "\(path("a.scp")):1: \(command.debugDescription): the command ended with exit code 7: second")
    #expect(kaldiError("ark:kill -KILL $$ |") == .command("kill -KILL $$ |", ending: "was ended by signal 9", message: ""))
    // It has no input, and what it writes is read as any archive is.
    #expect(kaldiError("ark:cat |") == nil)
    #expect(kaldiError("ark:echo word |") == .key(file: "echo word |", offset: 0, problem: .unexpected(byte: 0x0A)))
  }

  private func runs() throws -> Int { try String(contentsOfFile: path("count"), encoding: .utf8).count }

  private func kaldiError(_ path: String) -> KaldiError? {
    do {
      _ = try KaldiTable(path: path, content: .matrices, allowsCommands: true)
      return nil
    } catch {
      return error
    }
  }

  private func values(of table: KaldiTable) throws -> [KaldiObject] {
    let reader = KaldiReader(table)
    var objects: [KaldiObject] = []
    for index in table.entries.indices { objects.append(try readObject(reader, index)) }
    return objects
  }
}
