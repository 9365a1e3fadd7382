import NeuralNetwork
import Testing
import Training

/// Predictions against figures worked out by hand; all numbers are exact in binary.
@Suite struct ScalingModelTests {
  static let step = ScalingModel.Step(
    computation: 100, fixed: 20, denseBytes: 30, rowBytes: 2, rows: 5, allRows: 12, messages: 2, statistics: [(bytes: 10, count: 3)],
    valueBytes: 8, tokenBytes: 8)
  static let link = ScalingModel.Link(bytesPerSecond: 4, latency: 1)

  func model(sharesMemory: Bool = true, ranksPerNode: Int = 2) -> ScalingModel {
    let costs = ScalingModel.Costs(
      ranks: 2, reduction: LinearCost(latency: 10, secondsPerByte: 1), sharesMemory: sharesMemory,
      wholeStatistics: LinearCost(latency: 4, secondsPerByte: 2), chunkedStatistics: LinearCost(latency: 6, secondsPerByte: 3),
      smallMessage: 100, values: LinearCost(latency: 1, secondsPerByte: 0.5))
    return ScalingModel(costs: costs, step: Self.step, ranksPerNode: ranksPerNode)
  }

  /// On the ranks that were measured the costs are those measured.
  @Test func measuredRanks() {
    for growth in [ScalingModel.Growth.weak, .strong] {
      let p = model().predict(ranks: 2, Self.link, growth)
      // 30 + 5 · 2 bytes in two messages; records of 10 bytes; 8 bytes of values and of tokens.
      #expect(p.nodes == 1 && p.computation == 100 && p.reduction == 2 * (10 + 20))
      #expect(p.statistics == 3 * (4 + 20) && p.values == 2 * (1 + 4))
      #expect(p.serial == 242 && p.overlapped == 182)
    }
    let weak = model().predict(ranks: 2, Self.link, .weak), strong = model().predict(ranks: 2, Self.link, .strong)
    #expect(weak.efficiency == 100.0 / 242...100.0 / 182)
    // One rank would take 20 + 2 · 80.
    #expect(strong.efficiency == 90.0 / 242...90.0 / 182)
  }

  @Test func weakScaling() {
    let p = model().predict(ranks: 8, Self.link, .weak)
    // 16 tokens are more than the 12 of the vocabulary: all rows, 54 bytes, and no exchange of tokens. A node sends 27 · 3/4 bytes to 3
    // others, twice.
    #expect(p.nodes == 4 && p.computation == 100 && p.reduction == 2 * (10 + 27 + 2 * (3 + 5.0625)))
    // 7 records where there was 1, 60 bytes over the link.
    #expect(p.statistics == 3 * (4 + 7 * 20 + 3 + 15) && p.values == 1 + 7 * 4 + 3 + 12)
    #expect(p.serial == 736.25 && p.overlapped == 636.25)
    // Records of 160 bytes in all go in chunks: 15/16 of one come from others, where it was 1/2, and two ranks send 20 · 7/8 bytes, twice.
    #expect(model().predict(ranks: 16, Self.link, .weak).statistics == 3 * (6 + 1.875 * 30 + 2 * (7 + 4.375)))
  }

  @Test func strongScaling() {
    let p = model().predict(ranks: 8, Self.link, .strong)
    // A quarter of the rows for each rank; 4 tokens in all touch 5 rows at most.
    #expect(p.computation == 40 && p.reduction == 2 * (10 + 20 + 2 * (3 + 3.75)) && p.statistics == 486 && p.values == 2 * (1 + 7 + 3 + 3))
    #expect(p.efficiency.lowerBound == 22.5 / p.serial)
  }

  @Test func messagesAlone() {
    // Both ranks of a node send their vectors, and 7/8 of each vector come from others.
    let p = model(sharesMemory: false).predict(ranks: 8, Self.link, .weak)
    #expect(p.reduction == 2 * (10 + 1.75 * 27 + 2 * (3 + 10.125)))
  }

  @Test func oneRankANode() {
    // Nothing is added on a node: 20 · 1/2 bytes to one other, twice, in two messages.
    let p = model(ranksPerNode: 1).predict(ranks: 2, Self.link, .weak)
    #expect(p.nodes == 2 && p.reduction == 2 * 2 * (1 + 2.5))
    #expect(model(ranksPerNode: 1).predict(ranks: 1, Self.link, .weak).serial == 100)
  }

  /// Of two layers with 8 gates: mean and M2 of 4 bytes are records of 64.
  @Test func exchangesOfStatistics() {
    var network = StepWorkTests.languageModel
    func exchanges(spans: Bool, isGlobal: Bool) -> [[Double]] {
      ScalingModel.Step.statistics(network, groupsSpanRanks: spans, isGlobal: isGlobal, steps: 4).map { [$0.bytes, $0.count] }
    }
    #expect(exchanges(spans: true, isGlobal: true) == [[256, 4]])
    // Running averages of both layers travel together.
    #expect(exchanges(spans: false, isGlobal: false) == [[512, 1]])
    #expect(exchanges(spans: true, isGlobal: false) == [[256, 4], [512, 1]])
    network.normalization.statistics = .sequence
    #expect(exchanges(spans: true, isGlobal: true) == [[64, 4]])
    network.normalization.statistics = .frame
    network.normalization.placement = .preactivation
    #expect(exchanges(spans: true, isGlobal: true) == [[64, 16]])
    network.normalization.placement = .none
    #expect(exchanges(spans: true, isGlobal: true).isEmpty)
  }
}
