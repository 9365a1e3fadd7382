import Testing
import SequenceData

@Suite struct TokenizationTests {
  @Test func wordsAndEndsOfSentences() throws {
    let file = try TemporaryFile(" the cat \n\nsat\ton\u{3000}the\u{A0}mat\r\nend")
    let text = TextFile(path: file.path, unit: .word)
    #expect(
      try tokens(of: text) == ["the", "cat", "<eos>", "<eos>", "sat", "on", "the", "mat", "<eos>", "end"])
    #expect(try text.countTokens() == 10)
  }

  @Test func charactersKeepEverything() throws {
    let file = try TemporaryFile("a b\r\n\tß\u{65}\u{301}😀\n")
    let text = TextFile(path: file.path, unit: .character)
    let expected = ["a", " ", "b", "\r", "\n", "\t", "ß", "e", "\u{301}", "😀", "\n"]
    #expect(try tokens(of: text).asBytes == expected.asBytes)
  }

  @Test func canonicallyEquivalentWordsAreDifferentTokens() throws {
    let file = try TemporaryFile("\u{E9} e\u{301} \u{E9}")
    let (vocabulary, statistics, _) = try TextFile(path: file.path, unit: .word).buildVocabulary(size: 10)
    #expect(statistics == TextStatistics(tokens: 3, types: 2, unknown: 0))
    #expect(vocabulary.tokens.asBytes == ["\u{E9}", "e\u{301}"].asBytes)
    #expect(vocabulary.id(of: "e\u{301}") == 1)
  }

  @Test func whiteSpaceIsUnicodes() {
    var found = 0
    var different: [UInt32] = []
    for value in UInt32(0)...0x10FFFF {
      guard let scalar = Unicode.Scalar(value) else { continue }
      if UTF8Sequence.isWhiteSpace(value) != scalar.properties.isWhitespace { different.append(value) }
      if scalar.properties.isWhitespace { found += 1 }
    }
    #expect(different == [])
    #expect(found == 25)
  }

  /// Every scalar's encoding decodes to it, with the right length, and is incomplete wherever it is cut.
  @Test func everyScalarDecodes() {
    var failures = 0
    for value in UInt32(0)...0x10FFFF {
      guard let scalar = Unicode.Scalar(value) else { continue }
      let bytes = Array(String(scalar).utf8)
      if UTF8Sequence.decode(bytes.span, at: 0) != .scalar(value, length: bytes.count) { failures += 1 }
      for length in 1..<bytes.count where bytes.count > 1 {
        if UTF8Sequence.decode(bytes.span.extracting(0..<length), at: 0) != .incomplete { failures += 1 }
      }
    }
    #expect(failures == 0)
  }

  /// What the standard library's validation refuses is refused, and only that.
  @Test func validityAgreesWithTheStandardLibrary() {
    let interesting: [UInt8] = [
      0x01, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF,
      0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF,
    ]
    var valid = 0
    for a in interesting {
      for b in interesting {
        for c in interesting {
          for d in interesting {
            let bytes = [a, b, c, d]
            if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { continue }
            let isValid = String(validating: bytes, as: UTF8.self) != nil
            var scanner = TokenScanner(source: "bytes", unit: .character)
            var accepted = true
            do {
              _ = try scanner.scan(bytes.span, isLast: true) { (_, _, _) throws(CorpusError) in }
            } catch {
              accepted = false
            }
            if accepted != isValid { Issue.record("\(bytes): accepted \(accepted), valid \(isValid)") }
            valid += isValid ? 1 : 0
          }
        }
      }
    }
    #expect(valid > 100)
  }

  /// Words and scalars that lie across the borders of pieces are the same tokens as in one piece.
  @Test(arguments: TextUnit.allCases)
  func piecesOfAnySizeGiveTheSameTokens(unit: TextUnit) throws {
    var random = TestRandom(seed: 7)
    let alphabet = ["a", "bc", " ", "\n", "\r\n", "é", "e\u{301}", "\u{2003}", "漢字", "😀", "<unk>", "\u{1680}", "zebra"]
    for _ in 0..<40 {
      let text = (0..<Int.random(in: 1...60, using: &random)).map { _ in alphabet.randomElement(using: &random)! }.joined()
      let expected = naiveTokens(text, unit)
      let file = try TemporaryFile(text)
      for chunkSize in [1, 2, 3, 4, 5, 7, 16, 33, 1000] {
        let chunked = TextFile(path: file.path, unit: unit, chunkSize: chunkSize)
        if expected.isEmpty {
          #expect(throws: CorpusError.empty(file: file.path, bytes: text.utf8.count)) { try chunked.countTokens() }
        } else {
          #expect(try tokens(of: chunked).asBytes == expected.asBytes, "\(text.debugDescription), \(chunkSize)")
          #expect(try chunked.countTokens() == expected.count)
        }
      }
    }
  }

  @Test func rangesGiveTheTokensInside() throws {
    let text = (0..<500).map { "w\($0 % 37)" + ($0 % 11 == 0 ? "\n" : " ") }.joined()
    let file = try TemporaryFile(text)
    let textFile = TextFile(path: file.path, unit: .word, chunkSize: 64)
    let (vocabulary, statistics, _) = try textFile.buildVocabulary(size: 100)
    let N = statistics.tokens
    let all = try textFile.readTokens(in: [0..<N], vocabulary: vocabulary, expectedTokens: N)
    #expect(all.map(vocabulary.token) == naiveTokens(text, .word))
    var random = TestRandom(seed: 3)
    for _ in 0..<50 {
      let bounds = (0..<2 * Int.random(in: 1...5, using: &random)).map { _ in Int.random(in: 0...N, using: &random) }.sorted()
      let ranges = stride(from: 0, to: bounds.count, by: 2).map { bounds[$0]..<bounds[$0 + 1] }
      let read = try textFile.readTokens(in: ranges, vocabulary: vocabulary, expectedTokens: N)
      #expect(read == ranges.flatMap { all[$0] }, "\(ranges)")
    }
  }

  @Test func theEmbeddedCorpusHoldsWhatItsPageSays() throws {
    let train = TextFile(path: repositoryFile("Configs/data/kjv.train.txt"), unit: .word)
    let (vocabulary, statistics, _) = try train.buildVocabulary(size: 10_000)
    #expect(statistics.tokens == 229_512)
    #expect(statistics.types == 5_000)
    #expect(vocabulary.count == 5_000)
    #expect(vocabulary.unknownID != nil)
    #expect((0..<4).map { vocabulary.token($0) } == ["and", "the", "<eos>", "of"])
    for (name, count) in [("valid", 11_869), ("test", 11_924)] {
      let file = TextFile(path: repositoryFile("Configs/data/kjv.\(name).txt"), unit: .word)
      #expect(try file.countTokens() == count)
      #expect(try file.readTokens(in: [0..<count], vocabulary: vocabulary, expectedTokens: count).count == count)
    }
  }

  /// Counted alike wherever the pieces end.
  @Test(arguments: TextUnit.allCases) func lineEnds(_ unit: TextUnit) throws {
    let file = try TemporaryFile("a\r\nb\rc\nd \r \n\r\r\n")
    for chunkSize in 1...20 {
      let ends = try TextFile(path: file.path, unit: unit, chunkSize: chunkSize).extent().lineEnds
      #expect(ends.newlines == 2 && ends.returnNewlines == 2 && ends.returns == 3, "pieces of \(chunkSize)")
    }
  }

  @Test func remarksOnLineEnds() throws {
    func remark(_ text: String, _ unit: TextUnit) throws -> String? {
      let file = try TemporaryFile(text)
      return try TextFile(path: file.path, unit: unit).extent().lineEnds.remark(unit)
    }
    #expect(try remark("a\nb\n", .word) == nil && remark("a\r\nb\r\n", .word) == nil && remark("a\nb", .character) == nil)
    #expect(try remark("a b", .word) == "no line end: it is read as one line, without <eos>")
    #expect(try remark("a\rb\r", .word)?.hasPrefix("CR alone in 2 places and no LF") == true)
    #expect(try remark("a\r\nb\nc\r", .word) == "line ends of several kinds (1 × LF, 1 × CR LF, 1 × CR), and LF alone ends a line")
    #expect(try remark("a\r\nb\r\n", .character)?.contains("CR is a character like others") == true)
  }

  /// What a vocabulary makes of newlines, counted and read alike wherever the pieces end.
  @Test func newlinesOfOtherVocabularies() throws {
    let cases: [(unit: TextUnit, vocabulary: [String], text: String, tokens: [String])] = [
      (.word, ["a", "b"], "a\nb\n\na\n", ["a", "b", "a"]), (.word, ["a", "<unk>"], "a\nb\n", ["a", "<unk>"]),
      (.word, ["a", "<eos>"], "a\na\n", ["a", "<eos>", "a", "<eos>"]),
      (.character, ["a", "b"], "ab\n", ["a", "b"]), (.character, ["a", "<unk>"], "a\nb\n", ["a", "<unk>", "<unk>", "<unk>"]),
      (.character, ["a", "\n"], "a\n", ["a", "\n"]),
    ]
    for (unit, tokens, text, expected) in cases {
      let file = try TemporaryFile(text), vocabulary = try Vocabulary(tokens: tokens)
      for chunkSize in 1...10 {
        let textFile = TextFile(path: file.path, unit: unit, chunkSize: chunkSize)
        let count = try textFile.extent(vocabulary).tokens
        let ids = try textFile.readTokens(in: [0..<count], vocabulary: vocabulary, expectedTokens: count)
        #expect(ids.map(vocabulary.token) == expected, "\(text.debugDescription) in pieces of \(chunkSize)")
      }
      #expect(try vocabulary.encode(text, unit: unit, source: "a prompt").map(vocabulary.token) == expected)
    }
    let inner = try TemporaryFile("a\nb"), vocabulary = try Vocabulary(tokens: ["a", "b"])
    #expect(throws: CorpusError.unknownToken(file: inner.path, line: 1, token: "\n", types: 2)) {
      try TextFile(path: inner.path, unit: .character).readTokens(in: [], vocabulary: vocabulary, expectedTokens: 3)
    }
    // Too rare to be kept: newlines are white space then, and counted as such.
    let rare = try TemporaryFile("a a a b b b c c c d\n")
    let built = try TextFile(path: rare.path, unit: .word).buildVocabulary(size: 3)
    #expect(built.vocabulary.tokens == ["a", "b", "<unk>"] && built.statistics.tokens == 10 && built.statistics.unknown == 4)
    #expect(try TextFile(path: rare.path, unit: .word).extent(built.vocabulary).tokens == 10)
  }
}
