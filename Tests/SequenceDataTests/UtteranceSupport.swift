import SequenceData

/// Utterances in memory.
struct MemorySource: UtteranceSource {
  let frames: [Int]
  let dimension: Int
  var labelled = Labelled.frames
  /// By utterance, row by row.
  var features: [[Float]]
  var labels: [[Int32]]
  /// Called before an utterance is read.
  var beforeRead: @Sendable (_ utterance: Int) throws -> Void = { _ in }
  /// Lives as long as a copy of the source does.
  var token: Token?

  final class Token: Sendable {}

  /// - features: row by row, of each utterance. labels: a frame each; nil for zeros.
  init(_ features: [[Float]], dimension: Int = 1, labels: [[Int32]]? = nil) {
    frames = features.map { $0.count / dimension }
    self.dimension = dimension
    self.features = features
    self.labels = labels ?? frames.map { Array(repeating: 0, count: $0) }
  }

  /// Utterances of the given lengths with features in -1 ..< 1.
  init(lengths: [Int], dimension: Int, classes: Int, seed: UInt64) {
    var random = TestRandom(seed: seed)
    self.init(
      lengths.map { length in (0..<length * dimension).map { _ in Float.random(in: -1..<1, using: &random) } }, dimension: dimension,
      labels: lengths.map { length in (0..<length).map { _ in Int32.random(in: 0..<Int32(classes), using: &random) } })
  }

  var featureFile: String { "features.ark" }
  var labelFile: String { "labels.ark" }
  func key(_ utterance: Int) -> String { "u\(utterance)" }
  func makeReader() -> any UtteranceReading { Reader(source: self) }

  private struct Reader: UtteranceReading {
    let source: MemorySource

    func read(_ utterance: Int, features: inout MutableSpan<Float>, labels: inout MutableSpan<Int32>) throws {
      try source.beforeRead(utterance)
      precondition(features.count == source.features[utterance].count && labels.count == source.labelled.count(frames: source.frames[utterance]), "room for an utterance")
      for (i, value) in source.features[utterance].enumerated() { features[i] = value }
      for (t, label) in source.labels[utterance].enumerated() { labels[t] = label }
    }
  }

  /// The features of an utterance after a transform, row by row, by way of a batch of one.
  func transformed(_ transform: FeatureTransform, utterance: Int = 0) throws -> [Float] {
    var assembler = UtteranceAssembler(self, transform: transform, classes: .max), batch = UtteranceBatch()
    try assembler.fill(&batch, [(example: 0, utterance: utterance)])
    return batch.features
  }
}

extension FeatureTransform {
  /// Features as they are.
  static let identity = FeatureTransform(deltas: 0, normalizer: .none)
}

extension UtteranceAssembler {
  /// A new batch.
  mutating func batch(_ members: [(example: Int, utterance: Int)]) throws -> UtteranceBatch {
    var batch = UtteranceBatch()
    try fill(&batch, members)
    return batch
  }
}

/// Each shard's part of a minibatch: utterance `k` goes to shard `k mod S`.
func deal(_ minibatch: [Int], shards: Int) -> [[(example: Int, utterance: Int)]] {
  (0..<shards).map { shard in
    minibatch.enumerated().filter { $0.offset % shards == shard }.map { (example: $0.offset, utterance: $0.element) }
  }
}

/// What an expression throws, as text.
func thrown(_ body: () throws -> Void) -> String? {
  do {
    try body()
    return nil
  } catch { return "\(error)" }
}
