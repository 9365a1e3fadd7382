import Tensors

/// Which connections from the cell to its gates an LSTM has.
public enum PeepholeConnections: String, Sendable, CaseIterable { case none, output, all }

/// What dropout on the way up drops at the time steps of a minibatch.
public enum DropoutKind: String, Sendable, CaseIterable {
  /// Other units at every step.
  case standard
  /// The same units of a sequence at all steps (Gal & Ghahramani 2016).
  case variational
}

/// Where normalisation goes. N(·) is the normalised term.
public enum Placement: String, Sendable, CaseIterable {
  case none
  /// `W_h h + N(W_x x)` (Laurent et al. 2015).
  case input
  /// `N(W_h h + W_x x)`.
  case preactivation
  /// `N(W_h h) + W_x x`.
  case state
  /// `N(W_h h) + N(W_x x) + b`, and an LSTM's output from `N(c)` (Cooijmans et al. 2016).
  case separate
  /// `N(h)`, which is carried on.
  case hidden
  /// `W_x U (x − c)`, with the input's whitening U and mean c (Desjardins et al. 2015).
  case whitenedInput = "whitened-input"

  /// Whether there is a normalised term: a mean and a deviation are taken away.
  public var normalizes: Bool {
    switch self {
    case .input, .preactivation, .state, .separate, .hidden: true
    case .none, .whitenedInput: false
    }
  }

  /// Whether a part of what is normalised is known only as the recurrence goes along, one time step after the other.
  public var dependsOnRecurrence: Bool {
    switch self {
    case .preactivation, .state, .separate, .hidden: true
    case .none, .input, .whitenedInput: false
    }
  }
}

/// By what a term is normalised.
public enum NormalizationMethod: String, Sendable, CaseIterable {
  /// Mean and variance of each feature over frames (Ioffe & Szegedy 2015).
  case batch
  /// Mean and variance of each frame over the features of the term (Ba et al. 2016).
  case layer
}

/// What a mean and a variance are taken over.
public enum StatisticsKind: String, Sendable, CaseIterable {
  /// One mean and variance a feature and time step.
  case frame
  /// One mean and variance a feature, over all frames.
  case sequence
}

/// Normalisation of the recurrent layers. With `method: layer` there are no statistics and no momentum.
public struct NormalizationConfiguration: Equatable, Sendable {
  public var method = NormalizationMethod.batch
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
    method: NormalizationMethod = .batch, placement: Placement, statistics: StatisticsKind = .frame, epsilon: Double = 1e-5,
    momentum: Double = 0.1, gamma: Double = 1
  ) {
    self.method = method
    self.placement = placement
    self.statistics = statistics
    self.epsilon = epsilon
    self.momentum = momentum
    self.gamma = gamma
  }
}

/// The state before the first step of a sequence.
public enum InitialState: String, Sendable, CaseIterable {
  case zero
  /// A trained vector for each state of a layer and direction, the same for all sequences.
  case learned
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
  public var dropoutKind = DropoutKind.standard
  /// Probability that an element of W_h is dropped for a whole update (DropConnect as Merity et al. 2018 use it).
  public var recurrentDropout = 0.0
  public var normalization: NormalizationConfiguration
  public var initialState = InitialState.zero
  /// Standard deviation of the normal noise on h_0 wherever statistics of the minibatch normalise; 0: none (Cooijmans et al. 2016).
  public var initialStateNoise = 0.0
  /// How the copies of W_h that products read are stored. Rounded copies are part of what the network computes, in evaluation too; its
  /// gradients are those at the rounded weights, and updates go to the weights themselves.
  public var recurrentWeights = PackedFormat.exact
  /// What the output layer reads.
  public var outputRows = OutputRows.frames
  /// Who multiplies large matrices.
  public var products = ProductLibrary.own
  /// Whether the output layer's weights are the embedding's, for which `embeddingSize` is `outputSize` (Press & Wolf 2017).
  public var tiesEmbedding = false
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

  /// Rows of the embedding if its gradient is kept as the rows that occur: V, but 0 without an embedding and where the output layer, whose gradient
  /// has all rows, shares it.
  public var sparseRows: Int { embeddingSize > 0 && !tiesEmbedding ? classes : 0 }

  /// G, the rows of a layer's weight matrices: `4H` for an LSTM, `H` for a plain cell.
  public var gateSize: Int { cell.shape.gates * hiddenSize }

  /// Whether anything is normalised by statistics of minibatches.
  public var usesBatchStatistics: Bool { normalization.method == .batch && normalization.placement.normalizes }

  /// Whether a layer has a bias: a β that is added to the preactivation takes its place.
  public var hasBias: Bool { !NormalizationSite.sites(of: self).contains(where: \.replacesBias) }
}
