import Foundation
import Testing
import SequenceData

@Suite struct CorpusErrorTests {
  /// The same error by every way of reading, whatever the size of the pieces.
  private func expect(_ error: (String) -> CorpusError, for bytes: [UInt8], unit: TextUnit = .word) throws {
    let file = try TemporaryFile(bytes)
    let vocabulary = try Vocabulary(tokens: ["<unk>"])
    for chunkSize in [1, 2, 3, 8, 4096] {
      let text = TextFile(path: file.path, unit: unit, chunkSize: chunkSize)
      #expect(throws: error(file.path)) { try text.countTokens() }
      #expect(throws: error(file.path)) { try text.buildVocabulary(size: 5) }
      #expect(throws: error(file.path)) { try text.readTokens(in: [], vocabulary: vocabulary, expectedTokens: 3) }
    }
  }

  @Test func missing() {
    let error = #expect(throws: CorpusError.self) { try TextFile(path: "/no/such/file.txt", unit: .word).countTokens() }
    #expect(error == .cannotOpen(file: "/no/such/file.txt", reason: "No such file or directory"))
    #expect(error?.description == "/no/such/file.txt: cannot be opened: No such file or directory")
  }

  /// Who is root may read everything, so the permission itself cannot be tested everywhere: a path through a file fails for all.
  @Test func pathThroughAFile() throws {
    let file = try TemporaryFile("text")
    #expect(throws: CorpusError.cannotOpen(file: file.path + "/x", reason: "Not a directory")) {
      try TextFile(path: file.path + "/x", unit: .word).countTokens()
    }
  }

  @Test func directoriesPipesAndDevices() throws {
    let folder = FileManager.default.temporaryDirectory.path
    #expect(throws: CorpusError.notARegularFile(file: folder, found: "directory")) {
      try TextFile(path: folder, unit: .word).countTokens()
    }
    #expect(throws: CorpusError.notARegularFile(file: "/dev/null", found: "device")) {
      try TextFile(path: "/dev/null", unit: .word).countTokens()
    }
    let pipe = folder + "/lockstep-\(UUID().uuidString)"
    try #require(unsafe mkfifo(pipe, 0o600) == 0)
    defer { try? FileManager.default.removeItem(atPath: pipe) }
    #expect(throws: CorpusError.notARegularFile(file: pipe, found: "pipe")) {
      try TextFile(path: pipe, unit: .word).countTokens()
    }
  }

  @Test func empty() throws {
    try expect({ .empty(file: $0, bytes: 0) }, for: [])
    try expect({ .empty(file: $0, bytes: 3) }, for: Array(" \t ".utf8))
  }

  @Test func byteOrderMark() throws {
    for unit in TextUnit.allCases {
      try expect({ .byteOrderMark(file: $0, line: 1, column: 1) }, for: [0xEF, 0xBB, 0xBF] + Array("text".utf8), unit: unit)
      // Where texts were joined: at the start of a line, and behind one without its end.
      try expect({ .byteOrderMark(file: $0, line: 2, column: 1) }, for: Array("é b\n\u{feff}c\n".utf8), unit: unit)
      try expect({ .byteOrderMark(file: $0, line: 2, column: 4) }, for: Array("a\né ü\u{feff}c\n".utf8), unit: unit)
    }
    #expect(
      CorpusError.byteOrderMark(file: "f", line: 2, column: 4).description
        == #"f:2: U+FEFF (byte-order mark, EF BB BF) in column 4, expected UTF-8 without it: sed -i 's/\xEF\xBB\xBF//g' removes every one"#)
  }

  @Test func otherEncodings() throws {
    for unit in TextUnit.allCases {
      for bytes: [UInt8] in [[0xFF, 0xFE, 0x61, 0], [0xFE, 0xFF, 0, 0x61], [0xFF, 0xFE]] {
        try expect({ .notUTF8(file: $0, encoding: "UTF-16") }, for: bytes, unit: unit)
      }
    }
  }

  @Test(arguments: TextUnit.allCases)
  func binary(unit: TextUnit) throws {
    try expect({ .binary(file: $0, line: 2, offset: 6) }, for: Array("one\ntw\0o".utf8), unit: unit)
  }

  @Test(arguments: TextUnit.allCases)
  func notUTF8(unit: TextUnit) throws {
    let line = Array("a b\nc ".utf8)
    try expect({ .invalidUTF8(file: $0, line: 2, offset: 6, bytes: [0xFF]) }, for: line + [0xFF, 0x41], unit: unit)
    // Latin-1, an encoded surrogate, an overlong form, and a sequence that the end cuts off.
    try expect({ .invalidUTF8(file: $0, line: 2, offset: 6, bytes: [0xE9, 0x20]) }, for: line + [0xE9, 0x20], unit: unit)
    try expect({ .invalidUTF8(file: $0, line: 2, offset: 6, bytes: [0xED, 0xA0]) }, for: line + [0xED, 0xA0, 0x80], unit: unit)
    try expect({ .invalidUTF8(file: $0, line: 2, offset: 6, bytes: [0xC0]) }, for: line + [0xC0, 0x80], unit: unit)
    try expect({ .invalidUTF8(file: $0, line: 2, offset: 6, bytes: [0xF0, 0x9F]) }, for: line + [0xF0, 0x9F], unit: unit)
    #expect(
      CorpusError.invalidUTF8(file: "f", line: 2, offset: 6, bytes: [0xE9, 0x0A]).description
        == "f:2: not UTF-8 at byte 6: found E9 0A")
  }

  /// The same fault at the same place, wherever the pieces end: before the fault, inside it, behind it.
  @Test(arguments: TextUnit.allCases)
  func faultsAcrossTheBordersOfPieces(unit: TextUnit) throws {
    let start = Array("a é\n漢 b".utf8)
    let faults: [(bytes: [UInt8], found: [UInt8])] = [
      ([0x80], [0x80]),  // a continuation without a start
      ([0xC1, 0xBF], [0xC1]), ([0xE0, 0x9F, 0xBF], [0xE0, 0x9F]), ([0xF0, 0x8F, 0xBF, 0xBF], [0xF0, 0x8F]),  // overlong
      ([0xED, 0xBF, 0xBF], [0xED, 0xBF]),  // a surrogate
      ([0xF4, 0x90, 0x80, 0x80], [0xF4, 0x90]), ([0xF5, 0x80, 0x80, 0x80], [0xF5]),  // above U+10FFFF
      ([0xE6, 0xBC], [0xE6, 0xBC, 0x20]), ([0xF0, 0x9F, 0x98], [0xF0, 0x9F, 0x98, 0x20]),  // cut off by a space
      ([0x00], []),
    ]
    for fault in faults {
      let file = try TemporaryFile(start + fault.bytes + Array(" c\n".utf8))
      let expected: CorpusError =
        fault.bytes == [0]
        ? .binary(file: file.path, line: 2, offset: start.count)
        : .invalidUTF8(file: file.path, line: 2, offset: start.count, bytes: fault.found)
      for chunkSize in 1...start.count + 6 {
        let text = TextFile(path: file.path, unit: unit, chunkSize: chunkSize)
        #expect(throws: expected, "\(fault.bytes), pieces of \(chunkSize)") { try text.countTokens() }
      }
    }
  }

  @Test func endlessWord() throws {
    let file = try TemporaryFile("ok\nok " + String(repeating: "x", count: 100) + " ok")
    for chunkSize in [1, 7, 50, 4096] {
      let text = TextFile(path: file.path, unit: .word, chunkSize: chunkSize, longestToken: 99)
      #expect(throws: CorpusError.wordTooLong(file: file.path, line: 2, offset: 6, limit: 99)) { try text.countTokens() }
      let roomier = TextFile(path: file.path, unit: .word, chunkSize: chunkSize, longestToken: 100)
      #expect(try roomier.countTokens() == 5)
    }
  }

  /// Found even where the ranges asked for do not reach, so that every rank says the same.
  @Test func unknownWord() throws {
    let train = try TemporaryFile("a b\n")
    let other = try TemporaryFile("a b\nb \u{22}c\n")
    let vocabulary = try TextFile(path: train.path, unit: .word).buildVocabulary(size: 10).vocabulary
    let error = #expect(throws: CorpusError.self) {
      try TextFile(path: other.path, unit: .word).readTokens(in: [0..<1], vocabulary: vocabulary, expectedTokens: 6)
    }
    #expect(error == .unknownToken(file: other.path, line: 2, token: "\"c", types: 3))
    let words = "is not in the vocabulary, which has no <unk> because all 3 types of the training text are in it: "
      + "data.unknown: add makes <unk> a type beside them, and data.vocabulary_size below 3 in place of rare ones"
    #expect(error?.description == other.path + #":2: "\"c" "# + words)
  }

  @Test func changedSinceItWasCounted() throws {
    let file = try TemporaryFile("a a a")
    let vocabulary = try Vocabulary(tokens: ["a"])
    for expected in [2, 4] {
      #expect(throws: CorpusError.changed(file: file.path, expected: expected, found: 3)) {
        try TextFile(path: file.path, unit: .word).readTokens(
          in: [0..<2], vocabulary: vocabulary, expectedTokens: expected)
      }
    }
  }

  @Test func tooShort() throws {
    let error = #expect(throws: CorpusError.self) { try StreamLayout(tokens: 100, batch: 20, unroll: 9, file: "f") }
    #expect(
      error?.description
        == "f: 100 tokens are too few for batch size 20 and 9 unrolled steps, which take at least 20 × 10 = 200; "
        + "at most batch size 10 with 9 unrolled steps, or 4 unrolled steps with batch size 20 would fit")
    #expect(
      CorpusError.tooShortForTraining(file: "f", tokens: 5, batch: 20, unroll: 9).description
        == "f: 5 tokens are too few for batch size 20 and 9 unrolled steps, which take at least 20 × 10 = 200")
    #expect(throws: CorpusError.tooShortForEvaluation(file: "f", tokens: 1)) {
      try EvaluationLayout(tokens: 1, runs: 1, unroll: 5, file: "f")
    }
  }
}
