import NeuralNetwork
import Tensors
import Testing

/// One target a sequence: the output layer reads the last step of every direction.
@Suite struct SequenceEndTests {
  static let cases = MaskTests.cases
  static let lengths = MaskTests.lengths

  private func configuration(_ c: MaskTests.Case, steps: Int = 6) -> NetworkConfiguration {
    var configuration = c.configuration(steps: steps)
    configuration.outputRows = .sequenceEnds
    return configuration
  }

  private func minibatch(_ trial: Trial, seed: UInt64) -> Minibatch { Minibatch(vocabulary: 9, trial.packed, width: 5, seed: seed) }

  @Test(arguments: cases)
  func gradientIsTheDerivativeOfTheTotalLoss(_ c: MaskTests.Case) throws {
    let trial = Trial(configuration(c), scope: c.variant.scope, lengths: Self.lengths)
    let (loss, gradient, sink) = try trial.gradient(of: minibatch(trial, seed: 5), gradientScale: 0.125)
    #expect(abs(loss - (try trial.loss())) <= 1e-12 * loss)
    let compared = try trial.expectGradient(gradient, scale: 0.125, name: c.testDescription)
    #expect(compared > 40)
    let order = ["output"] + (0..<c.variant.layers).reversed().map { "layer(\($0))" }
    #expect(sink.events == order.flatMap { g in Self.lengths.indices.flatMap { ["begin \(g) \($0)", "end \(g) \($0)"] } })
  }

  @Test(arguments: cases)
  func trainingMatchesThePlainNetwork(_ c: MaskTests.Case) throws {
    let trial = Trial(configuration(c), scope: c.variant.scope, lengths: Self.lengths), batch = minibatch(trial, seed: 6)
    trial.load(batch, tokens: [])
    let expected = trial.run(batch, .batch(groups: trial.groups.groups, fallback: trial.statistics(\.running)))
    try trial.forward()
    trial.expectForward(batch, expected, c.testDescription)
  }

  @Test(arguments: cases)
  func evaluationMatchesThePlainNetwork(_ c: MaskTests.Case) throws {
    let trial = Trial(configuration(c), scope: c.variant.scope, lengths: Self.lengths, training: false)
    trial.model.useRunningStatistics()
    trial.model.prepareEvaluation()
    trial.mode = .evaluation
    let batch = minibatch(trial, seed: 7)
    trial.load(batch, tokens: [])
    let expected = trial.run(batch, .fixed(trial.statistics(\.running)))
    try trial.forward()
    trial.expectForward(batch, expected, c.testDescription)
    // Posteriors are those of the losses: one row a sequence.
    for (i, found) in trial.model.evaluateLoss(trial.workspace, trial.pass).enumerated() {
      var sum = 0.0
      for (b, target) in batch.targets[i].enumerated() {
        let row = MatrixView<Double>(zeros: 1, 9)
        trial.model.logPosteriors(trial.workspace, shard: i, sequence: b, into: row)
        sum -= row[0, Int(target)]
      }
      #expect(abs(sum - found.loss) <= 1e-12 * (1 + sum))
    }
  }

  /// What an earlier, larger minibatch left in the buffers changes nothing.
  @Test(arguments: cases.filter { $0.variant.scope == .global })
  func buffersAreUsedAgain(_ c: MaskTests.Case) throws {
    try Trial.expectBuffersUsedAgain(configuration(c), minibatch)
  }

  /// Of sequences of one frame both ends are the frame: the output layer reads what it reads of every frame.
  @Test(arguments: cases.filter { $0.variant.scope == .global })
  func singleFrames(_ c: MaskTests.Case) throws {
    let lengths = [[1, 1, 1], [1, 1]], ends = Trial(configuration(c), scope: .global, lengths: lengths)
    let frames = Trial(c.configuration(steps: 6), scope: .global, lengths: lengths), batch = minibatch(ends, seed: 10)
    let a = try ends.gradient(of: batch, gradientScale: 0.5), b = try frames.gradient(of: batch, gradientScale: 0.5)
    #expect(a.loss == b.loss && a.gradient == b.gradient)
  }

  @Test func lastRows() {
    let packed = PackedSequences(lengths: [4, 2, 2, 1])
    #expect((0..<4).map { packed.lastRow($0) } == [8, 5, 6, 3])
    #expect(OutputRows.frames.count(length: 7) == 7 && OutputRows.sequenceEnds.count(length: 7) == 1)
  }
}
