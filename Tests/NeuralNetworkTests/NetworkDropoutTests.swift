import NeuralNetwork
import Tensors
import Testing

/// Masks of recurrent weights, and masks that stay over time.
@Suite struct NetworkDropoutTests {
  private let sequences = [2, 3, 3]

  private func configuration(_ cell: Cell, _ placement: Placement, recurrent: Double = 0.4) -> NetworkConfiguration {
    var c = Variant(
      cell: cell, peepholes: .none, placement: placement, statistics: .frame, scope: .pairs, dropout: 0.3, layers: 2
    ).configuration(steps: 3)
    c.recurrentDropout = recurrent
    c.dropoutKind = .variational
    return c
  }

  private func minibatch(_ seed: UInt64 = 8) -> Minibatch { Minibatch(vocabulary: 9, sequences: sequences, steps: 3, seed: seed) }

  @Test(arguments: [
    (Cell.lstm, Placement.none), (.lstm, .input), (.lstm, .preactivation), (.lstm, .separate), (.rnn, .state), (.gru, .none), (.gru, .hidden),
  ])
  func gradientIsTheDerivative(_ cell: Cell, _ placement: Placement) throws {
    let trial = Trial(configuration(cell, placement), scope: .pairs, sequences: sequences)
    let (_, gradient, _) = try trial.gradient(of: minibatch(), gradientScale: 0.125)
    try trial.expectGradient(gradient, scale: 0.125, elements: .max, directions: 8, name: "\(cell) \(placement)")
    // An element that is dropped has no gradient, in each direction and layer its own ones.
    for tensor in trial.model.layout.tensors where tensor.role == .recurrentWeight {
      let share = Double(tensor.range.count { gradient[$0] == 0 }) / Double(tensor.count)
      // Of a probability of 0.4, on 16 elements and more.
      #expect(share > 0.05 && share < 0.75, "\(tensor.name): \(share)")
    }
  }

  /// Recurrent weights under a mask are those of a network without one, in both directions.
  @Test func maskedWeights() throws {
    var c = configuration(.lstm, .input)
    c.input = .features(5)
    c.isBidirectional = true
    let lengths = [[3, 2], [3, 3, 1]], masked = Trial(c, scope: .pairs, lengths: lengths)
    c.recurrentDropout = 0
    let plain = Trial(c, scope: .pairs, lengths: lengths), H = c.hiddenSize
    let batch = Minibatch(vocabulary: 9, frames: masked.packed.map(\.frames), width: 5, seed: 4)
    var kept: [Double] = []
    for tensor in plain.model.layout.tensors {
      plain.model.parameters[tensor.range].copy(from: masked.model.parameters[tensor.range])
      guard tensor.role == .recurrentWeight else { continue }
      let layer = tensor.name.contains(".0.") ? 0 : 1, backward = tensor.name.contains("backward") ? 1 : 0
      let key = DropoutKey(probability: 0.4, seed: 11, step: 3, layer: UInt32(3 + 2 * layer + backward))
      let mask = MatrixView<Double>(zeros: 4 * H, H)
      mask.fill(1)
      dropout(mask, key: key, examples: VectorView((0..<Int32(4 * H)).map { $0 }), time: 0, out: mask)
      for (i, j) in tensor.range.enumerated() { plain.model.parameters[j] *= mask.vector[i] }
      kept += mask.vector.array
    }
    let wanted = try plain.gradient(of: batch, gradientScale: 1), found = try masked.gradient(of: batch, gradientScale: 1)
    #expect(found.loss == wanted.loss)
    var next = 0
    for tensor in plain.model.layout.tensors {
      for i in tensor.range {
        let share = tensor.role == .recurrentWeight ? kept[next] : 1
        if tensor.role == .recurrentWeight { next += 1 }
        // A sum over shards of products, and a product of sums.
        #expect(abs(found.gradient[i] - wanted.gradient[i] * share) <= 1e-14, "\(tensor.name)")
      }
    }
    // Evaluation reads the weights as they are.
    masked.mode = .batchEvaluation
    plain.mode = .batchEvaluation
    for tensor in plain.model.layout.tensors { plain.model.parameters[tensor.range].copy(from: masked.model.parameters[tensor.range]) }
    for trial in [masked, plain] { trial.model.prepareEvaluation() }
    #expect(try masked.loss() == plain.loss())
  }

  /// All micro-batches of an update have one mask, which is applied to their sum.
  @Test func microBatches() throws {
    let trial = Trial(configuration(.lstm, .none), scope: .pairs, sequences: sequences), batches = [minibatch(1), minibatch(2)]
    let alone = try batches.map { try trial.gradient(of: $0, gradientScale: 0.3).gradient }
    let tokens = batches[0].occurring(batches[1])
    let sink = SummingSink(trial.model.layout, embeddingSize: 5, embeddingRows: tokens.count)
    for (number, batch) in batches.enumerated() {
      trial.load(batch, tokens: tokens)
      (sink.accumulates, sink.completes) = (number > 0, number == 1)
      try trial.forward()
      _ = try trial.model.backward(trial.workspace, trial.pass, gradientScale: 0.3, sink: sink)
    }
    let sum = sink.gradient(tokens: tokens)
    for tensor in trial.model.layout.tensors {
      // The same terms in another order of addition.
      for i in tensor.range { #expect(abs(sum[i] - (alone[0][i] + alone[1][i])) <= 1e-13 * (1 + abs(sum[i])), "\(tensor.name)") }
    }
  }

  /// Without a recurrence, equal inputs have equal outputs at all steps where masks stay, and others where they do not.
  @Test(arguments: DropoutKind.allCases) func masksOverTime(_ kind: DropoutKind) throws {
    var c = configuration(.rnn, .none, recurrent: 0)
    c.input = .features(5)
    c.dropoutKind = kind
    c.dropout = 0.5
    let trial = Trial(c, scope: .pairs, lengths: [[3, 3]])
    for tensor in trial.model.layout.tensors where tensor.role == .recurrentWeight { trial.model.parameters[tensor.range].fill(0) }
    var batch = Minibatch(vocabulary: 9, frames: trial.packed.map(\.frames), width: 5, seed: 4)
    let row = Array(batch.features[0][0..<5])
    batch.features = [Array(repeating: row, count: 6).flatMap { $0 }]
    trial.reload = batch
    trial.load(batch, tokens: [])
    try trial.forward()
    let posteriors = MatrixView<Double>(zeros: 3, 9)
    trial.model.logPosteriors(trial.workspace, shard: 0, sequence: 0, into: posteriors)
    let rows = (0..<3).map { posteriors[$0].array }
    #expect(Set(rows).count == (kind == .variational ? 1 : 3))
  }
}
