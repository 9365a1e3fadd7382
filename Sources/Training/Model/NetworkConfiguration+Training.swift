import NeuralNetwork
import Tensors

extension NetworkConfiguration {
  /// The network that a configuration describes, for data with these inputs.
  /// - classes: V, in a language model the tokens of the vocabulary.
  /// - steps: the most time steps of a minibatch.
  init(_ c: TrainingConfiguration, input: NetworkInput, classes: Int, steps: Int) {
    self.init(
      input: input, classes: classes, cell: c.model.cell, layers: c.model.layers, hiddenSize: c.model.hiddenSize,
      isBidirectional: c.model.bidirectional, peepholes: c.model.peepholes, dropout: c.model.dropout,
      normalization: NormalizationConfiguration(
        method: c.normalization.method, placement: c.normalization.placement, statistics: c.normalization.statistics,
        epsilon: c.normalization.epsilon, momentum: c.normalization.momentum, gamma: c.normalization.gamma),
      steps: steps)
    dropoutKind = c.model.dropoutKind
    recurrentDropout = c.model.recurrentDropout
    initialState = c.model.initialState
    initialStateNoise = c.model.initialStateNoise
    tiesEmbedding = c.model.tiedEmbedding
    recurrentWeights = c.model.recurrentWeights == .bfloat16 ? .bfloat16 : .exact
    products = switch c.compute.products {
    case .automatic: .fastest
    case .own: .own
    case .blas: .blas
    }
  }

  /// The language model that a configuration describes, for a vocabulary of `vocabularySize` tokens.
  init(_ c: TrainingConfiguration, vocabularySize: Int) {
    self.init(
      c, input: .tokens(embeddingSize: c.model.embeddingSize), classes: vocabularySize, steps: c.training.unrollSteps)
  }
}

extension Initialization {
  /// The initial values that a configuration asks for.
  init(_ c: TrainingConfiguration.Initialization) {
    self.init(
      scheme: c.scheme, recurrentScheme: c.recurrentScheme, range: c.range, forgetBias: c.forgetBias,
      embeddingDeviation: c.embeddingDeviation)
  }
}
