import SequenceData
import Testing

@Suite struct FeatureMomentsTests {
  /// Moments of all chunks by one reader, in order.
  private func moments(_ source: MemorySource, deltas: Int = 0, classes: Int = 1) throws -> (FeatureMoments, [Int]) {
    let survey = FeatureSurvey(source, deltas: deltas, classes: classes), reader = source.makeReader()
    var counts = Array(repeating: 0, count: classes)
    let chunks = try survey.chunks.indices.map { try survey.moments(ofChunk: $0, reader, labelCounts: &counts) }
    return (FeatureSurvey.merge(chunks), counts)
  }

  @Test func byHand() throws {
    // 1, 2, 6 and 5: mean 3.5, deviations -2.5, -1.5, 2.5, 1.5.
    let (moments, counts) = try moments(MemorySource([[1, 0, 2, 0, 6, 0], [5, 4]], dimension: 2, labels: [[2, 0, 2], [3]]), classes: 5)
    #expect(moments.count == 4)
    #expect(moments.mean == [3.5, 1])
    #expect(moments.squares == [17, 12])
    #expect(moments.meanAndDeviation(deltas: 0).mean == [3.5, 1])
    #expect(moments.meanAndDeviation(deltas: 0).deviation == [(17.0 / 4).squareRoot(), (12.0 / 4).squareRoot()])
    #expect(counts == [1, 0, 2, 1, 0])
  }

  /// The features and their deltas, over more utterances than chunks, against two passes over everything.
  @Test(arguments: [0, 1, 2]) func wholeSet(deltas: Int) throws {
    var random = TestRandom(seed: 11)
    let lengths = (0..<300).map { _ in Int.random(in: 1...12, using: &random) }
    var source = MemorySource(lengths: lengths, dimension: 3, classes: 4, seed: 12)
    // A mean that is large beside the deviation: E[x²] - E[x]² would have no correct digit in single precision and few in double.
    for u in source.features.indices {
      for i in source.features[u].indices where i % 3 == 1 { source.features[u][i] += 100_000 }
    }
    let (moments, counts) = try moments(source, deltas: deltas, classes: 4)
    let width = 3 * (1 + deltas)
    let rows = try lengths.indices.flatMap { u in
      let values = try source.transformed(FeatureTransform(deltas: deltas, normalizer: .none), utterance: u)
      return stride(from: 0, to: values.count, by: width).map { values[$0..<$0 + width].map(Double.init) }
    }
    #expect(moments.count == rows.count && rows.count == lengths.reduce(0, +) && moments.mean.count == width)
    for f in 0..<width {
      let column = rows.map { $0[f] }
      let mean = column.reduce(0, +) / Double(column.count)
      let squares = column.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
      let largest = column.reduce(0) { max($0, abs($1)) }
      // Sums of 2,000 terms in double precision.
      let unit = 2000 * 0x1p-53
      #expect(abs(moments.mean[f] - mean) <= unit * largest, "feature \(f)")
      // A mean that is off by e adds n e².
      let shift = Double(column.count) * (unit * largest) * (unit * largest)
      #expect(abs(moments.squares[f] - squares) <= 4 * unit * squares + shift, "feature \(f)")
    }
    for label in 0..<4 { #expect(counts[label] == source.labels.joined().filter { $0 == label }.count) }
  }

  @Test func chunks() {
    for n in [1, 2, 255, 256, 257, 300, 511, 512, 1000, 40_000] {
      let chunks = FeatureSurvey(MemorySource(Array(repeating: [0], count: n)), deltas: 0, classes: 1).chunks
      #expect(chunks.count == min(n, 256))
      #expect(chunks.flatMap { Array($0) } == Array(0..<n))
      #expect(chunks.map(\.count).max()! - chunks.map(\.count).min()! <= 1)
    }
  }

  /// Chunks go round to 1, 2, 3 … readers, each in an order of its own, and travel as lists of numbers.
  @Test(arguments: [5, 300]) func bitsDoNotDependOnReaders(utterances: Int) throws {
    var random = TestRandom(seed: 21)
    let source = MemorySource(
      lengths: (0..<utterances).map { _ in Int.random(in: 1...9, using: &random) }, dimension: 2, classes: 3, seed: 22)
    let (whole, wholeCounts) = try moments(source, deltas: 2, classes: 3)
    for ranks in [1, 2, 3, 4, 8] {
      var gathered = Array(repeating: [Double](), count: min(utterances, 256)), counts = [0, 0, 0]
      for rank in 0..<ranks {
        let survey = FeatureSurvey(source, deltas: 2, classes: 3), reader = source.makeReader()
        for chunk in survey.chunks.indices.filter({ $0 % ranks == rank }).shuffled(using: &random) {
          gathered[chunk] = try survey.moments(ofChunk: chunk, reader, labelCounts: &counts).serialized
        }
      }
      let merged = FeatureSurvey.merge(gathered.map { FeatureMoments(serialized: $0[...]) })
      #expect(merged.count == whole.count && counts == wholeCounts)
      #expect(merged.mean.map(\.bitPattern) == whole.mean.map(\.bitPattern))
      #expect(merged.squares.map(\.bitPattern) == whole.squares.map(\.bitPattern))
    }
  }

  @Test func serialization() throws {
    let (moments, _) = try moments(MemorySource([[1, 0, 2, 0, 6, 0], [5, 4]], dimension: 2))
    #expect(moments.serialized == [4, 3.5, 1, 17, 12])
    #expect(FeatureMoments.serializedCount(width: 2) == 5)
    // A part of a longer list.
    #expect(FeatureMoments(serialized: ([9, 9] + moments.serialized + [9])[2..<7]) == moments)
  }

  @Test func mergeOfNothing() throws {
    let (some, _) = try moments(MemorySource([[1, 2, 4.5]])), none = FeatureMoments(width: 1)
    var left = none, right = some, empty = none
    left.merge(some)
    right.merge(none)
    empty.merge(none)
    #expect(left == some && right == some && empty == none)
    #expect(none.meanAndDeviation(deltas: 0) == ([0], [1]))
  }

  /// Any order of merging gives the same but for rounding.
  @Test func mergeIsAssociative() throws {
    var random = TestRandom(seed: 31)
    let parts = try (0..<20).map { _ in
      let values = (0..<Int.random(in: 1...30, using: &random)).map { _ in Float.random(in: 99..<101, using: &random) }
      return try moments(MemorySource([values])).0
    }
    var results: [FeatureMoments] = []
    for _ in 0..<10 {
      var rest = parts
      while rest.count > 1 {
        let taken = rest.remove(at: Int.random(in: rest.indices, using: &random))
        rest[Int.random(in: rest.indices, using: &random)].merge(taken)
      }
      results.append(rest[0])
    }
    for result in results {
      #expect(result.count == results[0].count)
      // 20 merges in double precision of means about 100 and deviations about 0.6.
      #expect(abs(result.mean[0] - results[0].mean[0]) <= 1e-13 * 100)
      #expect(abs(result.squares[0] - results[0].squares[0]) <= 1e-11 * results[0].squares[0])
    }
  }

  @Test(arguments: [-1, 3, Int32.min, .max]) func labelOutOfRange(label: Int32) throws {
    let source = MemorySource([[0, 0], [0, 0, 0]], labels: [[0, 2], [1, 1, label]])
    let survey = FeatureSurvey(source, deltas: 0, classes: 3), reader = source.makeReader()
    var counts = [0, 0, 0]
    _ = try survey.moments(ofChunk: 0, reader, labelCounts: &counts)
    #expect(throws: UtteranceError.labelOutOfRange(file: "labels.ark", key: "u1", frame: 2, label: Int(label), classes: 3)) {
      try survey.moments(ofChunk: 1, reader, labelCounts: &counts)
    }
    #expect(
      thrown { _ = try survey.moments(ofChunk: 1, reader, labelCounts: &counts) }
        == "labels.ark: \"u1\": the label of frame 2 (from 0) is \(label), expected 0 to 2 (data.classes is 3)")
  }

  @Test(arguments: [Float.infinity, .nan]) func notFinite(value: Float) throws {
    let source = MemorySource([[0, 0, 1, 1], [0, 1, 2, value]], dimension: 2)
    #expect(throws: UtteranceError.notFinite(file: "features.ark", key: "u1", feature: 1)) { try moments(source) }
  }
}

@Suite struct NormalizationTests {
  private static let some = MemorySource(lengths: [40], dimension: 3, classes: 1, seed: 41)

  @Test func none() throws {
    #expect(try Self.some.transformed(.identity) == Self.some.features[0])
  }

  /// After the deltas: each of the nine columns has a mean and a deviation.
  @Test func global() throws {
    let mean = (0..<9).map { Float($0) * 0.3 - 1 }, deviation = (0..<9).map { Float($0) * 0.7 + 0.1 }
    let plain = try Self.some.transformed(FeatureTransform(deltas: 2, normalizer: .none))
    let found = try Self.some.transformed(FeatureTransform(deltas: 2, normalizer: .global(mean: mean, deviation: deviation)))
    #expect(found == plain.enumerated().map { ($1 - mean[$0 % 9]) / deviation[$0 % 9] })
  }

  @Test func utterance() throws {
    let found = try Self.some.transformed(FeatureTransform(deltas: 2, normalizer: .utterance))
    let plain = try Self.some.transformed(FeatureTransform(deltas: 2, normalizer: .none))
    for f in 0..<9 {
      func column(_ values: [Float]) -> [Double] { (0..<40).map { Double(values[9 * $0 + f]) } }
      let before = column(plain), mean = before.reduce(0, +) / 40
      let deviation = (before.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 40).squareRoot()
      for (x, y) in zip(before, column(found)) {
        // Mean, deviation, difference and quotient are rounded to single precision; values are below 4, the mean is below the deviation.
        #expect(abs(y - (x - mean) / deviation) <= 0x1p-24 * 16, "feature \(f)")
      }
    }
  }

  @Test(arguments: [0, 1, 2]) func utteranceByItself(deltas: Int) throws {
    let source = MemorySource(lengths: [7, 30, 7], dimension: 2, classes: 1, seed: 43)
    let transform = FeatureTransform(deltas: deltas, normalizer: .utterance)
    var assembler = UtteranceAssembler(source, transform: transform, classes: 1)
    for u in 0..<3 { #expect(try assembler.batch([(0, u)]).features == source.transformed(transform, utterance: u)) }
  }

  /// A constant feature becomes 0, and so do its deltas; the others beside it are as they would be alone.
  @Test(arguments: [0, 1, -3.1, 16_777_215, 1e-20, 1e30, 3e38] as [Float]) func constantFeature(value: Float) throws {
    let other = MemorySource(lengths: [100], dimension: 1, classes: 1, seed: 44)
    let source = MemorySource([other.features[0].flatMap { [value, $0] }], dimension: 2)
    let (mean, deviation) = try scale(source), (otherMean, otherDeviation) = try scale(other)
    for (both, alone) in [
      (FeatureNormalizer.utterance, FeatureNormalizer.utterance),
      (.global(mean: mean, deviation: deviation), .global(mean: otherMean, deviation: otherDeviation)),
    ] {
      let found = try source.transformed(FeatureTransform(deltas: 2, normalizer: both))
      let expected = try other.transformed(FeatureTransform(deltas: 2, normalizer: alone))
      #expect(found.enumerated().allSatisfy { $1 == ($0 % 2 == 0 ? 0 : expected[$0 / 2]) })
    }
  }

  /// Mean and deviation of features and two orders of deltas.
  private func scale(_ source: MemorySource) throws -> ([Float], [Float]) {
    let survey = FeatureSurvey(source, deltas: 2, classes: 1)
    var counts = [0]
    let found = try survey.moments(ofChunk: 0, source.makeReader(), labelCounts: &counts).meanAndDeviation(deltas: 2)
    return (found.mean.map { Float($0) }, found.deviation.map { Float($0) })
  }

  /// What is constant but for the last bit of single precision is not blown up to a deviation of 1.
  @Test func roundingNoise() throws {
    let source = MemorySource([(0..<50).map { 1 + Float($0 % 2) * Float.ulpOfOne }])
    let found = try source.transformed(FeatureTransform(deltas: 0, normalizer: .utterance))
    #expect(found.allSatisfy { abs($0) <= Float.ulpOfOne })
  }

  /// A deviation that is small beside the mean, yet real, counts.
  @Test func smallDeviation() throws {
    let source = MemorySource([(0..<50).map { 1000 + Float($0 % 2) / 16 }])
    let found = try source.transformed(FeatureTransform(deltas: 0, normalizer: .utterance))
    #expect(found == (0..<50).map { $0 % 2 == 0 ? -1 : 1 })
  }

  /// One frame of 1,600 that differs in the fifth digit is not blown up, nor are its differences: data in which the feature lives keep their size.
  @Test(arguments: [0, 2]) func almostConstant(deltas: Int) throws {
    func rows(_ frames: Int, _ second: (Int) -> Float) -> [Float] {
      var values: [Float] = []
      for t in 0..<frames { values += [Float(t % 7), second(t)] }
      return values
    }
    let source = MemorySource([rows(1600) { $0 == 3 ? -15.939 : -15.94 }], dimension: 2)
    var counts = [0]
    let survey = FeatureSurvey(source, deltas: deltas, classes: 1)
    let moments = try survey.moments(ofChunk: 0, source.makeReader(), labelCounts: &counts), scale = moments.meanAndDeviation(deltas: deltas)
    #expect(moments.constantFeatures(deltas: deltas) == [1])
    for column in scale.deviation.indices { #expect((scale.deviation[column] == 1) == (column % 2 == 1)) }
    let live = MemorySource([rows(40) { -15.94 + Float($0 % 5) / 4 }], dimension: 2)
    let normalizer = FeatureNormalizer.global(mean: scale.mean.map { Float($0) }, deviation: scale.deviation.map { Float($0) })
    #expect(try live.transformed(FeatureTransform(deltas: deltas, normalizer: normalizer)).allSatisfy { abs($0) < 3 })
  }

  @Test func oneFrame() throws {
    let transform = FeatureTransform(deltas: 2, normalizer: .utterance)
    #expect(try MemorySource([[3, -4]], dimension: 2).transformed(transform) == Array(repeating: 0, count: 6))
  }

  @Test func mistakes() async {
    await #expect(processExitsWith: .failure) {
      let one: [Float] = [1]
      let transform = FeatureTransform(deltas: 0, normalizer: .global(mean: one, deviation: one))
      _ = try MemorySource([[3, -4]], dimension: 2).transformed(transform)
    }
  }
}
