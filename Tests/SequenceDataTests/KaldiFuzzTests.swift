import Foundation
import SequenceData
import Testing

/// Damaged files give a `KaldiError` or values: never a trap, an endless loop, or memory that the size of the file does not justify.
///
/// The time limit is there for endless loops: all of it takes some seconds on an idle machine.
@Suite(.timeLimit(.minutes(10))) struct KaldiFuzzTests {
  static let archives = KaldiFixtures.matrices + KaldiFixtures.integers

  /// Reads all that can be read, and checks what every outcome has to hold to.
  /// - Returns: the table, and of each entry the values or nil where it has an error; nil if there is no table.
  @discardableResult
  private func examine(_ path: String, _ content: KaldiTable.Content, _ size: Int) -> (table: KaldiTable, objects: [KaldiObject?])? {
    func check(_ error: KaldiError) {
      let text = error.description
      #expect(!text.isEmpty && !text.contains("\n") && text.utf8.count < 5000)
    }
    let table: KaldiTable
    do {
      table = try KaldiTable(path: path, content: content)
    } catch {
      check(error)
      return nil
    }
    let reader = KaldiReader(table)
    var objects: [KaldiObject?] = []
    for index in table.entries.indices {
      let entry = table.entries[index]
      // At least a byte for every value.
      #expect(entry.rows * entry.columns <= size)
      do {
        let object = try readObject(reader, index)
        if content == .matrices { #expect(object.bits.allSatisfy { Float(bitPattern: $0).isFinite }) }
        objects.append(object)
      } catch {
        check(error)
        objects.append(nil)
      }
    }
    #expect(reader.bufferBytes <= size)
    return (table, objects)
  }

  /// Cut off anywhere: the entries before the cut, or an error. Of labels in text the last ones may be what is left of a line.
  @Test(arguments: archives) func truncations(name: String) throws {
    let bytes = try KaldiFixtures.bytes(name)
    let expected = try KaldiFixtures.expected(name)
    let directory = try TemporaryDirectory()
    var whole = 0
    for count in 0..<bytes.count {
      let path = try directory.write(bytes.prefix(count), to: "a.ark")
      guard let (table, found) = examine(path, KaldiFixtures.content(name), count) else { continue }
      var objects = found
      if KaldiFixtures.content(name) == .integers, table.entries.last?.formatName == "text", bytes[count - 1] != 0x0A { objects.removeLast() }
      #expect(objects == Array(expected.prefix(objects.count)).map(Optional.some), "cut at \(count)")
      whole += 1
    }
    // At the least between each two entries, and before the first.
    #expect(whole >= 4 && (whole < 20 || name == "kaldi-labels-text.ark"))
  }

  /// Cut off anywhere after it was indexed: what is before the cut is read, the rest is an error.
  @Test(arguments: archives) func truncationsBehindTheReader(name: String) throws {
    let bytes = try KaldiFixtures.bytes(name)
    let expected = try KaldiFixtures.expected(name)
    let directory = try TemporaryDirectory()
    let path = try directory.write(bytes, to: "a.ark")
    let reader = KaldiReader(try KaldiTable(path: path, content: KaldiFixtures.content(name)))
    // The file is open in the reader from here on.
    _ = try readObject(reader, 0)
    for count in stride(from: bytes.count - 1, through: 0, by: -1) {
      try #require(unsafe truncate(path, count) == 0)
      for index in expected.indices {
        do {
          #expect(try readObject(reader, index) == expected[index])
        } catch {
          guard case .entry(path, expected[index].key, _, .truncated) = error else {
            Issue.record("cut at \(count): \(error)")
            continue
          }
        }
      }
    }
    #expect(throws: KaldiError.self) { try readObject(reader, 0) }
  }

  /// Bytes changed, put in, taken out, and moved.
  @Test(arguments: archives) func mutations(name: String) throws {
    let original = try KaldiFixtures.bytes(name)
    let content = KaldiFixtures.content(name)
    let directory = try TemporaryDirectory()
    var random = TestRandom(seed: 20_260_417)
    for _ in 0..<250 {
      var bytes = original
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        let place = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<6, using: &random) {
        case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
        case 1: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 2: bytes[place] = [0, 0x20, 0x0A, 0x7F, 0x80, 0xFF].randomElement(using: &random)!
        case 3: bytes.insert(UInt8.random(in: 0...255, using: &random), at: place)
        case 4: bytes.removeSubrange(place..<min(bytes.count, place + Int.random(in: 1...8, using: &random)))
        default: bytes.insert(contentsOf: original.prefix(place), at: place)
        }
        if bytes.isEmpty { break }
      }
      let path = try directory.write(bytes, to: "a.ark")
      examine(path, content, bytes.count)
      examine(path, content == .matrices ? .integers : .matrices, bytes.count)
    }
  }

  /// Every byte of the first header and of the first values, with every value that means something somewhere.
  @Test(arguments: ["kaldi-fm.ark", "kaldi-dm.ark", "kaldi-cm.ark", "kaldi-cm2.ark", "kaldi-cm3.ark", "kaldi-labels.ark", "kaldi-text.ark"])
  func everyByteOfTheFirstEntry(name: String) throws {
    let original = try KaldiFixtures.bytes(name)
    let directory = try TemporaryDirectory()
    let values = Array(0...10) + Array(" 012349BCDFMV[]-+.enx|:".utf8) + [0x7F, 0x80, 0xC0, 0xE2, 0xF0, 0xFE, 0xFF]
    for place in 0..<32 {
      for value in values {
        var bytes = original
        bytes[place] = value
        examine(try directory.write(bytes, to: "a.ark"), KaldiFixtures.content(name), bytes.count)
      }
    }
  }

  /// Every four bytes of the first header, and every two integers of it, with the numbers at which arithmetic goes wrong.
  @Test(arguments: ["kaldi-fm.ark", "kaldi-dm.ark", "kaldi-cm.ark", "kaldi-cm2.ark", "kaldi-cm3.ark", "kaldi-labels.ark"])
  func hostileNumbers(name: String) throws {
    let original = try KaldiFixtures.bytes(name)
    let directory = try TemporaryDirectory()
    let numbers: [Int32] = [-1, .min, .max, 0, 1 << 16, 1 << 30, 0x7F80_0000]
    for first in 4..<24 {
      for second in [0, 4, 5] {
        for number in numbers {
          for other in second == 0 ? [number] : numbers {
            var bytes = original
            for (place, value) in [(first, number), (first + second, other)] {
              bytes.replaceSubrange(place..<place + 4, with: KaldiBytes.int32(value))
            }
            examine(try directory.write(bytes, to: "a.ark"), KaldiFixtures.content(name), bytes.count)
          }
        }
      }
    }
  }

  /// Lines of an index.
  @Test func indices() throws {
    let directory = try TemporaryDirectory()
    try directory.write(KaldiFixtures.bytes("kaldi-fm.ark"), to: "kaldi-fm.ark")
    let original = try KaldiFixtures.bytes("kaldi-fm.scp")
    let size = try KaldiFixtures.bytes("kaldi-fm.ark").count
    var random = TestRandom(seed: 3)
    for round in 0..<1000 {
      var bytes = original
      if round < original.count {
        bytes = Array(bytes.prefix(round))
      } else {
        for _ in 0..<3 { bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random) }
      }
      examine(try directory.write(bytes, to: "a.scp"), .matrices, size)
    }
  }

  /// Bytes without any meaning, some of them beginning well.
  @Test func noise() throws {
    let directory = try TemporaryDirectory()
    var random = TestRandom(seed: 4)
    let starts = ["", "k ", "k \0B", "k \0BFM \u{4}", "k \0BCM ", "k \0BCM2 ", "k \0B\u{4}", "k [ ", "k 1 "]
    for round in 0..<1000 {
      let count = Int.random(in: 0...600, using: &random)
      let noise = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
      let bytes = Array(starts[round % starts.count].utf8) + noise
      let path = try directory.write(bytes, to: round % 5 == 0 ? "a.scp" : "a.ark")
      examine(path, .matrices, bytes.count)
      examine(path, .integers, bytes.count)
    }
  }
}
