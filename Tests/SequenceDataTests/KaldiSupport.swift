import Foundation
import SequenceData
import Testing

/// A directory with files in it, removed when the value ends.
final class TemporaryDirectory {
  let path: String

  init() throws {
    let url = FileManager.default.temporaryDirectory.appending(path: "lockstep-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    path = url.path
  }

  /// Writes a file, and the directories that it is in.
  @discardableResult
  func write(_ bytes: some Sequence<UInt8>, to name: String) throws -> String {
    let file = "\(path)/\(name)"
    if name.contains("/") {
      let parent = URL(filePath: file).deletingLastPathComponent()
      try FileManager.default.createDirectory(at: parent, withIntermediateDirectories: true)
    }
    try Data(bytes).write(to: URL(filePath: file))
    return file
  }

  @discardableResult
  func write(_ text: String, to name: String) throws -> String { try write(text.utf8, to: name) }

  var names: [String] { (try? FileManager.default.contentsOfDirectory(atPath: path).sorted()) ?? [] }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}

/// The archives that Scripts/make-kaldi-fixtures wrote.
enum KaldiFixtures {
  static let directory = repositoryFile("Tests/SequenceDataTests/Fixtures/kaldi")
  static let matrices =
    ["fm", "dm", "cm", "cm2", "cm2-signed", "cm3", "cm3-unsigned", "cm3-fraction", "text"].map { "kaldiio-\($0).ark" }
    + ["fm", "dm", "cm", "cm2", "cm3", "text"].map { "kaldi-\($0).ark" }
  static let integers = ["kaldiio-labels.ark", "kaldiio-labels-text.ark", "kaldi-labels.ark", "kaldi-labels-text.ark"]

  static func bytes(_ name: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(filePath: "\(directory)/\(name)"))) }

  static func content(_ name: String) -> KaldiTable.Content { integers.contains(name) ? .integers : .matrices }

  /// What kaldiio reads from an archive.
  static func expected(_ name: String) throws -> [KaldiObject] {
    let text = try String(contentsOfFile: "\(directory)/expected.txt", encoding: .utf8)
    return try text.split(separator: "\n").filter { $0.hasPrefix("\(name) ") }.map { line in
      let words = line.split(separator: " ")
      let values = words[4...]
      let bits = integers.contains(name) ? values.map { Int32($0).map(UInt32.init(bitPattern:)) } : values.map { UInt32($0, radix: 16) }
      return KaldiObject(
        key: String(words[1]), rows: try #require(Int(words[2])), columns: try #require(Int(words[3])),
        bits: try bits.map { try #require($0) })
    }
  }
}

/// An entry with the bits of its values, float32 or int32.
struct KaldiObject: Equatable {
  var key: String
  var rows: Int
  var columns: Int
  var bits: [UInt32]
}

/// Entry `index` with its values.
func readObject(_ reader: KaldiReader, _ index: Int) throws(KaldiError) -> KaldiObject {
  let entry = reader.table.entries[index]
  var object = KaldiObject(key: entry.key, rows: entry.rows, columns: entry.columns, bits: [])
  if reader.table.content == .matrices {
    var values = [Float](repeating: .nan, count: entry.rows * entry.columns)
    var span = values.mutableSpan
    try reader.readMatrix(index, into: &span)
    object.bits = values.map(\.bitPattern)
  } else {
    var values = [Int32](repeating: .min, count: entry.rows)
    var span = values.mutableSpan
    try reader.readIntegers(index, into: &span)
    object.bits = values.map(UInt32.init(bitPattern:))
  }
  return object
}

/// All entries of an archive or index with their values.
func readObjects(_ path: String, _ content: KaldiTable.Content) throws(KaldiError) -> [KaldiObject] {
  let reader = KaldiReader(try KaldiTable(path: path, content: content))
  var objects: [KaldiObject] = []
  for index in reader.table.entries.indices { objects.append(try readObject(reader, index)) }
  return objects
}

/// The first fault, found when indexing or when reading.
func kaldiError(_ path: String, _ content: KaldiTable.Content) -> KaldiError? {
  #expect(throws: KaldiError.self) { try readObjects(path, content) }
}

/// Pieces of binary archives.
enum KaldiBytes {
  static func int32(_ value: Int32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * Int32($0))) } }

  static func float32(_ value: Float) -> [UInt8] { int32(Int32(bitPattern: value.bitPattern)) }

  static func float64(_ value: Double) -> [UInt8] {
    int32(Int32(truncatingIfNeeded: value.bitPattern)) + int32(Int32(truncatingIfNeeded: value.bitPattern >> 32))
  }

  /// `KEY`, a space, 00 42 and the word that begins a matrix.
  static func start(_ key: String, _ token: String) -> [UInt8] { Array("\(key) \0B\(token) ".utf8) }

  static func matrix(_ key: String, rows: Int32, columns: Int32, _ values: [Float]) -> [UInt8] {
    start(key, "FM") + [4] + int32(rows) + [4] + int32(columns) + values.flatMap(float32)
  }

  static func integers(_ key: String, _ values: [Int32]) -> [UInt8] {
    Array("\(key) \0B".utf8) + [4] + int32(Int32(values.count)) + values.flatMap { [4] + int32($0) }
  }
}
