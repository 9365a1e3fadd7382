import Foundation
import SequenceData
import Testing

@Suite struct KaldiTableSerializationTests {
  private func tables() throws -> [KaldiTable] {
    var tables: [KaldiTable] = []
    for name in KaldiFixtures.matrices + KaldiFixtures.integers + ["kaldi-fm.scp"] {
      tables.append(try KaldiTable(path: "\(KaldiFixtures.directory)/\(name)", content: KaldiFixtures.content(name)))
    }
    return tables
  }

  /// What comes out is the same table, and reads the same values.
  @Test func roundTrip() throws {
    for table in try tables() {
      let copy = try KaldiTable(serialized: table.serialized())
      #expect(copy == table)
      let (reader, other) = (KaldiReader(table), KaldiReader(copy))
      for index in table.entries.indices {
        let copied = try readObject(other, index)
        #expect(try readObject(reader, index) == copied)
      }
    }
    let directory = try TemporaryDirectory()
    let empty = try KaldiTable(path: directory.write("", to: "ünï.ark"), content: .integers)
    #expect(try KaldiTable(serialized: empty.serialized()) == empty)
  }

  /// The keys, and some ten bytes an entry.
  @Test func size() throws {
    let directory = try TemporaryDirectory()
    var bytes: [UInt8] = []
    for key in 1000..<2000 { bytes += KaldiBytes.integers("u\(key)", Array(repeating: 3, count: 100)) }
    let table = try KaldiTable(path: directory.write(bytes, to: "a.ark"), content: .integers)
    #expect(table.entries.count == 1000)
    #expect(table.serialized().count < 1000 * (5 + 12) + directory.path.utf8.count * 2 + 100)
  }

  /// Damaged bytes give an error, or a table whose entries give values or errors.
  @Test(.timeLimit(.minutes(10))) func damage() throws {
    var random = TestRandom(seed: 5)
    for table in try tables() {
      let original = table.serialized()
      for count in 0..<original.count {
        let error = #expect(throws: KaldiError.self) { try KaldiTable(serialized: Array(original.prefix(count))) }
        guard case .invalidTable = error else {
          Issue.record("cut at \(count): \(String(describing: error))")
          continue
        }
      }
      #expect(throws: KaldiError.invalidTable(reason: "1 bytes behind the last entry")) { try KaldiTable(serialized: original + [0]) }
      for _ in 0..<200 {
        var bytes = original
        for _ in 0..<Int.random(in: 1...3, using: &random) {
          bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
        }
        do {
          let damaged = try KaldiTable(serialized: bytes)
          let reader = KaldiReader(damaged)
          for index in damaged.entries.indices {
            let entry = damaged.entries[index]
            // Room for more is not made here; whether the file has as much is the reader's to find out.
            let (values, overflow) = entry.rows.multipliedReportingOverflow(by: entry.columns)
            if overflow || values > 100_000 { continue }
            do { _ = try readObject(reader, index) } catch { #expect(!error.description.isEmpty) }
          }
          #expect(reader.bufferBytes < 2000)
        } catch {
          guard case .invalidTable = error else {
            Issue.record("\(error)")
            continue
          }
        }
      }
    }
  }

  @Test func faults() throws {
    func expect(_ reason: String, _ bytes: [UInt8]) {
      #expect(throws: KaldiError.invalidTable(reason: reason)) { try KaldiTable(serialized: bytes) }
    }
    let mark = Array("LKT2".utf8)
    // One path of one byte, matrices, no commands, one file of one byte, one entry.
    let start = mark + [1, 1, 0x70, 0, 0, 1, 1, 0x66, 1]
    func entry(rows: [UInt8] = [2], columns: [UInt8] = [1], file: UInt8 = 0, size: [UInt8] = [23], format: UInt8 = 0) -> [UInt8] {
      [1, 0x6B] + rows + columns + [file, 2] + size + [format]
    }
    let whole = try KaldiTable(serialized: start + entry())
    #expect(whole.entries.map(\.key) == ["k"] && whole.entries[0].rows == 2 && whole.files == ["f"])
    expect("does not begin with LKT2", Array("LKT1".utf8))
    expect("ends at byte 4", mark)
    expect("5 at byte 4, expected no more than the 1 bytes behind hold", mark + [5, 1])
    expect("the text at byte 6 is not UTF-8", mark + [1, 1, 0xFF])
    expect("2 at byte 7, expected less than 2", mark + [1, 1, 0x70, 2])
    expect("a number of more than 63 bits at byte 4", mark + Array(repeating: 0xFF, count: 12))
    expect("1 at byte 17, expected less than 1", start + entry(file: 1))
    expect("2147483648 at byte 15, expected less than 2147483648", start + entry(rows: [0x80, 0x80, 0x80, 0x80, 0x08]))
    expect("sizes of \"k\" that cannot be", start + entry(size: [22]))
    expect("sizes of \"k\" that cannot be", start + entry(columns: [0], size: [15]))
    expect("sizes of \"k\" that cannot be", start + entry(size: [2], format: 6))
    expect("a format at byte 20 that is not one of a matrix", start + entry(format: 5))
    expect("a format at byte 20 that is not one of a matrix", start + entry(format: 7))
    expect("a bad key at byte 13", start + [1, 0x20] + entry().dropFirst(2))
  }
}
