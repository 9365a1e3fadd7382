import Foundation
import SequenceData
import Testing

@Suite struct KaldiReadingTests {
  /// The very bits that kaldiio reads, in every format that it and Kaldi write.
  @Test(arguments: KaldiFixtures.matrices + KaldiFixtures.integers)
  func asKaldiio(name: String) throws {
    let expected = try KaldiFixtures.expected(name)
    #expect(expected.map(\.rows) == [1, 4, 9, 12])
    #expect(try readObjects("\(KaldiFixtures.directory)/\(name)", KaldiFixtures.content(name)) == expected)
  }

  @Test func formatsByName() throws {
    let names = ["kaldi-fm": "FM", "kaldi-dm": "DM", "kaldi-cm": "CM", "kaldi-cm2": "CM2", "kaldi-cm3": "CM3", "kaldi-text": "text"]
    for (file, name) in names {
      let table = try KaldiTable(path: "\(KaldiFixtures.directory)/\(file).ark", content: .matrices)
      #expect(table.entries.map(\.formatName) == Array(repeating: name, count: 4))
    }
    let labels = try KaldiTable(path: "\(KaldiFixtures.directory)/kaldi-labels.ark", content: .integers)
    #expect(labels.entries.map(\.formatName) == Array(repeating: "int32", count: 4))
  }

  /// In any order, again and again, with one reader.
  @Test func anyOrder() throws {
    let name = "kaldiio-cm.ark"
    let expected = try KaldiFixtures.expected(name)
    let reader = KaldiReader(try KaldiTable(path: "\(KaldiFixtures.directory)/\(name)", content: .matrices))
    for index in [3, 0, 2, 2, 1, 0, 3] { #expect(try readObject(reader, index) == expected[index]) }
  }

  /// Payloads are passed over: an archive of 64 MB, nearly all of it a hole, is indexed from its headers.
  @Test func indexReadsHeadersOnly() throws {
    let directory = try TemporaryDirectory()
    let path = try directory.write(KaldiBytes.matrix("big", rows: 4096, columns: 4096, []), to: "a.ark")
    let end = 15 + 4 + 4096 * 4096 * 4
    let handle = try #require(FileHandle(forUpdatingAtPath: path))
    try handle.truncate(atOffset: UInt64(end))
    try handle.seekToEnd()
    try handle.write(contentsOf: KaldiBytes.matrix("small", rows: 1, columns: 1, [2.5]))
    try handle.close()
    let table = try KaldiTable(path: path, content: .matrices)
    #expect(table.entries.map(\.key) == ["big", "small"])
    #expect(table.entries.map(\.rows) == [4096, 1])
    let reader = KaldiReader(table)
    #expect(try readObject(reader, 1).bits == [Float(2.5).bitPattern])
    #expect(reader.bufferBytes == 15 + 4)
  }

  /// Text as people write it.
  @Test func textMatrices() throws {
    let directory = try TemporaryDirectory()
    let texts = [
      "k  [\n  1 2.5\n  -3e2 4 ]\n",
      "k [\r\n1\t2.5 \r\n\r\n -3E+2 +4.0]\r\n",
      "\n\nk\t[1 2.5\n-300 4\n]",
      "k  [\n 1. 25e-1\n -.3e3 4\n ]  \n\n",
    ]
    for text in texts {
      let path = try directory.write(text, to: "a.ark")
      let expected = KaldiObject(key: "k", rows: 2, columns: 2, bits: [1, 2.5, -300, 4].map { (value: Float) in value.bitPattern })
      #expect(try readObjects(path, .matrices) == [expected], "\(text.debugDescription)")
    }
    // The nearest float32, decided by the digits behind those of a float64 near the middle of two.
    let path = try directory.write("k [ 1.00000017881393432617187499 1.00000017881393432617187501 1e-46 -0 ]\n", to: "b.ark")
    let bits = try readObjects(path, .matrices)[0].bits
    #expect(bits == [0x3F80_0001, 0x3F80_0002, 0, 0x8000_0000])
  }

  @Test func textIntegers() throws {
    let directory = try TemporaryDirectory()
    for text in ["k 1 -2 +3\n", "k  [ 1 -2 3 ]\n", "k [1 -2 3]", "k\t1\t-2 3 \r\n", "\nk 1 -2 3 \n\n"] {
      let path = try directory.write(text, to: "a.ark")
      let expected = KaldiObject(key: "k", rows: 3, columns: 1, bits: [1, 0xFFFF_FFFE, 3])
      #expect(try readObjects(path, .integers) == [expected], "\(text.debugDescription)")
    }
    let path = try directory.write("a 2147483647 -2147483648\nb  \nc [ ]\nd 7\n", to: "b.ark")
    #expect(try readObjects(path, .integers).map(\.bits) == [[0x7FFF_FFFF, 0x8000_0000], [], [], [7]])
  }

  /// Matrices without rows and archives without entries are Kaldi's; that they are of no use is said where they are used.
  @Test func empty() throws {
    let directory = try TemporaryDirectory()
    let zeros = [UInt8](repeating: 0, count: 16)
    let bytes =
      KaldiBytes.matrix("a", rows: 0, columns: 0, []) + KaldiBytes.start("b", "CM") + zeros + KaldiBytes.start("c", "CM2") + zeros
      + Array("d [ ]\n".utf8)
    let path = try directory.write(bytes, to: "a.ark")
    #expect(try readObjects(path, .matrices).map(\.key) == ["a", "b", "c", "d"])
    #expect(try readObjects(path, .matrices).allSatisfy { $0.rows == 0 && $0.columns == 0 })
    #expect(try readObjects(directory.write("", to: "b.ark"), .matrices).isEmpty)
    #expect(try readObjects(directory.write("", to: "b.scp"), .matrices).isEmpty)
  }

  /// Binary and text in one file, and keys of every length that is allowed, across the borders of what is read at a time.
  @Test func longKeysAndMixedEntries() throws {
    let directory = try TemporaryDirectory()
    var bytes: [UInt8] = []
    var expected: [KaldiObject] = []
    for length in [1, 2, 490, 511, 512, 513, 2047, 2048, 4095, 4096] {
      let key = String(repeating: "k", count: length)
      bytes += KaldiBytes.matrix(key, rows: 1, columns: 2, [0.5, Float(length)])
      expected.append(KaldiObject(key: key, rows: 1, columns: 2, bits: [Float(0.5).bitPattern, Float(length).bitPattern]))
      bytes += Array("é\(key.dropLast(2)) [\n \(length)\n]\n".utf8)
      expected.append(KaldiObject(key: "é\(key.dropLast(2))", rows: 1, columns: 1, bits: [Float(length).bitPattern]))
    }
    #expect(try readObjects(directory.write(bytes, to: "a.ark"), .matrices) == expected)
  }

  /// More files than are kept open.
  @Test func manyFiles() throws {
    let directory = try TemporaryDirectory()
    var index = ""
    for file in 0..<150 {
      let path = try directory.write(KaldiBytes.matrix("k", rows: 1, columns: 1, [Float(file)]), to: "\(file).ark")
      index += "u\(file) \(path):2\n"
    }
    let table = try KaldiTable(path: directory.write(index, to: "a.scp"), content: .matrices)
    #expect(table.files.count == 150)
    let reader = KaldiReader(table)
    var random = TestRandom(seed: 7)
    for file in (0..<150).shuffled(using: &random) + (0..<150) {
      #expect(try readObject(reader, file).bits == [Float(file).bitPattern])
    }
    let links = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").filter { descriptor in
      (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\(descriptor)"))?.hasPrefix(directory.path) == true
    }
    #expect(links.count == 64)
    _ = reader
  }
}
