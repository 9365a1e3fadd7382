/// The recurrent cell of a layer.
public enum Cell: String, Sendable, CaseIterable {
  /// Long short-term memory, gates in the order input, forget, candidate, output.
  case lstm
  /// `h_t = tanh(a_t)`.
  case rnn

  /// Rows of the weight matrices a cell: 4 for an LSTM, 1 for a plain cell.
  public var gates: Int { self == .lstm ? 4 : 1 }
}

/// Which connections from the cell to its gates an LSTM has.
public enum PeepholeConnections: String, Sendable, CaseIterable { case none, output, all }

/// Where batch normalisation goes.
public enum Placement: String, Sendable, CaseIterable {
  case none, input, preactivation, separate, hidden
  case whitenedInput = "whitened-input"
}

/// What a mean and a variance are taken over.
public enum StatisticsKind: String, Sendable, CaseIterable {
  /// One mean and variance a feature and time step.
  case frame
  /// One mean and variance a feature, over all frames.
  case sequence
}

/// Batch normalisation of the recurrent layers.
public struct NormalizationConfiguration: Equatable, Sendable {
  public var placement: Placement
  public var statistics: StatisticsKind
  /// ε, added to the variance.
  public var epsilon: Double
  /// Weight of the newest statistics in the running averages.
  public var momentum: Double
  /// Initial γ.
  public var gamma: Double

  /// Normalisation at `placement`; the rest has the configuration's defaults.
  public init(
    placement: Placement, statistics: StatisticsKind = .frame, epsilon: Double = 1e-5, momentum: Double = 0.1, gamma: Double = 1
  ) {
    self.placement = placement
    self.statistics = statistics
    self.epsilon = epsilon
    self.momentum = momentum
    self.gamma = gamma
  }
}

/// The shape of a language model: an embedding, recurrent layers, and a softmax over the vocabulary.
public struct NetworkConfiguration: Equatable, Sendable {
  /// V, tokens or classes.
  public var vocabularySize: Int
  /// E, columns of the embedding.
  public var embeddingSize: Int
  public var cell: Cell
  /// Number of recurrent layers.
  public var layers: Int
  /// H, cells of a layer.
  public var hiddenSize: Int
  public var peepholes: PeepholeConnections
  /// Probability that a unit of a vertical connection is dropped.
  public var dropout: Double
  public var normalization: NormalizationConfiguration
  /// T, time steps of a window, the leading dimension of frame-wise running statistics.
  public var steps: Int

  /// A network of the given sizes; V, E, layers, H and T are at least 1.
  public init(
    vocabularySize: Int, embeddingSize: Int, cell: Cell, layers: Int, hiddenSize: Int, peepholes: PeepholeConnections = .none,
    dropout: Double = 0, normalization: NormalizationConfiguration, steps: Int
  ) {
    self.vocabularySize = vocabularySize
    self.embeddingSize = embeddingSize
    self.cell = cell
    self.layers = layers
    self.hiddenSize = hiddenSize
    self.peepholes = peepholes
    self.dropout = dropout
    self.normalization = normalization
    self.steps = steps
  }

  /// I, the width of the input of `layer`.
  public func inputSize(ofLayer layer: Int) -> Int { layer == 0 ? embeddingSize : hiddenSize }

  /// G, the rows of a layer's weight matrices: `4H` for an LSTM, `H` for a plain cell.
  public var gateSize: Int { cell.gates * hiddenSize }

  /// Whether a layer has a bias: normalisation with a β of its own over the preactivations takes its place.
  public var hasBias: Bool { normalization.placement != .input && normalization.placement != .preactivation }
}
