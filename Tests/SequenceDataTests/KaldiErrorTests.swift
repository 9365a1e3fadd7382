import Foundation
import SequenceData
import Testing

@Suite struct KaldiErrorTests {
  private func expect(
    _ problem: KaldiError.EntryProblem, at offset: Int, key: String = "k", for bytes: [UInt8], _ content: KaldiTable.Content = .matrices
  ) throws {
    let file = try TemporaryFile(bytes)
    #expect(kaldiError(file.path, content) == .entry(file: file.path, key: key, offset: offset, problem: problem))
  }

  @Test func files() throws {
    #expect(kaldiError("/no/such.ark", .matrices)?.description == "/no/such.ark: cannot be opened: No such file or directory")
    #expect(kaldiError("/no/such.scp", .matrices) == .cannotOpen(file: "/no/such.scp", reason: "No such file or directory"))
    let directory = try TemporaryDirectory()
    #expect(kaldiError(directory.path, .integers) == .notARegularFile(file: directory.path, found: "directory"))
    #expect(kaldiError("/dev/null", .integers) == .notARegularFile(file: "/dev/null", found: "device"))
    let packed = try directory.write([0x1F, 0x8B, 8, 0], to: "a.ark")
    let reason = "the file ends in the middle of a stream"
    #expect(kaldiError(packed, .matrices)?.description == "\(packed): is packed by gzip and cannot be unpacked: \(reason)")
    let index = try directory.write("k \(packed):5\n", to: "a.scp")
    #expect(kaldiError(index, .matrices) == .cannotUnpack(file: packed, reason: reason))
  }

  @Test func keys() throws {
    func expect(_ problem: KaldiError.KeyProblem, at offset: Int = 0, _ bytes: [UInt8]) throws {
      let file = try TemporaryFile(bytes)
      #expect(kaldiError(file.path, .matrices) == .key(file: file.path, offset: offset, problem: problem))
    }
    try expect(.empty, Array(" \0BFM ".utf8))
    try expect(.empty, at: 6, Array("k [ ]\n [ ]\n".utf8))
    try expect(.cutOff, Array("key".utf8))
    try expect(.unexpected(byte: 0x0A), Array("key\n".utf8))
    try expect(.unexpected(byte: 0), Array("\0BFM ".utf8))
    try expect(.notUTF8(bytes: [0x6B, 0xFF]), [0x6B, 0xFF, 0x20])
    try expect(.tooLong(limit: 4096), [UInt8](repeating: 0x6B, count: 4097) + [0x20])
    #expect(
      KaldiError.key(file: "f", offset: 7, problem: .unexpected(byte: 0)).description
        == "f: key at byte 7: holds the byte 00, expected a name before a space")
  }

  @Test func magic() throws {
    try expect(.truncated(needed: 1, found: 0), at: 2, for: Array("k ".utf8))
    try expect(.truncated(needed: 3, found: 1), at: 2, for: Array("k \0".utf8))
    try expect(.truncated(needed: 3, found: 2), at: 2, for: Array("k \0B".utf8))
    try expect(.unrecognized(found: [0, 0x46, 0x4D, 0x20], expected: .matrices), at: 2, for: Array("k \0FM ".utf8))
    try expect(.unrecognized(found: [0, 0x42, 1, 2], expected: .matrices), at: 4, for: Array("k \0B\u{1}\u{2}".utf8))
    try expect(.truncated(needed: 5, found: 4), at: 2, for: Array("k \0BFM".utf8))
    try expect(.truncated(needed: 15, found: 5), at: 2, for: Array("k \0BFM ".utf8))
    try expect(.unexpected(byte: 0x31, expected: "a matrix: 00 42 (binary) or [ (text)"), at: 2, for: Array("k 1 2\n".utf8))
  }

  @Test func otherTypes() throws {
    let vector = KaldiBytes.start("k", "FV") + [4] + KaldiBytes.int32(1) + KaldiBytes.float32(1)
    try expect(.wrongType(found: "a vector of floating-point numbers (FV)", expected: .matrices), at: 4, for: vector)
    try expect(.wrongType(found: "a vector of floating-point numbers (FV)", expected: .integers), at: 4, for: vector, .integers)
    try expect(.wrongType(found: "a vector of integers", expected: .matrices), at: 4, for: KaldiBytes.integers("k", [1]))
    let matrix = KaldiBytes.matrix("k", rows: 1, columns: 1, [1])
    try expect(.wrongType(found: "a matrix (FM)", expected: .integers), at: 4, for: matrix, .integers)
    try expect(.wrongType(found: "an object of type \"SM\"", expected: .matrices), at: 4, for: KaldiBytes.start("k", "SM") + [4, 0, 0, 0])
    #expect(
      KaldiError.entry(file: "a.ark", key: "k", offset: 4, problem: .wrongType(found: "a matrix (FM)", expected: .integers)).description
        == "a.ark: \"k\" at byte 4: is a matrix (FM), expected a vector of integers")
    // What the fixtures are, taken for the other; integers in brackets are a matrix of one row too.
    for name in KaldiFixtures.matrices + KaldiFixtures.integers where name != "kaldiio-labels-text.ark" {
      let other: KaldiTable.Content = KaldiFixtures.content(name) == .matrices ? .integers : .matrices
      #expect(throws: KaldiError.self, "\(name)") { try readObjects("\(KaldiFixtures.directory)/\(name)", other) }
    }
  }

  @Test func sizes() throws {
    for size: UInt8 in [0, 1, 2, 8, 255] {
      let four = KaldiBytes.int32(1)
      try expect(.wrongSize(found: size), at: 7, for: KaldiBytes.start("k", "FM") + [size] + four + [4] + four + four)
      try expect(.wrongSize(found: size), at: 12, for: KaldiBytes.start("k", "FM") + [4] + four + [size] + four + four)
      try expect(.wrongSize(found: size), at: 4, for: Array("k \0B".utf8) + [size] + four + [4] + four, .integers)
      // Found when the element is read.
      try expect(.wrongSize(found: size), at: 14, for: Array("k \0B".utf8) + [4, 2, 0, 0, 0, 4] + four + [size] + four, .integers)
    }
  }

  @Test func dimensions() throws {
    for token in ["FM", "DM", "CM", "CM2", "CM3"] {
      let isPlain = !token.hasPrefix("C")
      let start = KaldiBytes.start("k", token)
      func header(_ rows: Int32, _ columns: Int32) -> [UInt8] {
        if isPlain { return start + [4] + KaldiBytes.int32(rows) + [4] + KaldiBytes.int32(columns) }
        return start + KaldiBytes.float32(0) + KaldiBytes.float32(1) + KaldiBytes.int32(rows) + KaldiBytes.int32(columns)
      }
      let payload = [UInt8](repeating: 0, count: 100)
      for (rows, columns) in [(-1, 2), (2, -1), (-1, -1), (.min, .min), (0, 3), (3, 0), (0, .max)] as [(Int32, Int32)] {
        try expect(.dimensions(rows: Int(rows), columns: Int(columns)), at: start.count, for: header(rows, columns) + payload)
      }
      for (rows, columns) in [(101, 1), (1, 101), (.max, 1), (1, .max), (65536, 65536)] as [(Int32, Int32)] {
        let bytes = header(rows, columns) + payload
        let values = Int(rows) * Int(columns) * (["FM": 4, "DM": 8, "CM2": 2][token] ?? 1)
        let needed = header(0, 0).count - 2 + values + (token == "CM" ? 8 * Int(columns) : 0)
        try expect(.truncated(needed: needed, found: bytes.count - 2), at: 2, for: bytes)
      }
      // 2^62 values: more bytes than an Int counts, unless a value is one byte.
      let file = try TemporaryFile(header(.max, .max) + payload)
      let error = kaldiError(file.path, .matrices)
      if case .entry(_, "k", _, .dimensions(rows: Int(Int32.max), columns: Int(Int32.max))) = error {
        #expect(token == "DM" || token == "FM")
      } else if case .entry(_, "k", 2, .truncated) = error {
        #expect(token.hasPrefix("C"))
      } else {
        Issue.record("\(token): \(String(describing: error))")
      }
    }
    try expect(.dimensions(rows: -1, columns: 1), at: 4, for: Array("k \0B".utf8) + [4, 255, 255, 255, 255], .integers)
    try expect(.truncated(needed: 17, found: 7), at: 2, for: Array("k \0B".utf8) + [4, 2, 0, 0, 0], .integers)
  }

  @Test func text() throws {
    func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }
    try expect(.unfinished(expected: "]"), at: 8, for: bytes("k [\n 1 2"))
    try expect(.unfinished(expected: "["), at: 3, for: bytes("k  "))
    try expect(.raggedRow(row: 1, columns: 1, firstColumns: 2), at: 9, for: bytes("k [\n1 2\n3\n4 5 ]\n"))
    try expect(.unexpected(byte: 0x78, expected: "the end of the line behind ]"), at: 8, for: bytes("k [ 1 ] x\n"))
    try expect(.unexpected(byte: 0x5B, expected: "a number or the end of a matrix"), at: 6, for: bytes("k [ 1 [ 2 ]\n"))
    try expect(.unexpected(byte: 0, expected: "a number or the end of a matrix"), at: 6, for: bytes("k [ 1 \0 ]\n"))
    try expect(.notANumber(text: "1,5", expected: "a number"), at: 6, for: bytes("k [ 1 1,5 ]\n"))
    for number in ["0x1p3", "1e", "--1", "1d5", "infinit", "e5", "."] {
      try expect(.notANumber(text: number, expected: "a number"), at: 6, for: bytes("k [ 1 \(number) ]\n"))
    }
    try expect(.numberTooLong(limit: 64), at: 68, for: bytes("k [ " + String(repeating: "1", count: 65) + " ]\n"))
    try expect(.unfinished(expected: "the end of the line"), at: 3, for: bytes("k  "), .integers)
    try expect(.unfinished(expected: "]"), at: 8, for: bytes("k [ 1 12"), .integers)
    try expect(.unexpected(byte: 0x0A, expected: "]"), at: 5, for: bytes("k [ 1\n2 ]\n"), .integers)
    for number in ["2147483648", "-2147483649", "1.0", "x", "1e3"] {
      try expect(.notANumber(text: number, expected: "an integer of 32 bits"), at: 4, for: bytes("k 1 \(number)\n"), .integers)
    }
  }

  /// A last line of labels without its end, which may be one that was cut off.
  @Test func lastLineWithoutEnd() throws {
    for (text, labels) in [("k 1 12", [1, 12]), ("k 7", [7]), ("k 1 2 ", [1, 2]), ("k 1\r", [1])] as [(String, [Int32])] {
      let file = try TemporaryFile("j 5\n" + text)
      let table = try KaldiTable(serialized: KaldiTable(path: file.path, content: .integers).serialized())
      var values = [Int32](repeating: 0, count: table.entries[1].rows), span = values.mutableSpan
      try KaldiReader(table).readIntegers(1, into: &span)
      #expect(values == labels, "\(text)")
    }
  }

  /// By line and column, in keys, among numbers, and in indices.
  @Test func invisibleCharacters() throws {
    func expect(
      _ text: String, line: Int, column: Int, _ character: String, _ content: KaldiTable.Content = .integers, name: String = "x.ark"
    ) throws {
      let directory = try TemporaryDirectory(), path = try directory.write(text, to: name)
      #expect(kaldiError(path, content) == .invisible(file: path, line: line, column: column, character: character), "\(text)")
    }
    let space = "U+00A0 (no-break space)", mark = "U+FEFF (byte-order mark)"
    try expect("\u{feff}a 1 2\n", line: 1, column: 1, mark)
    try expect("a 1\n\u{feff}b 1\n", line: 2, column: 1, mark)
    try expect("a 1\né\u{a0}1 2\n", line: 2, column: 2, space)
    try expect("a 1\nb 1 2\u{a0}3\n", line: 2, column: 6, space)
    try expect("a  [ 1\u{a0}2 ]\n", line: 1, column: 7, space, .matrices)
    try expect("\u{feff}a f.ark:3\n", line: 1, column: 1, mark, .matrices, name: "x.scp")
    try expect("a\u{a0}f.ark:3\n", line: 1, column: 2, space, .matrices, name: "x.scp")
    try expect("a f.ark:3\u{a0} \r\n", line: 1, column: 10, space, .matrices, name: "x.scp")
    try expect("a \u{200b}f.ark:3\n", line: 1, column: 3, "U+200B (zero width space)", .matrices, name: "x.scp")
  }

  /// By row and column, whatever the order in the file.
  @Test func notFinite() throws {
    func expect(row: Int, column: Int, _ bytes: [UInt8]) throws {
      let file = try TemporaryFile(bytes)
      #expect(kaldiError(file.path, .matrices) == .notFinite(file: file.path, key: "k", row: row, column: column))
    }
    for value in [Float.nan, .infinity, -.infinity] {
      try expect(row: 1, column: 0, KaldiBytes.matrix("k", rows: 2, columns: 2, [1, 2, value, 4]))
    }
    let double = KaldiBytes.start("k", "DM") + [4, 1, 0, 0, 0, 4, 3, 0, 0, 0]
    try expect(row: 0, column: 2, double + [1, 2, 1e300].flatMap(KaldiBytes.float64))
    try expect(row: 0, column: 1, double + [1, -.infinity, .nan].flatMap(KaldiBytes.float64))
    for number in ["nan", "-nan", "NaN", "inf", "-inf", "+Infinity", "1e39"] {
      try expect(row: 1, column: 0, Array("k [\n1 2\n\(number) 4 ]\n".utf8))
    }
    // Percentile 100 alone overflows, and only what is above percentile 75 is made of it: row 1 of column 0, row 0 of column 1.
    let large = KaldiBytes.float32(3e38) + KaldiBytes.float32(3e38) + KaldiBytes.int32(2) + KaldiBytes.int32(2)
    let percentiles: [UInt8] = [0, 0, 0, 0, 0, 0, 255, 255]
    try expect(row: 0, column: 1, KaldiBytes.start("k", "CM") + large + percentiles + percentiles + [0, 200, 200, 0])
    let wide = KaldiBytes.float32(-3e38) + KaldiBytes.float32(.infinity) + KaldiBytes.int32(2) + KaldiBytes.int32(2)
    try expect(row: 0, column: 0, KaldiBytes.start("k", "CM2") + wide + [UInt8](repeating: 9, count: 8))
    try expect(row: 0, column: 0, KaldiBytes.start("k", "CM3") + wide + [UInt8](repeating: 9, count: 4))
    #expect(
      KaldiError.notFinite(file: "f", key: "k", row: 3, column: 4).description
        == "f: \"k\": the value in row 3, column 4 (from 0) is not a finite number in single precision")
  }

  /// An archive that is written anew, or cut, between indexing and reading.
  @Test func changed() throws {
    let directory = try TemporaryDirectory()
    let path = try directory.write(KaldiBytes.matrix("k", rows: 2, columns: 3, [1, 2, 3, 4, 5, 6]), to: "a.ark")
    let text = try directory.write("k [\n1 2 3\n4 5 6 ]\n", to: "t.ark")
    let tables = [try KaldiTable(path: path, content: .matrices), try KaldiTable(path: text, content: .matrices)]
    try directory.write(KaldiBytes.matrix("k", rows: 3, columns: 2, [1, 2, 3, 4, 5, 6]), to: "a.ark")
    for changed in ["k [\n1 2\n4 5\n3 6 ]\n", "k [\n1 2 \n4 5 ]    \n", "k [\n1\n4\n5\n6\n1\n2\n ]", "k [1]\n[1 2 3 4 5 ]\n"] {
      try directory.write(changed, to: "t.ark")
      #expect(throws: KaldiError.self, "\(changed)") { try readObject(KaldiReader(tables[1]), 0) }
    }
    let expected = KaldiError.entry(file: path, key: "k", offset: 2, problem: .changed)
    #expect(throws: expected) { try readObject(KaldiReader(tables[0]), 0) }
    #expect(
      KaldiError.entry(file: "f", key: "k", offset: 2, problem: .changed).description
        == "f: \"k\" at byte 2: is not what it was when the file was indexed: it changed in between, or hosts have different files")
    // Cut before the reader opens it, and while it has it open.
    for isOpen in [false, true] {
      try directory.write(KaldiBytes.matrix("k", rows: 2, columns: 3, [1, 2, 3, 4, 5, 6]), to: "a.ark")
      let reader = KaldiReader(tables[0])
      if isOpen { _ = try readObject(reader, 0) }
      try #require(unsafe truncate(path, 30) == 0)
      let error = KaldiError.entry(file: path, key: "k", offset: 2, problem: .truncated(needed: 39, found: 28))
      #expect(throws: error) { try readObject(reader, 0) }
    }
    try FileManager.default.removeItem(atPath: path)
    #expect(throws: KaldiError.cannotOpen(file: path, reason: "No such file or directory")) { try readObject(KaldiReader(tables[0]), 0) }
  }
}
