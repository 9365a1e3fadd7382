import NeuralNetwork
import Tensors
import Testing

extension Trial {
  /// A minibatch after a larger one has the loss and gradient of one in a new workspace.
  static func expectBuffersUsedAgain(
    _ configuration: NetworkConfiguration, _ minibatch: (_ trial: Trial, _ seed: UInt64) -> Minibatch
  ) throws {
    let fresh = Trial(configuration, scope: .global, lengths: [[3, 2], [2]]), used = Trial(configuration, scope: .global, lengths: [[6, 5], [6]])
    _ = try used.gradient(of: minibatch(used, 8), gradientScale: 1)
    let batch = minibatch(fresh, 9), wanted = try fresh.gradient(of: batch, gradientScale: 0.5)
    used.restoreRunning()
    used.workspace.begin(fresh.packed, examples: zip(fresh.firstExamples, fresh.packed).map { first, p in (0..<p.count).map { first + $0 } })
    used.workspace.resetState()
    used.load(batch, tokens: [])
    try used.model.forward(used.workspace, fresh.pass, globalReducer: used.globalReducer)
    let sink = SummingSink(used.model.layout, embeddingSize: 0, embeddingRows: 0)
    let losses = try used.model.backward(used.workspace, fresh.pass, gradientScale: 0.5, sink: sink)
    #expect(losses.reduce(0) { $0 + $1.loss } == wanted.loss)
    #expect(sink.gradient(tokens: []) == wanted.gradient)
  }
}

/// Sequences of different lengths, in one direction and in two, over features and over tokens.
@Suite struct MaskTests {
  struct Case: CustomTestStringConvertible, Sendable {
    var variant: Variant
    var bidirectional: Bool
    var testDescription: String { "\(variant.testDescription) bidirectional=\(bidirectional)" }

    /// V = 9 classes, I ≠ H ≠ 2H.
    func configuration(steps: Int) -> NetworkConfiguration {
      var c = variant.configuration(steps: steps)
      c.input = .features(5)
      c.isBidirectional = bidirectional
      return c
    }
  }

  static let cases = Variant.all.flatMap { variant in [true, false].map { Case(variant: variant, bidirectional: $0) } }
  /// A shard with ties, one with a single frame, one with none, one whose longest sequence is the longest of all.
  static let lengths = [[4, 4, 2], [1], [], [6, 3, 1, 1]]

  private func minibatch(_ trial: Trial, seed: UInt64) -> Minibatch {
    Minibatch(vocabulary: 9, frames: trial.packed.map(\.frames), width: 5, seed: seed)
  }

  @Test(arguments: cases)
  func gradientIsTheDerivativeOfTheTotalLoss(_ c: Case) throws {
    let trial = Trial(c.configuration(steps: 6), scope: c.variant.scope, lengths: Self.lengths)
    let (loss, gradient, sink) = try trial.gradient(of: minibatch(trial, seed: 5), gradientScale: 0.125)
    #expect(abs(loss - (try trial.loss())) <= 1e-12 * loss)
    let compared = try trial.expectGradient(gradient, scale: 0.125, name: c.testDescription)
    #expect(compared > 40)
    let order = ["output"] + (0..<c.variant.layers).reversed().map { "layer(\($0))" }
    #expect(sink.events == order.flatMap { g in Self.lengths.indices.flatMap { ["begin \(g) \($0)", "end \(g) \($0)"] } })
  }

  @Test(arguments: cases)
  func trainingMatchesThePlainNetwork(_ c: Case) throws {
    let trial = Trial(c.configuration(steps: 6), scope: c.variant.scope, lengths: Self.lengths)
    let batch = minibatch(trial, seed: 6)
    trial.load(batch, tokens: [])
    let expected = trial.run(batch, .batch(groups: trial.groups.groups, fallback: trial.statistics(\.running)))
    try trial.forward()
    trial.expectForward(batch, expected, c.testDescription)
  }

  @Test(arguments: cases)
  func evaluationMatchesThePlainNetwork(_ c: Case) throws {
    // Six steps where four slots exist and three were seen: later steps take the third's.
    let trial = Trial(c.configuration(steps: 4), scope: c.variant.scope, lengths: Self.lengths, training: false)
    for n in trial.model.normalizations where n.running.mean.rows > 1 { n.running.markSeen(slots: 3) }
    trial.model.useRunningStatistics()
    trial.model.prepareEvaluation()
    trial.mode = .evaluation
    let batch = minibatch(trial, seed: 7)
    trial.load(batch, tokens: [])
    let expected = trial.run(batch, .fixed(trial.statistics(\.running)))
    try trial.forward()
    #expect(trial.reducer.calls == 0)
    trial.expectForward(batch, expected, c.testDescription)
  }

  /// What an earlier, larger minibatch left in the buffers changes nothing.
  @Test(arguments: cases.filter { $0.variant.scope == .global })
  func buffersAreUsedAgain(_ c: Case) throws {
    try Trial.expectBuffersUsedAgain(c.configuration(steps: 6), minibatch)
  }

  /// Without normalisation a minibatch is its sequences one by one, in loss and gradient.
  @Test(arguments: cases.filter { $0.variant.placement == .none && $0.variant.scope == .global && $0.variant.dropout == 0 })
  func aBatchIsItsSequences(_ c: Case) throws {
    let lengths = [6, 4, 4, 1], whole = Trial(c.configuration(steps: 6), scope: .global, lengths: [lengths])
    let batch = minibatch(whole, seed: 10), wanted = try whole.gradient(of: batch, gradientScale: 1)
    var loss = 0.0, gradient = [Double](repeating: 0, count: wanted.gradient.count)
    for (b, length) in lengths.enumerated() {
      let alone = Trial(c.configuration(steps: 6), scope: .global, lengths: [[length]])
      let rows = (0..<length).map { whole.packed[0].rows($0).lowerBound + b }
      var part = batch
      part.features = [rows.flatMap { batch.features[0][$0 * 5..<($0 + 1) * 5] }]
      part.targets = [rows.map { batch.targets[0][$0] }]
      part.inputs = [rows.map { batch.inputs[0][$0] }]
      let result = try alone.gradient(of: part, gradientScale: 1)
      loss += result.loss
      for i in gradient.indices { gradient[i] += result.gradient[i] }
    }
    #expect(abs(loss - wanted.loss) <= 1e-12 * loss && loss > 1)
    // The same terms in another order of addition.
    for i in gradient.indices { #expect(abs(gradient[i] - wanted.gradient[i]) <= 1e-12 * (1 + abs(gradient[i]))) }
  }

  /// In evaluation of sequences that may be long, layers have the same memory.
  @Test(arguments: [true, false]) func memoryOfEvaluation(bidirectional: Bool) {
    func bytes(layers: Int) -> Int {
      var c = Self.cases[0].configuration(steps: 6)
      c.layers = layers
      c.isBidirectional = bidirectional
      let model = SequenceModel<Double>(c), capacity = WorkspaceCapacity(sequences: [2], frames: [4000], steps: 2000)
      return MemoryPlan.bytes { _ = ModelWorkspace(model, capacity, training: false) }
    }
    #expect(bytes(layers: 2) > 4000 * 8 * 10 && bytes(layers: 8) <= bytes(layers: 2) + 1000)
  }

  /// A sequence's outputs in evaluation do not depend on its neighbours, whatever is normalised.
  @Test(arguments: cases.filter { $0.variant.scope == .global })
  func evaluationDoesNotDependOnNeighbours(_ c: Case) throws {
    let lengths = [6, 4, 4, 1], whole = Trial(c.configuration(steps: 6), scope: .global, lengths: [lengths], training: false)
    whole.mode = .evaluation
    whole.model.useRunningStatistics()
    whole.model.prepareEvaluation()
    let batch = minibatch(whole, seed: 11)
    whole.load(batch, tokens: [])
    try whole.forward()
    let losses = whole.model.evaluateLoss(whole.workspace, whole.pass)
    var sum = 0.0
    for (b, length) in lengths.enumerated() {
      let alone = Trial(c.configuration(steps: 6), scope: .global, lengths: [[length]], training: false)
      alone.mode = .evaluation
      for (n, w) in zip(alone.model.normalizations, whole.model.normalizations) { n.evaluation.copy(from: w.running) }
      alone.model.prepareEvaluation()
      let rows = (0..<length).map { whole.packed[0].rows($0).lowerBound + b }
      var part = batch
      part.features = [rows.flatMap { batch.features[0][$0 * 5..<($0 + 1) * 5] }]
      (part.targets, part.inputs) = ([rows.map { batch.targets[0][$0] }], [rows.map { batch.inputs[0][$0] }])
      alone.load(part, tokens: [])
      try alone.forward()
      let together = MatrixView<Double>(zeros: length, 9), apart = MatrixView<Double>(zeros: length, 9)
      whole.model.logPosteriors(whole.workspace, shard: 0, sequence: b, into: together)
      alone.model.logPosteriors(alone.workspace, shard: 0, sequence: 0, into: apart)
      // Double precision; a product may add in another order for another number of rows.
      for (x, y) in zip(together.vector.array, apart.vector.array) { #expect(abs(x - y) <= 1e-12 * (1 + abs(y))) }
      for (t, target) in part.targets[0].enumerated() where target >= 0 { sum -= together[t, Int(target)] }
    }
    #expect(abs(sum - losses[0].loss) <= 1e-12 * sum && sum > 1)
  }

  /// Population and running statistics over unequal shards are those of all frames.
  @Test(arguments: cases.filter { $0.variant.placement != .none && $0.variant.method == .batch })
  func statisticsCountFrames(_ c: Case) throws {
    let trial = Trial(c.configuration(steps: 6), scope: c.variant.scope, lengths: Self.lengths), isFrame = c.variant.statistics == .frame
    let running = trial.statistics(\.running)
    trial.mode = .population
    trial.model.beginPopulation(groups: trial.groups)
    var all: [[[[Double]]]] = []
    for number in 0..<2 {
      let batch = minibatch(trial, seed: UInt64(30 + number))
      trial.load(batch, tokens: [])
      let result = trial.run(batch, .batch(groups: trial.groups.groups, fallback: running))
      try trial.forward()
      let seen = result.raw.map { raw in
        (0..<(isFrame ? 6 : 1)).map { slot in
          trial.groups.groups.map { group in group.flatMap { s in isFrame ? raw[s][slot] : raw[s].flatMap { $0 } } }
            .filter { $0.count > 1 }.flatMap { $0 }
        }
      }
      all = number == 0 ? seen : zip(all, seen).map { zip($0, $1).map { $0 + $1 } }
    }
    try trial.model.finishPopulation(groups: trial.groups, globalReducer: trial.globalReducer)
    #expect(all.count == trial.model.normalizations.count)
    for (l, n) in trial.model.normalizations.enumerated() {
      // Steps that no group has twice end what is seen.
      let slots = all[l].prefix { !$0.isEmpty }
      #expect(n.evaluation.slotsSeen == (slots.isEmpty ? running[l].count : slots.count))
      for (slot, frames) in slots.enumerated() {
        let wanted = ReferenceStatistics(frames)
        for f in wanted.mean.indices {
          #expect(abs(n.evaluation.mean[slot, f] - wanted.mean[f]) <= 1e-12 * (1 + abs(wanted.mean[f])))
          #expect(abs(n.evaluation.variance[slot, f] - wanted.variance[f]) <= 1e-12 * (1 + wanted.variance[f]))
        }
      }
    }
  }

  @Test func packedRows() {
    let packed = PackedSequences(lengths: [4, 2, 2, 1])
    #expect(packed.steps == 4 && packed.frames == 9 && packed.count == 4)
    #expect((0..<5).map { packed.rows($0) } == [0..<4, 4..<7, 7..<8, 8..<9, 9..<9])
    #expect((0..<5).map { packed.active($0) } == [4, 3, 1, 1, 0])
    // Rows are (t, b): sequence 0 has rows 0, 4, 7, 8; 1 has 1, 5; 2 has 2, 6; 3 has 3.
    let rows = VectorView<Int32>(zeros: 10)
    rows.fill(-1)
    rows.withMutableSpan { packed.writeReversal(to: &$0) }
    #expect(rows.array == [8, 5, 6, 3, 7, 1, 2, 4, 0, -1])
    let none = PackedSequences(lengths: [])
    #expect(none.steps == 0 && none.frames == 0)
  }
}
