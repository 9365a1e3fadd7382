import Foundation
import Testing

/// One utterance of a test.
struct Utterance {
  var key: String
  /// [frames][features].
  var features: [[Float]]
  var labels: [Int32]
}

/// Utterances whose labels can be learned: the first feature follows the label.
/// - lengths: of each, in order.
func randomUtterances(lengths: [Int], features: Int = 3, classes: Int = 5, seed: UInt64) -> [Utterance] {
  var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
  func uniform() -> Float {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Float(state >> 40) / 16_777_216
  }
  return lengths.enumerated().map { number, length in
    var label = Int32(0)
    let labels = (0..<length).map { _ in
      if uniform() < 0.4 { label = Int32(uniform() * Float(classes)) }
      return label
    }
    let rows = labels.map { label in (0..<features).map { f in (f == 0 ? Float(label) : 3 * Float(f)) + uniform() } }
    return Utterance(key: "utterance-\(number)", features: rows, labels: labels)
  }
}

/// A Kaldi archive of float matrices, put together byte by byte.
func featureArchive(_ utterances: [Utterance]) -> Data {
  var data = Data()
  for utterance in utterances {
    data += Data("\(utterance.key) \0BFM ".utf8)
    for dimension in [utterance.features.count, utterance.features.first?.count ?? 0] { data += [4] + littleEndian(Int32(dimension)) }
    for value in utterance.features.joined() { data += littleEndian(Int32(bitPattern: value.bitPattern)) }
  }
  return data
}

/// A Kaldi archive of int32 vectors.
func labelArchive(_ utterances: [Utterance]) -> Data {
  var data = Data()
  for utterance in utterances {
    data += Data("\(utterance.key) \0B".utf8) + [4] + littleEndian(Int32(utterance.labels.count))
    for label in utterance.labels { data += [4] + littleEndian(label) }
  }
  return data
}

func littleEndian(_ value: Int32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }

extension Sandbox {
  /// 21 training utterances of 1 to 9 frames in minibatches of 10, 10 and 1: with 8 shards, shards hold two, one or none.
  static let trainLengths = [5, 9, 2, 7, 7, 1, 3, 8, 6, 4, 9, 5, 5, 2, 6, 1, 8, 3, 7, 4, 6]
  static let validLengths = [6, 3, 9, 1, 5]

  func write(_ name: String, _ utterances: [Utterance]) throws {
    try write("\(name)-features.ark", featureArchive(utterances))
    try write("\(name)-labels.ark", labelArchive(utterances))
  }

  /// Writes archives and `speech.yaml`, a tiny bidirectional model of 8 shards.
  func writeSpeech() throws {
    try writeArchives("speech.yaml", task: "frame-classification", classes: 5, deltas: 2) { randomUtterances(lengths: $0, seed: $1) }
  }

  /// Writes archives of utterances, by their lengths and a seed, and a configuration of a tiny bidirectional model of 8 shards.
  func writeArchives(
    _ name: String, task: String, classes: Int, deltas: Int, _ utterances: (_ lengths: [Int], _ seed: UInt64) -> [Utterance]
  ) throws {
    try write("train", utterances(Self.trainLengths, 1))
    try write("valid", utterances(Self.validLengths, 2))
    try write("test", utterances([4, 7], 3))
    try write(name, """
      task: \(task)
      data:
        train: {features: train-features.ark, labels: train-labels.ark}
        validation: {features: valid-features.ark, labels: valid-labels.ark}
        test: {features: test-features.ark, labels: test-labels.ark}
        classes: \(classes)
        deltas: \(deltas)
      model: {hidden_size: 6, layers: 2, bidirectional: true}
      normalization: {statistics: sequence}
      training: {batch_size: 10, shards: 8, epochs: 1000, maximum_steps: 10}
      optimizer: {learning_rate: 0.1, decay: null}
      checkpoint: {every_steps: 4}
      evaluation: {population_batches: 2}

      """)
  }

  /// Trains on several numbers of ranks and expects the same bits and metrics of all.
  /// - training: the arguments of a run in a directory.
  func expectSameBits(onRanks counts: [Int], _ training: (_ directory: String) -> [String]) throws {
    for ranks in counts {
      let outcome = try run(ranks: ranks, training("on-\(ranks)"))
      try #require(outcome.exitCode == 0 && outcome.errorMessages.isEmpty, "\(outcome)")
      for file in ["model.safetensors", "training.safetensors", "features.json"] {
        #expect(
          try data("on-\(ranks)/checkpoints/latest/\(file)") == data("on-\(counts[0])/checkpoints/latest/\(file)"), "\(file) on \(ranks) ranks")
      }
      #expect(try numbers("on-\(ranks)") == numbers("on-\(counts[0])"), "\(ranks) ranks")
    }
  }

  /// The arguments of a training run of `speech.yaml` in `directory`.
  func speechTraining(_ directory: String, _ settings: [String], _ further: [String] = []) -> [String] {
    ["train", "speech.yaml", "--run-directory", self(directory)] + further + settings.flatMap { ["--set", $0] }
  }
}
