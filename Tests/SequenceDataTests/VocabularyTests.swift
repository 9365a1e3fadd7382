import Testing
import SequenceData

@Suite struct VocabularyTests {
  private func vocabulary(_ text: String, size: Int, unit: TextUnit = .word) throws -> Vocabulary {
    let file = try TemporaryFile(text)
    return try TextFile(path: file.path, unit: unit).buildVocabulary(size: size).vocabulary
  }

  @Test func fallingCountThenByteOrder() throws {
    // Counts: b 3, a 2, <eos> 2, and one each of Z, ab, é (C3 A9) and z.
    let vocabulary = try vocabulary("b b b a\na z é ab Z\n", size: 100)
    #expect(vocabulary.tokens == ["b", "<eos>", "a", "Z", "ab", "z", "é"])
    #expect(vocabulary.unknownID == nil)
    #expect(vocabulary.id(of: "é") == 6)
    #expect(vocabulary.id(of: "y") == nil)
  }

  @Test func asManyTypesAsAllowedAddsNothing() throws {
    #expect(try vocabulary("b b a", size: 2).tokens == ["b", "a"])
  }

  @Test func rareTypesBecomeUnknownAtTheEnd() throws {
    let vocabulary = try vocabulary("d d d d c c c b b a", size: 3)
    #expect(vocabulary.tokens == ["d", "c", "<unk>"])
    #expect(vocabulary.unknownID == 2)
  }

  @Test func unknownKeepsItsPlaceIfFrequent() throws {
    let vocabulary = try vocabulary("d d d d <unk> <unk> <unk> b b a", size: 3)
    #expect(vocabulary.tokens == ["d", "<unk>", "b"])
    #expect(vocabulary.unknownID == 1)
  }

  @Test func unknownAsTheLastOneKept() throws {
    #expect(try vocabulary("d d d d c c c <unk> <unk> a", size: 3).tokens == ["d", "c", "<unk>"])
  }

  /// Present in the text, but too rare to be kept by its count: it takes the last place as if it were not there.
  @Test func rareUnknownTakesTheLastPlace() throws {
    let vocabulary = try vocabulary("d d d d c c c b b <unk>", size: 3)
    #expect(vocabulary.tokens == ["d", "c", "<unk>"])
    #expect(vocabulary.unknownID == 2)
  }

  /// One type more where all fit, the same as without where they do not, and nothing where the text has it.
  @Test func unknownIsAdded() throws {
    func tokens(_ text: String, size: Int) throws -> [String] {
      let file = try TemporaryFile(text)
      return try TextFile(path: file.path, unit: .word).buildVocabulary(size: size, unknown: .add).vocabulary.tokens
    }
    #expect(try tokens("b b a", size: 10) == ["b", "a", "<unk>"])
    #expect(try tokens("b b a", size: 2) == ["b", "a", "<unk>"])
    #expect(try tokens("c c c b b a", size: 2) == ["c", "<unk>"])
    #expect(try tokens("b b <unk>", size: 10) == ["b", "<unk>"])
  }

  @Test func sizeOneIsUnknownAlone() throws {
    #expect(try vocabulary("a a b", size: 1).tokens == ["<unk>"])
    #expect(try vocabulary("a a", size: 1).tokens == ["a"])
  }

  @Test func charactersAreCutOffToo() throws {
    let vocabulary = try vocabulary("aaa\n\nbb c", size: 3, unit: .character)
    #expect(vocabulary.tokens == ["a", "\n", "<unk>"])
  }

  @Test func statisticsCountUnknownTokens() throws {
    let file = try TemporaryFile("d d d d c c c b b <unk>")
    let statistics = try TextFile(path: file.path, unit: .word).buildVocabulary(size: 3).statistics
    #expect(statistics == TextStatistics(tokens: 10, types: 4, unknown: 3))
  }

  /// A text with more types than are kept, against the rule written out with dictionaries.
  @Test func largeTextFollowsTheRule() throws {
    var random = TestRandom(seed: 11)
    var words: [String] = []
    for _ in 0..<20_000 {
      // A heavy tail: a few frequent words, and many ties among rare ones.
      let rank = Int(1 / Double.random(in: 0.0003...1, using: &random))
      words.append("w\(String(rank, radix: 36))")
    }
    let file = try TemporaryFile(words.joined(separator: " "))
    var counts: [String: Int] = [:]
    for word in words { counts[word, default: 0] += 1 }
    let size = 100
    #expect(counts.count > 2 * size)
    let ranked = counts.sorted {
      $0.value != $1.value ? $0.value > $1.value : Array($0.key.utf8).lexicographicallyPrecedes(Array($1.key.utf8))
    }
    // The last one kept and the first one left out have the same count: byte order decides between them.
    #expect(ranked[size - 2].value == ranked[size - 1].value)
    let expected = ranked.prefix(size - 1).map(\.key) + ["<unk>"]
    let textFile = TextFile(path: file.path, unit: .word, chunkSize: 4096)
    let (vocabulary, statistics, _) = try textFile.buildVocabulary(size: size)
    #expect(vocabulary.tokens == expected)
    #expect(statistics.types == counts.count)
    let ids = try textFile.readTokens(in: [0..<words.count], vocabulary: vocabulary, expectedTokens: words.count)
    let kept = Set(expected)
    #expect(ids.map(vocabulary.token) == words.map { kept.contains($0) ? $0 : "<unk>" })
    #expect(statistics.unknown == ids.count { $0 == Int32(size - 1) })
  }

  @Test func serializationKeepsEveryToken() throws {
    let tokens = ["\n", " ", "\t", "\r", "\"", "\\", "/", "é", "e\u{301}", "😀", "\u{1}", "\u{7F}", "\u{2028}", "<unk>", "[", "null"]
    let vocabulary = try Vocabulary(tokens: tokens)
    let restored = try Vocabulary(serialized: vocabulary.serialized())
    #expect(restored == vocabulary)
    #expect(restored.tokens.asBytes == tokens.asBytes)
    #expect(restored.unknownID == 13)
    #expect(try Vocabulary(tokens: ["a", "b"]).serialized() == Array(#"["a","b"]"#.utf8))
  }

  @Test func orderMatters() throws {
    #expect(try Vocabulary(tokens: ["a", "b"]) != Vocabulary(tokens: ["b", "a"]))
    #expect(try Vocabulary(tokens: ["ab", "c"]) != Vocabulary(tokens: ["a", "bc"]))
  }

  @Test(arguments: ["", "[", "{}", "[1]", "[]", #"[""]"#, #"["a","a"]"#, #"["a"] x"#, "null"])
  func badSerializationIsRefused(text: String) {
    let error = #expect(throws: CorpusError.self) { try Vocabulary(serialized: Array(text.utf8)) }
    guard case .invalidVocabulary = error else {
      Issue.record("\(String(describing: error))")
      return
    }
  }

  @Test func wordsAreDecodedWithSpacesAndNewlines() throws {
    let vocabulary = try Vocabulary(tokens: ["<eos>", "in", "the", "<unk>"])
    let ids = try vocabulary.encode("in the\n\nbeginning the ", unit: .word, source: "the prompt")
    #expect(ids == [1, 2, 0, 0, 3, 2])
    #expect(vocabulary.decode(ids, unit: .word) == "in the\n\n<unk> the")
    #expect(try vocabulary.encode("", unit: .word, source: "the prompt") == [])
  }

  @Test func charactersAreDecodedAsTheyAre() throws {
    let vocabulary = try Vocabulary(tokens: ["a", "\n", " ", "é"])
    let ids = try vocabulary.encode("é a\n", unit: .character, source: "the prompt")
    #expect(ids == [3, 2, 0, 1])
    #expect(vocabulary.decode(ids, unit: .character) == "é a\n")
    #expect(throws: CorpusError.unknownToken(file: "the prompt", line: 2, token: "z", types: 4)) {
      try vocabulary.encode("a\nz", unit: .character, source: "the prompt")
    }
  }
}
