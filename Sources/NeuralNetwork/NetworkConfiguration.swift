import Tensors

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

/// What the lowest layer reads.
public enum NetworkInput: Equatable, Sendable {
  /// Tokens, each of which stands for a row of a trained embedding of so many columns.
  case tokens(embeddingSize: Int)
  /// So many real features a frame.
  case features(Int)

  /// Width of what the lowest layer reads.
  public var width: Int {
    switch self {
    case .tokens(let width), .features(let width): width
    }
  }
}

/// What of a sequence's top outputs the output layer reads; each row of it has a target.
public enum OutputRows: String, Sendable, CaseIterable {
  /// Those of every frame.
  case frames
  /// One row a sequence, of what every direction says at its own end: the forward output at the last frame and, beside it, the backward
  /// output at the first.
  case sequenceEnds

  /// Rows of a sequence of `length` frames.
  public func count(length: Int) -> Int { self == .frames ? length : 1 }
}

/// The direction in which a recurrent layer runs through time.
public enum Direction: String, Sendable, CaseIterable { case forward, backward }

/// The shape of a model: tokens or features, recurrent layers of one or two directions, and a softmax over classes.
public struct NetworkConfiguration: Equatable, Sendable {
  public var input: NetworkInput
  /// V, classes of the softmax; in a language model the tokens.
  public var classes: Int
  public var cell: Cell
  /// Number of recurrent layers.
  public var layers: Int
  /// H, cells of a layer and direction.
  public var hiddenSize: Int
  /// Whether each layer runs in both directions.
  public var isBidirectional: Bool
  public var peepholes: PeepholeConnections
  /// Probability that a unit of a vertical connection is dropped.
  public var dropout: Double
  public var normalization: NormalizationConfiguration
  /// How the copies of W_h that products read are stored. Rounded copies are part of what the network computes, in evaluation too; its
  /// gradients are those at the rounded weights, and updates go to the weights themselves.
  public var recurrentWeights = PackedFormat.exact
  /// What the output layer reads.
  public var outputRows = OutputRows.frames
  /// Who multiplies large matrices.
  public var products = ProductLibrary.own
  /// T, most time steps of a minibatch, the leading dimension of frame-wise running statistics.
  public var steps: Int

  /// A network of the given sizes; widths, V, layers, H and T are at least 1.
  public init(
    input: NetworkInput, classes: Int, cell: Cell, layers: Int, hiddenSize: Int, isBidirectional: Bool = false,
    peepholes: PeepholeConnections = .none, dropout: Double = 0, normalization: NormalizationConfiguration, steps: Int
  ) {
    self.input = input
    self.classes = classes
    self.cell = cell
    self.layers = layers
    self.hiddenSize = hiddenSize
    self.isBidirectional = isBidirectional
    self.peepholes = peepholes
    self.dropout = dropout
    self.normalization = normalization
    self.steps = steps
  }

  /// A language model with an embedding of `embeddingSize` columns for each of `vocabularySize` tokens.
  public init(
    vocabularySize: Int, embeddingSize: Int, cell: Cell, layers: Int, hiddenSize: Int, peepholes: PeepholeConnections = .none,
    dropout: Double = 0, normalization: NormalizationConfiguration, steps: Int
  ) {
    self.init(
      input: .tokens(embeddingSize: embeddingSize), classes: vocabularySize, cell: cell, layers: layers, hiddenSize: hiddenSize,
      peepholes: peepholes, dropout: dropout, normalization: normalization, steps: steps)
  }

  /// I, the width of the input of `layer`.
  public func inputSize(ofLayer layer: Int) -> Int { layer == 0 ? input.width : outputSize }

  /// Width of a layer's output: H, or 2H for two directions.
  public var outputSize: Int { directions.count * hiddenSize }

  /// The directions of each layer, in the order of their outputs.
  public var directions: [Direction] { isBidirectional ? [.forward, .backward] : [.forward] }

  /// E, columns of the embedding; 0 without one.
  public var embeddingSize: Int {
    if case .tokens(let size) = input { size } else { 0 }
  }

  /// G, the rows of a layer's weight matrices: `4H` for an LSTM, `H` for a plain cell.
  public var gateSize: Int { cell.gates * hiddenSize }

  /// Whether a layer has a bias: normalisation with a β of its own over the preactivations takes its place.
  public var hasBias: Bool { normalization.placement != .input && normalization.placement != .preactivation }
}
