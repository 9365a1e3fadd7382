import Foundation
import Testing

import Training

/// Damaged files end in a `ConfigurationError` of one line, or in a configuration that reads back; never in a crash.
@Suite struct ConfigurationFuzzTests {
  private static let seeds = [
    TrainingConfiguration(task: .languageModel, train: .text(path: "a b.txt"), validation: .text(path: "é\n")).yaml(),
    TrainingConfiguration(
      task: .frameClassification, train: .frames(features: "a", labels: "b"), validation: .frames(features: "c", labels: "d")
    ).yaml(),
    TrainingConfiguration(
      task: .sequenceClassification, train: .frames(features: "a", labels: "b"), validation: .frames(features: "c", labels: "d")
    ).yaml(),
    "%YAML 1.1\n--- !!map\ntask: &a language-model\ndata: {train: *a, validation: |\n  text\n, test: >-\n x}\n? [a]\n: b\n...\n",
  ]

  /// - Returns: whether the text was refused.
  private func isRefused(_ yaml: String, overrides: [String] = []) -> Bool {
    do {
      let configuration = try TrainingConfiguration(yaml: yaml, file: "x.yaml", overrides: overrides)
      let read = try TrainingConfiguration(yaml: configuration.yaml(), file: "x.yaml")
      #expect(read == configuration)
      return false
    } catch {
      #expect(error.description.split(whereSeparator: \.isNewline).count == 1, "\(error)")
      #expect(error.description.count < 2500)
      return true
    }
  }

  @Test func bytesChangedRemovedAndAdded() {
    var random = SplitMix(state: 11)
    let odd = Array("{}[]:#&*!|>'\"%@`,?-\\\n\t\r \u{0}0159.eE~<=".utf8) + [0x80, 0xc3, 0xe2, 0xef, 0xbb, 0xbf, 0xff]
    var refused = 0
    for round in 0..<1500 {
      var bytes = Array(Self.seeds[round % Self.seeds.count].utf8)
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        let index = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 1: bytes[index] = odd.randomElement(using: &random)!
        case 2: bytes.insert(odd.randomElement(using: &random)!, at: index)
        default: bytes.remove(at: index)
        }
      }
      if isRefused(String(decoding: bytes, as: UTF8.self)) { refused += 1 }
    }
    #expect(refused > 500 && refused < 1500)
  }

  @Test func everyTruncation() {
    for seed in Self.seeds {
      for length in 0..<seed.utf8.count { _ = isRefused(String(decoding: seed.utf8.prefix(length), as: UTF8.self)) }
    }
  }

  @Test func randomOverrides() {
    var random = SplitMix(state: 13)
    let characters = Array("abz._=:{}[]\"'\\ #&*!|\n0159-+e~\u{0}é")
    for _ in 0..<1000 {
      let value = String((0..<Int.random(in: 0...8, using: &random)).map { _ in characters.randomElement(using: &random)! })
      let key = Bool.random(using: &random) ? TrainingConfiguration.keys.randomElement(using: &random)! + "=" : ""
      _ = isRefused(Self.seeds[0], overrides: [key + value])
    }
  }

  @Test func deepNestingAndAliasesThatMultiply() {
    let base = "task: language-model\n"
    for (open, close) in [("[", "]"), ("{a: ", "}"), ("? ", ""), ("- ", "")] {
      for depth in [10, 900, 20_000] {
        let nested = String(repeating: open, count: depth) + "x" + String(repeating: close, count: depth)
        #expect(isRefused(base + "data: " + nested))
        #expect(isRefused(nested))
      }
    }
    var laughs = "a0: &a0 [x, x]\n"
    for level in 1...60 { laughs += "a\(level): &a\(level) [*a\(level - 1), *a\(level - 1)]\n" }
    #expect(isRefused(laughs))
    #expect(isRefused(base + "data:\n  train: {a: &a {b: c}, d: {e: *a, f: *a}}\n  validation: b\n"))
  }
}
