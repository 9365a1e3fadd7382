import NeuralNetwork
import Tensors
import Testing

/// Gradients where something is out of the ordinary: every element, few frames, several micro-batches, repeated tokens, short windows.
@Suite struct SpecialGradientTests {
  private func variant(
    _ cell: Cell, _ placement: Placement, _ statistics: StatisticsKind, _ scope: Scope, peepholes: PeepholeConnections = .none,
    dropout: Double = 0, layers: Int = 1
  ) -> Variant {
    Variant(
      cell: cell, peepholes: peepholes, placement: placement, statistics: statistics, scope: scope, dropout: dropout, layers: layers)
  }

  @Test(arguments: Placement.allCases.filter { $0 != .whitenedInput }, Cell.allCases)
  func everyElement(_ placement: Placement, _ cell: Cell) throws {
    if !cell.shape.placements.contains(placement) { return }
    var variant = variant(cell, placement, .frame, .pairs, peepholes: cell == .lstm ? .all : .none, dropout: 0.4, layers: 2)
    variant.initialState = .learned
    let sequences = [2, 3, 3], trial = Trial(variant.configuration(steps: 3), scope: .pairs, sequences: sequences)
    let (_, gradient, _) = try trial.gradient(
      of: Minibatch(vocabulary: 9, sequences: sequences, steps: 3, seed: 8), gradientScale: 0.125)
    try trial.expectGradient(gradient, scale: 0.125, elements: .max, directions: 8, name: variant.testDescription)
  }

  /// A group of fewer than two frames takes the running statistics as constants; its neighbours do not.
  @Test(arguments: [
    (Placement.input, StatisticsKind.frame, Scope.local, [1, 3, 2, 1]), (.preactivation, .frame, .local, [1, 3, 2, 1]),
    (.input, .frame, .pairs, [2, 2, 1]), (.preactivation, .frame, .pairs, [2, 2, 1]), (.input, .sequence, .local, [1, 3, 2, 1]),
    (.state, .frame, .local, [1, 3, 2, 1]), (.separate, .frame, .pairs, [2, 2, 1]), (.hidden, .frame, .local, [1, 3, 2, 1]),
  ])
  func fewerThanTwoFrames(_ placement: Placement, _ statistics: StatisticsKind, _ scope: Scope, _ sequences: [Int]) throws {
    for cell in Cell.allCases where cell.shape.placements.contains(placement) {
      // With one step a shard of one sequence has one frame for sequence-wise statistics too.
      for steps in statistics == .frame ? [3] : [1, 2] {
        let variant = variant(cell, placement, statistics, scope, layers: 2)
        let trial = Trial(variant.configuration(steps: steps), scope: scope, sequences: sequences)
        let (_, gradient, _) = try trial.gradient(
          of: Minibatch(vocabulary: 9, sequences: sequences, steps: steps, seed: 9), gradientScale: 1)
        // A plain cell's recurrent weight has an effect even in a window of one step, through the state before it.
        try trial.expectGradient(gradient, scale: 1, name: "\(variant) \(sequences)")
      }
    }
  }

  @Test(arguments: Placement.allCases.filter { $0 != .whitenedInput })
  func microBatchesAddUp(_ placement: Placement) throws {
    let variant = variant(.lstm, placement, .frame, .global, peepholes: .all, dropout: 0.4, layers: 2), sequences = [3, 2]
    let trial = Trial(variant.configuration(), scope: .global, sequences: sequences)
    let first = Minibatch(vocabulary: 9, sequences: sequences, steps: 4, seed: 1)
    let second = Minibatch(vocabulary: 9, sequences: sequences, steps: 4, seed: 2)
    let alone = (try trial.gradient(of: first, gradientScale: 0.3).gradient, try trial.gradient(of: second, gradientScale: 0.3).gradient)
    let tokens = first.occurring(second)
    let sink = SummingSink(trial.model.layout, embeddingSize: 5, embeddingRows: tokens.count)
    for (number, batch) in [first, second].enumerated() {
      trial.load(batch, tokens: tokens)
      sink.accumulates = number > 0
      try trial.forward()
      _ = try trial.model.backward(trial.workspace, trial.pass, gradientScale: 0.3, sink: sink)
    }
    let sum = sink.gradient(tokens: tokens)
    for tensor in trial.model.layout.tensors {
      for i in tensor.range {
        // The same terms in another order of addition.
        #expect(abs(sum[i] - (alone.0[i] + alone.1[i])) <= 1e-13 * (1 + abs(sum[i])), "\(tensor.name)[\(i - tensor.offset)]")
      }
    }
    #expect(alone.0 != alone.1)
  }

  /// The gradient of a tied embedding is the sum of those of its two uses; it is complete only at the end of backward.
  @Test(arguments: [Placement.none, .input, .preactivation], [Cell.lstm, .rnn])
  func tiedEmbedding(_ placement: Placement, _ cell: Cell) throws {
    var configuration = variant(cell, placement, .frame, .pairs, dropout: 0.4, layers: 2).configuration(steps: 3)
    configuration.input = .tokens(embeddingSize: configuration.hiddenSize)
    configuration.tiesEmbedding = true
    let sequences = [2, 3, 3], trial = Trial(configuration, scope: .pairs, sequences: sequences)
    let batch = Minibatch(vocabulary: 9, sequences: sequences, steps: 3, seed: 8)
    let (loss, gradient, sink) = try trial.gradient(of: batch, gradientScale: 0.125)
    try trial.expectGradient(gradient, scale: 0.125, elements: .max, directions: 8, name: "tied \(cell) \(placement)")
    func events(_ group: String, _ kinds: [String]) -> [String] {
      sequences.indices.flatMap { shard in kinds.map { "\($0) \(group) \(shard)" } }
    }
    let both = ["begin", "end"]
    #expect(
      sink.events == events("output", ["begin"]) + events("layer(1)", both) + events("layer(0)", both) + events("output", both))
    #expect(sink.advances.isEmpty)

    // The same model with two copies of the matrix: losses are the same, and the gradients of the copies add up to this one.
    configuration.tiesEmbedding = false
    let apart = Trial(configuration, scope: .pairs, sequences: sequences)
    for tensor in apart.model.layout.tensors {
      let source = trial.model.layout.tensor(tensor.name == "output.weight" ? "embedding.weight" : tensor.name)
      apart.model.parameters[tensor.range].copy(from: trial.model.parameters[source.range])
    }
    for layer in apart.model.layers.indices {
      for shard in sequences.indices {
        for kind in configuration.cell.shape.states {
          apart.workspace.state(kind, layer: layer, shard: shard).copy(from: trial.workspace.state(kind, layer: layer, shard: shard))
        }
      }
    }
    let other = try apart.gradient(of: batch, gradientScale: 0.125)
    #expect(other.loss == loss)
    func part(_ gradient: [Double], _ trial: Trial, _ name: String) -> [Double] { Array(gradient[trial.model.layout.tensor(name).range]) }
    let uses = zip(part(other.gradient, apart, "embedding.weight"), part(other.gradient, apart, "output.weight"))
    for (sum, use) in zip(part(gradient, trial, "embedding.weight"), uses) {
      // The same terms in another order of addition.
      #expect(abs(sum - (use.0 + use.1)) <= 1e-13 * (1 + abs(sum)))
    }
  }

  @Test func microBatchesAddUpInATiedEmbedding() throws {
    var configuration = variant(.lstm, .input, .frame, .global, layers: 1).configuration()
    configuration.input = .tokens(embeddingSize: configuration.hiddenSize)
    configuration.tiesEmbedding = true
    let sequences = [3, 2], trial = Trial(configuration, scope: .global, sequences: sequences)
    let batches = (1...2).map { Minibatch(vocabulary: 9, sequences: sequences, steps: 4, seed: UInt64($0)) }
    let alone = try batches.map { try trial.gradient(of: $0, gradientScale: 0.3).gradient }
    let sink = SummingSink(trial.model.layout, embeddingSize: configuration.embeddingSize, embeddingRows: 0)
    for (number, batch) in batches.enumerated() {
      trial.load(batch, tokens: [])
      sink.accumulates = number > 0
      try trial.forward()
      _ = try trial.model.backward(trial.workspace, trial.pass, gradientScale: 0.3, sink: sink)
    }
    for (sum, terms) in zip(sink.gradient(tokens: []), zip(alone[0], alone[1])) {
      #expect(abs(sum - (terms.0 + terms.1)) <= 1e-13 * (1 + abs(sum)))
    }
  }

  /// Products by BLAS are those of the program's own kernels but for rounding: with 96 frames a shard, 68 and 17 gate rows, 70 classes.
  @Test(arguments: [
    (Cell.lstm, Placement.input), (.lstm, .none), (.rnn, .preactivation), (.lstm, .preactivation), (.lstm, .separate), (.gru, .hidden),
  ])
  func productsByBLAS(_ cell: Cell, _ placement: Placement) throws {
    var found: [(loss: Double, gradient: [Double])] = []
    for library in ProductLibrary.allCases {
      var configuration = NetworkConfiguration(
        vocabularySize: 70, embeddingSize: 5, cell: cell, layers: 2, hiddenSize: 17,
        normalization: NormalizationConfiguration(placement: placement, statistics: .frame, epsilon: 1e-2), steps: 4)
      configuration.products = library
      let trial = Trial(configuration, scope: .global, sequences: [24, 24])
      let result = try trial.gradient(of: Minibatch(vocabulary: 70, sequences: [24, 24], steps: 4, seed: 5), gradientScale: 0.1)
      if library == .blas { try trial.expectGradient(result.gradient, scale: 0.1, name: "\(cell) \(placement)") }
      found.append((result.loss, result.gradient))
    }
    #expect(abs(found[0].loss - found[1].loss) <= 1e-12 * abs(found[0].loss))
    for (a, b) in zip(found[0].gradient, found[1].gradient) {
      // Sums of up to 192 terms, in another order of addition.
      #expect(abs(a - b) <= 1e-11 * (1 + abs(a)))
    }
    // Not the same by never having asked BLAS.
    #expect(found[0].gradient != found[1].gradient)
  }

  @Test func gradientScaleIsAFactor() throws {
    let trial = Trial(variant(.lstm, .input, .sequence, .global).configuration(), scope: .global, sequences: [3, 3])
    let batch = Minibatch(vocabulary: 9, sequences: [3, 3], steps: 4, seed: 3)
    let one = try trial.gradient(of: batch, gradientScale: 1), quarter = try trial.gradient(of: batch, gradientScale: 0.25)
    #expect(one.loss == quarter.loss)
    // A power of two scales every number on the way exactly.
    #expect(one.gradient.map { $0 / 4 } == quarter.gradient)
    #expect(one.gradient.contains { $0 != 0 })
  }

  @Test func oneTokenEverywhere() throws {
    let variant = variant(.lstm, .none, .frame, .local, layers: 1), sequences = [2, 2]
    let trial = Trial(variant.configuration(), scope: .local, sequences: sequences)
    var batch = Minibatch(vocabulary: 9, sequences: sequences, steps: 4, seed: 4)
    batch.inputs = batch.inputs.map { $0.map { _ in 3 } }
    let (_, gradient, _) = try trial.gradient(of: batch, gradientScale: 1)
    try trial.expectGradient(gradient, scale: 1, elements: .max, name: "one token")
  }

  @Test func rowsWithoutTargetsHaveNoLoss() throws {
    let variant = variant(.lstm, .input, .frame, .global), sequences = [3, 3]
    let trial = Trial(variant.configuration(), scope: .global, sequences: sequences)
    var batch = Minibatch(vocabulary: 9, sequences: sequences, steps: 4, seed: 4)
    batch.targets = batch.targets.map { $0.map { _ in -1 } }
    let (loss, gradient, _) = try trial.gradient(of: batch, gradientScale: 1)
    #expect(loss == 0)
    #expect(gradient.allSatisfy { $0 == 0 })
  }

  /// A window shorter than the workspace, as at the end of a text: what lies behind it in the buffers does not count.
  @Test(arguments: [
    (Placement.none, StatisticsKind.frame), (.input, .frame), (.input, .sequence), (.preactivation, .frame), (.state, .frame),
    (.separate, .frame), (.hidden, .frame),
  ])
  func shortWindow(_ placement: Placement, _ statistics: StatisticsKind) throws {
    for scope in [Scope.local, .global] {
      let variant = variant(.lstm, placement, statistics, scope, layers: 2, ), sequences = [3, 2]
      let configuration = variant.configuration(steps: 5)
      let short = Trial(configuration, scope: scope, sequences: sequences, steps: 3)
      // A longer window first leaves its values behind.
      let long = Trial(configuration, scope: scope, sequences: sequences)
      let batch = Minibatch(vocabulary: 9, sequences: sequences, steps: 3, seed: 6)
      _ = try long.gradient(of: Minibatch(vocabulary: 9, sequences: sequences, steps: 5, seed: 7), gradientScale: 1)
      let (loss, gradient, _) = try short.gradient(of: batch, gradientScale: 1)
      #expect(abs(loss - (try short.loss())) <= 1e-12 * loss)
      try short.expectGradient(gradient, scale: 1, name: "short window \(variant)")
      let other = try Self.shortPass(on: long, batch)
      #expect(other.loss == loss)
      #expect(other.gradient == gradient)
    }
  }

  /// Forward and backward over three steps on a trial made for five.
  private static func shortPass(on long: Trial, _ batch: Minibatch) throws -> (loss: Double, gradient: [Double]) {
    let tokens = batch.occurring()
    long.load(batch, tokens: tokens)
    long.restoreRunning()
    long.workspace.begin(steps: 3, firstExamples: long.firstExamples)
    var pass = long.pass
    pass.steps = 3
    pass.counts = FrameCounts(
      perStep: long.sequences.flatMap { Array(repeating: $0, count: 3) }, steps: 3, groups: long.groups)
    try long.model.forward(long.workspace, pass, globalReducer: long.globalReducer)
    let sink = SummingSink(long.model.layout, embeddingSize: 5, embeddingRows: tokens.count)
    let losses = try long.model.backward(long.workspace, pass, gradientScale: 1, sink: sink)
    return (losses.reduce(0) { $0 + $1.loss }, sink.gradient(tokens: tokens))
  }

  /// The state before a window is a constant: the gradient of a second window does not reach into the first.
  @Test func carriedStateIsAConstant() throws {
    let variant = variant(.lstm, .input, .frame, .global, layers: 2), sequences = [2, 2]
    let trial = Trial(variant.configuration(), scope: .global, sequences: sequences)
    let first = Minibatch(vocabulary: 9, sequences: sequences, steps: 4, seed: 1)
    let second = Minibatch(vocabulary: 9, sequences: sequences, steps: 4, seed: 2)
    _ = try trial.gradient(of: first, gradientScale: 1)
    trial.workspace.carryState()
    let (_, gradient, _) = try trial.gradient(of: second, gradientScale: 1)
    try trial.expectGradient(gradient, scale: 1, name: "second window")
  }
}
