import Foundation
import SequenceData
import Testing

@Suite struct UtteranceSetTests {
  /// Archives of `[key: rows]`, two columns wide unless it is said.
  private func set(
    _ features: [(key: String, rows: Int)], _ labels: [(key: String, rows: Int)], columns: [Int] = [], labelled: Labelled = .frames
  ) throws -> Result<UtteranceSet, KaldiError> {
    let directory = try TemporaryDirectory()
    var matrices: [UInt8] = []
    for (place, entry) in features.enumerated() {
      let width = entry.rows == 0 ? 0 : place < columns.count ? columns[place] : 2
      matrices += KaldiBytes.matrix(
        entry.key, rows: Int32(entry.rows), columns: Int32(width), Array(repeating: 0, count: entry.rows * width))
    }
    let vectors = labels.flatMap { KaldiBytes.integers($0.key, Array(repeating: 1, count: $0.rows)) }
    let featureTable = try KaldiTable(path: directory.write(matrices, to: "f.ark"), content: .matrices)
    let labelTable = try KaldiTable(path: directory.write(vectors, to: "l.ark"), content: .integers)
    do {
      return .success(try UtteranceSet(features: featureTable, labels: labelTable, labelled: labelled))
    } catch {
      return .failure(error)
    }
  }

  /// The error's description, with the names of the files alone.
  private func error(
    _ features: [(key: String, rows: Int)], _ labels: [(key: String, rows: Int)], columns: [Int] = [], labelled: Labelled = .frames
  ) throws -> String? {
    guard case .failure(let error) = try set(features, labels, columns: columns, labelled: labelled) else { return nil }
    return error.description.replacing(/\S*\/([fl]\.ark)/) { $0.1 }
  }

  @Test func pairs() throws {
    let set = try set([("b", 3), ("a", 1), ("c", 2)], [("a", 1), ("b", 3), ("c", 2)]).get()
    #expect(set.dimension == 2)
    #expect(set.utterances.map(\.key) == ["b", "a", "c"])
    #expect(set.utterances.map(\.frames) == [3, 1, 2])
    #expect(set.utterances.map(\.features) == [0, 1, 2])
    #expect(set.utterances.map(\.labels) == [1, 0, 2])
  }

  /// The same text to a reader, other bytes: two keys.
  @Test func keysAreBytes() throws {
    let set = try set([("e\u{301}", 1), ("\u{e9}", 2)], [("\u{e9}", 2), ("e\u{301}", 1)]).get()
    #expect(set.utterances.map(\.labels) == [1, 0])
    #expect(try error([("e\u{301}", 1)], [("\u{e9}", 1)]) != nil)
  }

  @Test func fixtures() throws {
    for features in KaldiFixtures.matrices {
      for labels in KaldiFixtures.integers {
        let set = try UtteranceSet(
          features: KaldiTable(path: "\(KaldiFixtures.directory)/\(features)", content: .matrices),
          labels: KaldiTable(path: "\(KaldiFixtures.directory)/\(labels)", content: .integers))
        #expect(set.utterances.map(\.frames) == [1, 4, 9, 12] && set.dimension == 3)
      }
    }
  }

  /// One label an utterance, whatever its length.
  @Test func labelsOfUtterances() throws {
    let set = try set([("b", 3), ("a", 1), ("c", 2)], [("a", 1), ("b", 1), ("c", 1)], labelled: .utterances).get()
    #expect(set.utterances.map(\.frames) == [3, 1, 2] && set.utterances.map(\.labels) == [1, 0, 2])
    #expect(
      try error([("a", 2), ("b", 2)], [("a", 1), ("b", 2)], labelled: .utterances)
        == "l.ark: \"b\" has 2 labels, expected one for the whole utterance")
    #expect(
      try error([("a", 2), ("b", 3), ("c", 1)], [("a", 0), ("b", 1), ("c", 3)], labelled: .utterances)
        == "l.ark: \"a\" has 0 labels, expected one for the whole utterance; 1 more utterances are like it")
    #expect(try error([("a", 1), ("b", 1)], [("a", 1)], labelled: .utterances) == "f.ark: \"b\" is without labels in l.ark")
  }

  @Test func faults() throws {
    #expect(try error([], []) == "f.ark: holds no utterance, nor does l.ark")
    #expect(
      try error([("a", 1), ("b", 1), ("a", 1)], [("a", 1), ("b", 1)])
        == "f.ark: \"a\" is there twice, as entries 0 and 2 (from 0), expected each utterance once")
    #expect(
      try error([("a", 1), ("b", 1)], [("a", 1), ("b", 1), ("b", 1)])
        == "l.ark: \"b\" is there twice, as entries 1 and 2 (from 0), expected each utterance once")
    #expect(try error([("a", 1), ("b", 1)], [("a", 1)]) == "f.ark: \"b\" is without labels in l.ark")
    #expect(try error([("a", 1), ("b", 1), ("c", 1)], []) == "f.ark: \"a\" and 2 more are without labels in l.ark")
    #expect(try error([("a", 1)], [("c", 1), ("a", 1), ("b", 1)]) == "l.ark: \"c\" and 1 more are without features in f.ark")
    #expect(try error([], [("a", 1)]) == "l.ark: \"a\" is without features in f.ark")
    #expect(try error([("a", 1), ("b", 0)], [("a", 1), ("b", 0)]) == "f.ark: \"b\" has no frames, expected at least 1")
    #expect(
      try error([("a", 1), ("b", 1)], [("a", 1), ("b", 1)], columns: [3, 2])
        == "f.ark: \"b\" has 2 columns, but \"a\" has 3, expected the same for all")
    #expect(try error([("a", 2), ("b", 3)], [("a", 2), ("b", 0)]) == "f.ark: \"b\" has 3 frames, but 0 labels in l.ark")
    #expect(
      try error([("a", 2), ("b", 3), ("c", 1)], [("c", 2), ("a", 2), ("b", 4)])
        == "f.ark: \"b\" has 3 frames, but 4 labels in l.ark; 1 more utterances differ too")
  }
}
