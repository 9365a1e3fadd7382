import SequenceData
import Testing

@Suite struct AssemblerTests {
  /// A frame's value says which it is: frame t of utterance u is 10 u + t, its label 100 more.
  private static func source(_ lengths: [Int]) -> MemorySource {
    MemorySource(
      lengths.enumerated().map { u, length in (0..<length).map { Float(10 * u + $0) } },
      labels: lengths.enumerated().map { u, length in (0..<length).map { Int32(100 + 10 * u + $0) } })
  }

  private func batch(_ lengths: [Int], _ members: [(example: Int, utterance: Int)]) throws -> UtteranceBatch {
    var assembler = UtteranceAssembler(Self.source(lengths), transform: .identity, classes: 1000)
    return try assembler.batch(members)
  }

  /// Step by step, the longest first; of equal length the first in the minibatch first.
  @Test func byHand() throws {
    let batch = try batch([9, 3, 1, 4, 3], [(8, 4), (2, 1), (5, 2), (0, 3)])
    #expect(batch.lengths == [4, 3, 3, 1])
    #expect(batch.examples == [0, 2, 8, 5])
    #expect(batch.utterances == [3, 1, 4, 2])
    #expect(batch.frames == 11)
    #expect(batch.features == [30, 10, 40, 20, 31, 11, 41, 32, 12, 42, 33])
    #expect(batch.labels == [130, 110, 140, 120, 131, 111, 141, 132, 112, 142, 133])
  }

  @Test func singleFrames() throws {
    let batch = try batch([1, 1, 1], [(1, 2), (0, 1), (2, 0)])
    #expect(batch.lengths == [1, 1, 1] && batch.examples == [0, 1, 2] && batch.features == [10, 20, 0])
  }

  @Test func oneUtterance() throws {
    let batch = try batch([2, 3], [(6, 1)])
    #expect(batch.lengths == [3] && batch.examples == [6] && batch.features == [10, 11, 12] && batch.labels == [110, 111, 112])
  }

  /// A shard may get nothing.
  @Test func empty() throws {
    let batch = try batch([2, 3], [])
    #expect(batch == UtteranceBatch() && batch.frames == 0)
  }

  /// Rows of several features stay together.
  @Test func wide() throws {
    let source = MemorySource([[1, 2, 3, 4], [5, 6]], dimension: 2)
    var assembler = UtteranceAssembler(source, transform: .identity, classes: 1)
    #expect(try assembler.batch([(0, 0), (1, 1)]).features == [1, 2, 5, 6, 3, 4])
  }

  /// The rows of a batch, found by looking at every step for the sequences that have it.
  @Test func definition() throws {
    var random = TestRandom(seed: 51)
    let transform = FeatureTransform(deltas: 2, normalizer: .utterance)
    for seed in 0..<20 as Range<UInt64> {
      let lengths = (0..<Int.random(in: 1...30, using: &random)).map { _ in Int.random(in: 1...12, using: &random) }
      let source = MemorySource(lengths: lengths, dimension: 2, classes: 5, seed: seed)
      let rows = try lengths.indices.map { try source.transformed(transform, utterance: $0) }
      var assembler = UtteranceAssembler(source, transform: transform, classes: 5), batch = UtteranceBatch()
      for minibatch in MinibatchPlan(frames: lengths, limit: .utterances(8), seed: seed, shuffle: seed % 2 == 0).minibatches(epoch: 1) {
        for members in deal(minibatch, shards: Int(seed % 5 + 1)) {
          // The same buffers, for larger and smaller batches.
          try assembler.fill(&batch, members.shuffled(using: &random))
          #expect(batch.examples.sorted() == members.map(\.example))
          #expect(batch.utterances == batch.examples.map { minibatch[$0] } && batch.lengths == batch.utterances.map { lengths[$0] })
          for (a, b) in zip(batch.examples, batch.examples.dropFirst()) {
            let (long, short) = (lengths[minibatch[a]], lengths[minibatch[b]])
            #expect(long > short || long == short && a < b)
          }
          var features: [Float] = [], labels: [Int32] = []
          for t in 0..<12 {
            for u in batch.utterances where lengths[u] > t {
              features += rows[u][6 * t..<6 * (t + 1)]
              labels.append(source.labels[u][t])
            }
          }
          #expect(batch.features == features && batch.labels == labels)
        }
      }
    }
  }

  /// An utterance has the same values whatever it is batched with.
  @Test func shardsOfAnyNumber() throws {
    let lengths = [5, 2, 7, 7, 1, 3, 5], source = MemorySource(lengths: lengths, dimension: 2, classes: 3, seed: 52)
    var whole: Set<[Float]>?
    for shards in 1...9 {
      var assembler = UtteranceAssembler(source, transform: .identity, classes: 3), rows: [[Float]] = []
      for members in deal(Array(lengths.indices), shards: shards) {
        let batch = try assembler.batch(members)
        rows += (0..<batch.frames).map { Array(batch.features[2 * $0..<2 * $0 + 2]) }
      }
      #expect(rows.count == lengths.reduce(0, +))
      if whole == nil { whole = Set(rows) }
      #expect(Set(rows) == whole)
    }
  }

  @Test func labels() throws {
    let source = MemorySource([[0], [0, 0]], labels: [[6], [7, 2]])
    var assembler = UtteranceAssembler(source, transform: .identity, classes: 7), batch = UtteranceBatch()
    try assembler.fill(&batch, [(0, 0)])
    #expect(batch.labels == [6])
    #expect(throws: UtteranceError.labelOutOfRange(file: "labels.ark", key: "u1", frame: 0, label: 7, classes: 7)) {
      try assembler.fill(&batch, [(0, 0), (1, 1)])
    }
    // It is of use afterwards.
    try assembler.fill(&batch, [(3, 0)])
    #expect(batch.labels == [6] && batch.examples == [3])
  }

  /// One label an utterance, in the order of the batch.
  @Test func labelsOfUtterances() throws {
    var source = MemorySource([[1, 2], [3], [4, 5, 6]], labels: [[6], [2], [5]])
    source.labelled = .utterances
    var assembler = UtteranceAssembler(source, transform: .identity, classes: 7), batch = UtteranceBatch()
    try assembler.fill(&batch, [(0, 0), (1, 1), (2, 2)])
    #expect(batch.lengths == [3, 2, 1] && batch.features == [4, 1, 3, 5, 2, 6] && batch.labels == [5, 6, 2])
    // Fewer in the same buffers.
    try assembler.fill(&batch, [(0, 1)])
    #expect(batch.labels == [2])
    var counts = Array(repeating: 0, count: 7)
    let survey = FeatureSurvey(source, deltas: 0, classes: 7)
    for chunk in survey.chunks.indices { _ = try survey.moments(ofChunk: chunk, source.makeReader(), labelCounts: &counts) }
    #expect(counts == [0, 0, 1, 0, 0, 1, 1])
    source.labels[2] = [7]
    let error = UtteranceError.labelOutOfRange(file: "labels.ark", key: "u2", frame: nil, label: 7, classes: 7)
    var damaged = UtteranceAssembler(source, transform: .identity, classes: 7)
    #expect(throws: error) { try damaged.fill(&batch, [(0, 2)]) }
    #expect(error.description == "labels.ark: \"u2\": the label is 7, expected 0 to 6 (data.classes is 7)")
  }

  /// The source's own errors come through as they are.
  @Test func readingFails() {
    var source = Self.source([2, 3])
    source.beforeRead = { utterance throws in if utterance == 1 { throw Damage() } }
    var assembler = UtteranceAssembler(source, transform: .identity, classes: 1000)
    #expect(throws: Damage()) { try assembler.batch([(0, 0), (1, 1)]) }
  }
}

/// What a test's source throws.
struct Damage: Error, Equatable {}
