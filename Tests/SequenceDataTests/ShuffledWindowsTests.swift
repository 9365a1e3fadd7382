import SequenceData
import Testing

@Suite struct ShuffledWindowsTests {
  /// The draws of a second implementation, written from the documentation of `ShuffledLayout` and `RandomStream` alone: the first token of each
  /// sequence.
  @Test(arguments: [
    (0, [26, 18, 14, 2, 6, 10, 38, 30, 22]), (1, [35, 11, 3, 27, 15, 31, 7, 43, 39]),
    (2, [9, 1, 33, 5, 21, 29, 37, 13, 41, 25, 45, 17]), (12, [44, 40, 24, 28, 12, 4, 0, 32, 8, 20, 16, 36]),
  ])
  func knownAnswers(epoch: Int, starts: [Int]) throws {
    let layout = try ShuffledLayout(tokens: 50, batch: 3, unroll: 4, seed: 7, file: "f")
    #expect(layout.starts(epoch: epoch) == starts)
    #expect(layout.minibatches(epoch: epoch) == starts.count / 3)
    #expect(layout.fewestMinibatches == 3 && layout.mostMinibatches == 4)
  }

  @Test func allBitsOfTheSeedCount() throws {
    let layout = try ShuffledLayout(tokens: 41, batch: 2, unroll: 5, seed: 1 << 40 + 5, file: "f")
    #expect(layout.starts(epoch: 12) == [31, 16, 11, 26, 6, 21])
  }

  /// Pieces of an epoch follow each other at one offset, each of the used ones comes once, and what is read and predicted is the text's.
  @Test func epochsFollowTheDefinition() throws {
    var random = TestRandom(seed: 9)
    for _ in 0..<100 {
      let B = Int.random(in: 1...6, using: &random), T = Int.random(in: 1...7, using: &random)
      let N = Int.random(in: T * (B + 1)...T * (B + 1) * 5, using: &random), seed = UInt64.random(in: 0...UInt64.max, using: &random)
      let tokens = (0..<N).map { _ in Int32.random(in: 0..<1000, using: &random) }
      let layout = try ShuffledLayout(tokens: N, batch: B, unroll: T, seed: seed, file: "f")
      var windows = ShuffledWindows(layout: layout, tokens: tokens), orders: Set<[Int]> = []
      for epoch in 0..<6 {
        let starts = layout.starts(epoch: epoch), offset = (starts.min() ?? 0) % T, count = (N - 1 - offset) / T / B
        orders.insert(starts)
        #expect(starts.count == count * B && count >= 1)
        #expect(windows.minibatches(epoch: epoch) == count)
        #expect((layout.fewestMinibatches...layout.mostMinibatches).contains(count))
        #expect(Set(starts).count == starts.count)
        #expect(starts.allSatisfy { $0 % T == offset && $0 >= offset && $0 + T < N })
        windows.begin(epoch: epoch)
        #expect(windows.minibatches(epoch: epoch) == count)
        // Whatever sequences are asked for together.
        let first = Int.random(in: 0..<B, using: &random), wanted = first..<B
        for minibatch in 0..<count {
          var inputs = [Int32](repeating: -9, count: T * wanted.count + 2), targets = inputs
          var inputSpan = inputs.mutableSpan, targetSpan = targets.mutableSpan
          windows.fill(minibatch: minibatch, sequences: wanted, inputs: &inputSpan, targets: &targetSpan)
          let places = (0..<T).flatMap { t in wanted.map { starts[minibatch * B + $0] + t } }
          #expect(inputs == places.map { tokens[$0] } + [-9, -9])
          #expect(targets == places.map { tokens[$0 + 1] } + [-9, -9])
        }
      }
      if N > 8 * T && B == 1 { #expect(orders.count > 1) }
    }
  }

  /// Every offset, and every place of a piece, comes up about equally often.
  @Test func drawsAreUniform() throws {
    let layout = try ShuffledLayout(tokens: 21, batch: 1, unroll: 4, seed: 3, file: "f"), epochs = 4000
    var offsets = [Int](repeating: 0, count: 4), firsts = [Int](repeating: 0, count: 5), whole = 0
    for epoch in 1...epochs {
      let starts = layout.starts(epoch: epoch)
      offsets[(starts.min() ?? 0) % 4] += 1
      if starts.count == 5 {
        whole += 1
        firsts[starts[0] / 4] += 1
      }
    }
    // Five standard deviations.
    #expect(offsets.allSatisfy { abs($0 - epochs / 4) < 5 * 28 }, "\(offsets)")
    #expect(firsts.allSatisfy { abs($0 - whole / 5) < 5 * 13 }, "\(firsts)")
  }

  @Test func theShortestTextThatFits() throws {
    #expect(try ShuffledLayout(tokens: 20, batch: 4, unroll: 4, seed: 1, file: "f").fewestMinibatches == 1)
    let error = #expect(throws: CorpusError.self) { try ShuffledLayout(tokens: 19, batch: 4, unroll: 4, seed: 1, file: "f") }
    #expect(
      error?.description
        == "f: 19 tokens are too few for shuffled windows of 4 unrolled steps with batch size 4, which take at least 4 × 5 = 20")
  }
}
