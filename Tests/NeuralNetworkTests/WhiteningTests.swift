import NeuralNetwork
import Tensors
import Testing

/// Inputs that are whitened: derivative, estimate, and a change of U and c that leaves the function as it is.
@Suite struct WhiteningTests {
  private func configuration(_ cell: Cell, dropout: Double = 0.3, bidirectional: Bool = false) -> NetworkConfiguration {
    var c = NetworkConfiguration(
      vocabularySize: 9, embeddingSize: 5, cell: cell, layers: 2, hiddenSize: 4, dropout: dropout,
      normalization: NormalizationConfiguration(placement: .whitenedInput, epsilon: 1e-2, momentum: 0.25), steps: 4)
    c.isBidirectional = bidirectional
    if bidirectional { c.input = .features(5) }
    return c
  }

  /// One estimate from a minibatch, taken over by every layer.
  private func rewhiten(_ trial: Trial, _ batch: Minibatch) throws {
    trial.load(batch, tokens: [])
    if !batch.features.isEmpty { trial.reload = batch }
    try trial.forward()
    trial.model.beginWhitening()
    try trial.model.addToWhitening(trial.workspace, trial.pass, globalReducer: trial.globalReducer)
    trial.model.finishWhitening()
    for (layer, whitening) in trial.model.whitenings { _ = trial.model.whiten(layer, by: try whitening.solve()) }
  }

  @Test(arguments: [Cell.lstm, .rnn], [false, true]) func gradient(_ cell: Cell, _ bidirectional: Bool) throws {
    let c = configuration(cell, bidirectional: bidirectional), lengths = [[4, 4, 2], [1], [], [3, 3, 1]]
    let trial = bidirectional ? Trial(c, scope: .global, lengths: lengths) : Trial(c, scope: .global, sequences: [3, 2])
    func batch(_ seed: UInt64) -> Minibatch {
      bidirectional
        ? Minibatch(vocabulary: 9, frames: trial.packed.map(\.frames), width: 5, seed: seed)
        : Minibatch(vocabulary: 9, sequences: [3, 2], steps: 4, seed: seed)
    }
    try rewhiten(trial, batch(1))
    let (_, gradient, _) = try trial.gradient(of: batch(2), gradientScale: 0.2)
    try trial.expectGradient(gradient, scale: 0.2, name: "whitened \(cell)")
  }

  /// Before anything is estimated, the layer is one without normalisation.
  @Test func beginsAsIdentity() throws {
    var losses: [Double] = []
    for placement in [Placement.none, .whitenedInput] {
      var c = configuration(.lstm)
      c.normalization.placement = placement
      let trial = Trial(c, scope: .global, sequences: [3, 2]), batch = Minibatch(vocabulary: 9, sequences: [3, 2], steps: 4, seed: 3)
      losses.append(try trial.gradient(of: batch, gradientScale: 1).loss)
    }
    #expect(abs(losses[0] - losses[1]) <= 1e-13 * losses[0])
  }

  @Test func functionStays() throws {
    let trial = Trial(configuration(.lstm), scope: .global, sequences: [3, 2])
    let batch = Minibatch(vocabulary: 9, sequences: [3, 2], steps: 4, seed: 4)
    let before = try trial.gradient(of: batch, gradientScale: 1).loss, weights = trial.model.parameters.array
    for seed in 0..<3 {
      try rewhiten(trial, Minibatch(vocabulary: 9, sequences: [3, 2], steps: 4, seed: UInt64(seed)))
      let after = try trial.gradient(of: batch, gradientScale: 1).loss
      // Conditions of up to 1/ε enlarge roundings of double precision.
      #expect(abs(after - before) <= 1e-10 * before)
    }
    #expect(trial.model.parameters.array != weights)
  }

  /// The first estimate is taken whole, the next by its share, and `U (x − c)` has the covariance `U Σ̄ U`, near the identity.
  @Test func estimate() throws {
    let trial = Trial(configuration(.lstm, dropout: 0), scope: .local, sequences: [3, 1, 2])
    var mean = [Double](repeating: 0, count: 5), covariance = [[Double]](repeating: mean, count: 5)
    for number in 0..<2 {
      let batch = Minibatch(vocabulary: 9, sequences: [3, 1, 2], steps: 4, seed: UInt64(20 + number)), m = number == 0 ? 1 : 0.25
      let embedding = trial.model.parameters[trial.model.layout.tensor("embedding.weight").range].array
      let x = batch.inputs.flatMap { $0.map { token in Array(embedding[Int(token) * 5..<Int(token) * 5 + 5]) } }
      let s = ReferenceStatistics(x)
      for i in 0..<5 {
        mean[i] = (1 - m) * mean[i] + m * s.mean[i]
        for j in 0..<5 {
          let product = x.reduce(0) { $0 + ($1[i] - s.mean[i]) * ($1[j] - s.mean[j]) } / Double(x.count)
          covariance[i][j] = (1 - m) * covariance[i][j] + m * product
        }
      }
      try rewhiten(trial, batch)
    }
    let whitening = trial.model.whitenings[0].whitening, U = whitening.matrix
    for i in 0..<5 {
      #expect(abs(whitening.mean[i] - mean[i]) <= 1e-12)
      for j in 0..<5 {
        #expect(abs(whitening.averageCovariance[i, j] - covariance[i][j]) <= 1e-12 && abs(U[i, j] - U[j, i]) == 0)
        // U (Σ̄ + εI) U = I.
        var sum = 0.0
        for a in 0..<5 { for b in 0..<5 { sum += U[i, a] * (covariance[a][b] + (a == b ? 1e-2 : 0)) * U[b, j] } }
        #expect(abs(sum - (i == j ? 1 : 0)) <= 1e-11)
      }
    }
    #expect(trial.globalReducer.calls > 0 && trial.reducer.calls == 0)
  }

  /// Several minibatches of one update count as one.
  @Test func microBatches() throws {
    var found: [[Double]] = []
    for parts in [1, 2] {
      let trial = Trial(configuration(.lstm, dropout: 0), scope: .global, sequences: parts == 1 ? [2, 2] : [2])
      let all = Minibatch(vocabulary: 9, sequences: [2, 2], steps: 4, seed: 30)
      trial.model.beginWhitening()
      for part in 0..<parts {
        var batch = all
        if parts == 2 { (batch.inputs, batch.targets) = ([all.inputs[part]], [all.targets[part]]) }
        trial.load(batch, tokens: [])
        trial.workspace.resetState()
        try trial.forward()
        try trial.model.addToWhitening(trial.workspace, trial.pass, globalReducer: trial.globalReducer)
      }
      trial.model.finishWhitening()
      found.append(trial.model.whitenings.flatMap { $0.whitening.averageCovariance.vector.array + $0.whitening.averageMean.array })
    }
    let first = found[0][0..<30], second = found[1][0..<30]
    for (a, b) in zip(first, second) { #expect(abs(a - b) <= 1e-13 * (1 + abs(a))) }
    #expect(first.contains { abs($0) > 1e-3 })
  }
}
