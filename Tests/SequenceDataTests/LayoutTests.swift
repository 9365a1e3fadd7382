import Testing
import SequenceData

@Suite struct StreamLayoutTests {
  @Test func handComputedWindows() throws {
    // 15 tokens: 2 streams of 7, one token dropped; 3 steps: 2 windows.
    let layout = try StreamLayout(tokens: 15, batch: 2, unroll: 3, file: "f")
    #expect(layout.streamLength == 7)
    #expect(layout.windowsPerEpoch == 2)
    let streams = TokenStreams(layout: layout, streams: 0..<2, tokens: Array(0..<14))
    var inputs = [Int32](repeating: -7, count: 6)
    var targets = inputs
    streams.fill(window: 0, streams: 0..<2, inputs: &inputs, targets: &targets)
    #expect(inputs == [0, 7, 1, 8, 2, 9])
    #expect(targets == [1, 8, 2, 9, 3, 10])
    streams.fill(window: 1, streams: 0..<2, inputs: &inputs, targets: &targets)
    #expect(inputs == [3, 10, 4, 11, 5, 12])
    #expect(targets == [4, 11, 5, 12, 6, 13])
  }

  @Test func theShortestTextThatFits() throws {
    #expect(try StreamLayout(tokens: 40, batch: 4, unroll: 9, file: "f").windowsPerEpoch == 1)
    #expect(throws: CorpusError.tooShortForTraining(file: "f", tokens: 39, batch: 4, unroll: 9)) {
      try StreamLayout(tokens: 39, batch: 4, unroll: 9, file: "f")
    }
  }

  /// The largest sizes that the message offers do fit, and the next ones do not.
  @Test func adviceIsExact() throws {
    for tokens in 2..<60 {
      for batch in 1..<9 {
        for unroll in 1..<9 where tokens / batch <= unroll {
          let largestBatch = tokens / (unroll + 1)
          if largestBatch >= 1 {
            #expect(throws: Never.self) { try StreamLayout(tokens: tokens, batch: largestBatch, unroll: unroll, file: "f") }
          }
          #expect(throws: CorpusError.self) {
            try StreamLayout(tokens: tokens, batch: largestBatch + 1, unroll: unroll, file: "f")
          }
          let largestUnroll = tokens / batch - 1
          if largestUnroll >= 1 {
            #expect(throws: Never.self) { try StreamLayout(tokens: tokens, batch: batch, unroll: largestUnroll, file: "f") }
          }
          #expect(throws: CorpusError.self) {
            try StreamLayout(tokens: tokens, batch: batch, unroll: max(largestUnroll, 0) + 1, file: "f")
          }
        }
      }
    }
  }

  @Test func shardsOwnConsecutiveStreams() throws {
    let layout = try StreamLayout(tokens: 1000, batch: 12, unroll: 5, file: "f")
    for shards in [1, 2, 3, 4, 6, 12] {
      let owned = (0..<shards).map { layout.streams(ofShard: $0, of: shards) }
      #expect(owned.flatMap { Array($0) } == Array(0..<12))
      #expect(owned.allSatisfy { $0.count == 12 / shards })
    }
  }

  /// Whatever part of the streams a rank holds and asks for, against the definition.
  @Test func windowsFollowTheDefinition() throws {
    var random = TestRandom(seed: 5)
    for _ in 0..<200 {
      let B = Int.random(in: 1...9, using: &random)
      let T = Int.random(in: 1...7, using: &random)
      let N = Int.random(in: B * (T + 1)...B * (T + 1) * 4, using: &random)
      let tokens = (0..<N).map { _ in Int32.random(in: 0..<1000, using: &random) }
      let layout = try StreamLayout(tokens: N, batch: B, unroll: T, file: "f")
      let L = N / B
      let held = Int.random(in: 0..<B, using: &random)..<B
      let streams = TokenStreams(layout: layout, streams: held, tokens: Array(tokens[held.lowerBound * L..<B * L]))
      let wanted = Int.random(in: held, using: &random)..<B
      #expect(layout.windowsPerEpoch == (L - 1) / T)
      for window in 0..<layout.windowsPerEpoch {
        var inputs = [Int32](repeating: -9, count: T * wanted.count + 2)
        var targets = inputs
        streams.fill(window: window, streams: wanted, inputs: &inputs, targets: &targets)
        var expectedInputs: [Int32] = []
        var expectedTargets: [Int32] = []
        for t in 0..<T {
          for b in wanted {
            let stream = tokens[b * L..<(b + 1) * L]
            expectedInputs.append(stream[stream.startIndex + window * T + t])
            expectedTargets.append(stream[stream.startIndex + window * T + t + 1])
          }
        }
        #expect(inputs == expectedInputs + [-9, -9])
        #expect(targets == expectedTargets + [-9, -9])
      }
    }
  }

  @Test func ranksTogetherHoldWhatOneHolds() throws {
    let path = repositoryFile("Configs/data/kjv.valid.txt")
    let file = TextFile(path: path, unit: .word)
    let (vocabulary, statistics, _) = try file.buildVocabulary(size: 500)
    let layout = try StreamLayout(tokens: statistics.tokens, batch: 8, unroll: 20, file: path)
    let whole = try TokenStreams(reading: file, vocabulary: vocabulary, layout: layout, streams: 0..<8)
    var inputs = [Int32](repeating: 0, count: 160)
    var targets = inputs
    whole.fill(window: 3, streams: 0..<8, inputs: &inputs, targets: &targets)
    for shard in 0..<4 {
      let streams = layout.streams(ofShard: shard, of: 4)
      let part = try TokenStreams(reading: file, vocabulary: vocabulary, layout: layout, streams: streams)
      var partInputs = [Int32](repeating: 0, count: 40)
      var partTargets = partInputs
      part.fill(window: 3, streams: streams, inputs: &partInputs, targets: &partTargets)
      for t in 0..<20 {
        #expect(Array(partInputs[t * 2..<t * 2 + 2]) == streams.map { inputs[t * 8 + $0] })
        #expect(Array(partTargets[t * 2..<t * 2 + 2]) == streams.map { targets[t * 8 + $0] })
      }
    }
  }
}

@Suite struct EvaluationLayoutTests {
  @Test func handComputedWindows() throws {
    // 9 tokens, 8 predictions in 3 runs of 3, 3 and 2; windows of 2 steps and of 1.
    let layout = try EvaluationLayout(tokens: 9, runs: 3, unroll: 2, file: "f")
    #expect((0..<3).map { layout.positions(ofRun: $0) } == [1..<4, 4..<7, 7..<9])
    #expect(layout.windows == 2)
    #expect((0..<2).map { layout.steps(inWindow: $0) } == [2, 1])
    #expect((0..<2).map { layout.predictions(inWindow: $0, runs: 0..<3) } == [6, 2])
    #expect((0..<2).map { layout.lengths(inWindow: $0, runs: 0..<3).reduce(0, +) } == [6, 2])
    let runs = EvaluationRuns(layout: layout, runs: 0..<3, tokens: Array(10..<19))
    var inputs = [Int32](repeating: -7, count: 6)
    var targets = inputs
    runs.fill(window: 0, runs: 0..<3, inputs: &inputs, targets: &targets)
    #expect(inputs == [10, 13, 16, 11, 14, 17])
    #expect(targets == [11, 14, 17, 12, 15, 18])
    runs.fill(window: 1, runs: 0..<3, inputs: &inputs, targets: &targets)
    #expect(inputs == [12, 15, 0, 11, 14, 17])
    #expect(targets == [13, 16, -1, 12, 15, 18])
  }

  /// Every token but the first is a target exactly once, after the token before it, in the order of its run, and
  /// for every way of sharing the runs among ranks.
  @Test func everyTokenButTheFirstIsPredictedOnce() throws {
    for N in [2, 3, 4, 5, 7, 16, 17, 30, 31, 61] {
      // Every token is its own position.
      let tokens = (0..<Int32(N)).map { $0 }
      for E in [1, 2, 3, 4, 7, 8, 16, 40] {
        for T in [1, 2, 3, 5, 8, 70] {
          let layout = try EvaluationLayout(tokens: N, runs: E, unroll: T, file: "f")
          let lengths = (0..<E).map { layout.positions(ofRun: $0).count }
          #expect(lengths.reduce(0, +) == N - 1)
          #expect(lengths.first! - lengths.last! <= 1)
          #expect(lengths == lengths.sorted(by: >))
          #expect(layout.longestRun == lengths[0])
          for ranks in [1, 2, 3] {
            let seen = try predicted(layout, tokens: tokens, ranks: ranks)
            #expect(seen == [0] + [Int](repeating: 1, count: N - 1), "N \(N), E \(E), T \(T), \(ranks) ranks")
          }
        }
      }
    }
  }

  /// How often each position is predicted.
  private func predicted(_ layout: EvaluationLayout, tokens: [Int32], ranks: Int) throws -> [Int] {
    var seen = [Int](repeating: 0, count: layout.tokens)
    var isConsistent = true  // one expectation for the many comparisons inside the loops
    for rank in 0..<ranks {
      let held = rank * layout.runs / ranks..<(rank + 1) * layout.runs / ranks
      let runs = EvaluationRuns(layout: layout, runs: held, tokens: Array(tokens[layout.heldPositions(ofRuns: held)]))
      var steps = 0
      for window in 0..<layout.windows {
        var inputs = [Int32](repeating: -9, count: layout.unroll * held.count)
        var targets = inputs
        runs.fill(window: window, runs: held, inputs: &inputs, targets: &targets)
        var predictions = 0
        for t in 0..<layout.steps(inWindow: window) {
          for (column, run) in held.enumerated() {
            let target = Int(targets[t * held.count + column])
            let isInside = window * layout.unroll + t < layout.positions(ofRun: run).count
            isConsistent = isConsistent && (target >= 0) == isInside
            guard target >= 0 else { continue }
            isConsistent = isConsistent && Int(inputs[t * held.count + column]) == target - 1
            isConsistent =
              isConsistent && target == layout.positions(ofRun: run).lowerBound + window * layout.unroll + t
            seen[target] += 1
            predictions += 1
          }
        }
        isConsistent = isConsistent && predictions == layout.predictions(inWindow: window, runs: held)
        steps += layout.steps(inWindow: window)
      }
      #expect(steps == layout.longestRun)
    }
    #expect(isConsistent, "\(layout), \(ranks) ranks")
    return seen
  }

  @Test func readsItsRunsFromAFile() throws {
    let path = repositoryFile("Configs/data/kjv.test.txt")
    let file = TextFile(path: path, unit: .character)
    let (vocabulary, statistics, _) = try file.buildVocabulary(size: 100)
    let all = try file.readTokens(in: [0..<statistics.tokens], vocabulary: vocabulary, expectedTokens: statistics.tokens)
    let layout = try EvaluationLayout(tokens: statistics.tokens, runs: 5, unroll: 50, file: path)
    let part = try EvaluationRuns(reading: file, vocabulary: vocabulary, layout: layout, runs: 2..<4)
    var inputs = [Int32](repeating: 0, count: 50)
    var targets = inputs
    part.fill(window: 1, runs: 3..<4, inputs: &inputs, targets: &targets)
    let first = layout.positions(ofRun: 3).lowerBound + 50
    #expect(targets == Array(all[first..<first + 50]))
    #expect(inputs == Array(all[first - 1..<first + 49]))
  }
}
