import Foundation
import NeuralNetwork
import Tensors
import Testing

/// Normal noise on h_0 (Cooijmans et al. 2016).
@Suite struct InitialNoiseTests {
  private func configuration(hiddenSize: Int = 16, noise: Double, steps: Int = 3) -> NetworkConfiguration {
    var configuration = NetworkConfiguration(
      vocabularySize: 9, embeddingSize: 5, cell: .lstm, layers: 2, hiddenSize: hiddenSize, dropout: 0,
      normalization: NormalizationConfiguration(placement: .separate), steps: steps)
    configuration.initialState = .learned
    configuration.initialStateNoise = noise
    return configuration
  }

  private let key = NoiseKey(seed: 3, purpose: .training, minibatch: 5)

  /// What noise adds to the outputs before the first step of `layer`, for all sequences one after the other.
  private func noise(
    _ key: NoiseKey, layer: Int = 0, sequences: [Int] = [6, 2], hiddenSize: Int = 16, deviation: Double = 0.1, resets: Bool = true
  ) throws -> [Double] {
    let states = try [deviation, 0].map { deviation in
      let trial = Trial(configuration(hiddenSize: hiddenSize, noise: deviation), scope: .global, sequences: sequences)
      trial.load(Minibatch(vocabulary: 9, sequences: sequences, steps: 3, seed: 2), tokens: [])
      if resets { trial.beginSequences() }
      var pass = trial.pass
      pass.initialNoise = key
      try trial.model.forward(trial.workspace, pass, globalReducer: trial.globalReducer)
      return sequences.indices.flatMap { shard in
        let state = trial.workspace.state(.output, layer: layer, shard: shard)
        return (0..<sequences[shard]).flatMap { state[$0].array }
      }
    }
    return zip(states[0], states[1]).map { $0 - $1 }
  }

  @Test(arguments: [400, 401]) func isNormal(_ hiddenSize: Int) throws {
    let values = try noise(key, hiddenSize: hiddenSize, deviation: 0.25).map { $0 / 0.25 }, n = Double(values.count)
    let mean = values.reduce(0, +) / n, variance = values.reduce(0) { $0 + $1 * $1 } / n
    #expect(abs(mean) < 4 / n.squareRoot() && abs(variance - 1) < 4 * (2 / n).squareRoot())
    let within = Double(values.count { abs($0) < 1 }) / n
    #expect(abs(within - 0.6827) < 4 * (0.6827 * 0.3173 / n).squareRoot())
  }

  @Test func doesNotDependOnShards() throws {
    let whole = try noise(key, sequences: [8])
    for sequences in [[6, 2], [1, 3, 4]] { #expect(try noise(key, sequences: sequences) == whole) }
  }

  /// Sequences, layers, minibatches, seeds and ends have noise of their own.
  @Test func differs() throws {
    let drawn = [
      try noise(key), try noise(key, layer: 1), try noise(NoiseKey(seed: 4, purpose: .training, minibatch: 5)),
      try noise(NoiseKey(seed: 3, purpose: .training, minibatch: 6)), try noise(NoiseKey(seed: 3, purpose: .population, minibatch: 5)),
      try noise(NoiseKey(seed: 3, purpose: .evaluation, minibatch: 5)),
    ]
    let values = drawn.flatMap { $0.map { ($0 * 1e9).rounded() } }
    #expect(drawn[0].count == 8 * 16 && Set(values).count > values.count - 3)
  }

  @Test func carriedStatesHaveNone() throws {
    #expect(try noise(key, resets: false).allSatisfy { $0 == 0 })
  }

  /// Equal sequences have a variance of zero, and each step back multiplies the gradient by up to γ / √ε.
  @Test func tellsEqualSequencesApart() throws {
    func norm(noise: Double) throws -> Double {
      let steps = 24, trial = Trial(configuration(noise: noise, steps: steps), scope: .global, sequences: [4])
      var batch = Minibatch(vocabulary: 9, sequences: [4], steps: steps, seed: 1)
      for row in batch.inputs[0].indices { batch.inputs[0][row] = 3 }
      trial.load(batch, tokens: [3])
      trial.beginSequences()
      var pass = trial.pass
      pass.initialNoise = key
      try trial.model.forward(trial.workspace, pass, globalReducer: trial.globalReducer)
      let sink = SummingSink(trial.model.layout, embeddingSize: 5, embeddingRows: 1)
      _ = try trial.model.backward(trial.workspace, pass, gradientScale: 1, sink: sink)
      return sink.gradient(tokens: [3]).reduce(0) { $0 + $1 * $1 }.squareRoot()
    }
    let (with, without) = (try norm(noise: 0.1), try norm(noise: 0))
    #expect(with < 1e5 && !(without < 1e20), "norms of the gradient: \(with) with noise, \(without) without")
  }
}
