import Foundation
import SequenceData

/// A file with the given bytes, removed when the value ends.
final class TemporaryFile {
  let path: String

  init(_ bytes: [UInt8]) throws {
    let url = FileManager.default.temporaryDirectory.appending(path: "lockstep-\(UUID().uuidString).txt")
    try Data(bytes).write(to: url)
    path = url.path
  }

  convenience init(_ text: String) throws { try self.init(Array(text.utf8)) }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}

/// Numbers that are the same on every run (a linear congruential generator, Knuth's MMIX constants).
struct TestRandom: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    var result: UInt64 = 0
    for _ in 0..<2 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      result = result << 32 | state >> 32
    }
    return result
  }
}

/// The tokens of a text by way of the standard library's characters: slow, and unlike the code under test.
func naiveTokens(_ text: String, _ unit: TextUnit) -> [String] {
  var tokens: [String] = []
  var word = String.UnicodeScalarView()
  for scalar in text.unicodeScalars {
    if unit == .character {
      tokens.append(String(scalar))
    } else if scalar.properties.isWhitespace {
      if !word.isEmpty { tokens.append(String(word)) }
      word = .init()
      if scalar == "\n" { tokens.append("<eos>") }
    } else {
      word.append(scalar)
    }
  }
  if !word.isEmpty { tokens.append(String(word)) }
  return tokens
}

extension Array where Element == String {
  /// Compared as bytes, where `String` compares by canonical equivalence.
  var asBytes: [[UInt8]] { map { Array<UInt8>($0.utf8) } }
}

/// All tokens of a file as strings, through a vocabulary that has them all.
func tokens(of file: TextFile) throws -> [String] {
  let (vocabulary, statistics, _) = try file.buildVocabulary(size: 1_000_000)
  let ids = try file.readTokens(
    in: [0..<statistics.tokens], vocabulary: vocabulary, expectedTokens: statistics.tokens)
  return ids.map(vocabulary.token)
}

/// The repository's file at a path from its root.
func repositoryFile(_ path: String) -> String {
  URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: path).path
}
