import Tensors

/// How weights are drawn.
public enum InitializationScheme: String, Sendable, CaseIterable {
  /// Every weight from U(−range, range).
  case uniform
  /// Every matrix of a gate from U(±√(6 / (inputs + outputs)))  (Glorot & Bengio 2010).
  case glorot
  /// The input and recurrent matrix of every gate with orthonormal rows or columns (Saxe et al. 2014); all else uniform.
  case orthogonal
}

/// How recurrent weights are drawn, where not as the other weights are.
public enum RecurrentScheme: String, Sendable, CaseIterable {
  /// Each gate's matrix is the identity (Le et al. 2015).
  case identity
  /// Each gate's matrix is orthogonal (Saxe et al. 2014).
  case orthogonal
}

/// The initial values of a model.
public struct Initialization: Equatable, Sendable {
  public var scheme: InitializationScheme
  /// Of the recurrent weight matrices, [H, H] a gate; nil: as `scheme`.
  public var recurrentScheme: RecurrentScheme?
  /// Half-width of the uniform distribution.
  public var range: Double
  /// Added to the bias of the forget gate, or to the β that stands in its place.
  public var forgetBias: Double
  /// With a value the embedding is drawn from N(0, value²).
  public var embeddingDeviation: Double?

  /// Initial values by `scheme`, those of recurrent weights by `recurrentScheme` if there is one.
  public init(
    scheme: InitializationScheme, recurrentScheme: RecurrentScheme? = nil, range: Double, forgetBias: Double, embeddingDeviation: Double?
  ) {
    self.scheme = scheme
    self.recurrentScheme = recurrentScheme
    self.range = range
    self.forgetBias = forgetBias
    self.embeddingDeviation = embeddingDeviation
  }
}

extension SequenceModel {
  /// Draws all parameters. Each tensor has the random stream of its name, so that its values do not depend on what else the model has.
  ///
  /// Weights follow the scheme, biases and β are 0 but for the forget gate's, γ is the configured value, and peepholes are uniform like
  /// weights under `uniform` and 0 otherwise.
  public func initialize(_ initialization: Initialization, seed: UInt64) {
    for slice in layout.tensors {
      var random = RandomStream(seed: seed, name: slice.name)
      let values = VectorView<Double>(zeros: slice.count)
      draw(slice, initialization, &random, values)
      let target = parameters[slice.range]
      for i in 0..<values.count { target[i] = S(values[i]) }
    }
  }

  private func draw(
    _ slice: TensorSlice, _ initialization: Initialization, _ random: inout RandomStream, _ values: VectorView<Double>
  ) {
    let kind = slice.name.split(separator: ".").last.map(String.init) ?? slice.name
    let isEmbedding = slice.name == "embedding.weight", isOutput = slice.name.hasPrefix("output.")
    switch kind {
    case "gamma": values.fill(configuration.normalization.gamma)
    case "beta", "bias":
      values.fill(0)
      if configuration.cell == .lstm && !isOutput && slice.count == configuration.gateSize {
        values[configuration.hiddenSize..<2 * configuration.hiddenSize].fill(initialization.forgetBias)
      }
    case "peephole":
      if initialization.scheme == .uniform { fill(values, halfWidth: initialization.range, &random) }
    default:
      if isEmbedding, let deviation = initialization.embeddingDeviation {
        random.fillNormal(values)
        values.scale(by: deviation)
        return
      }
      let isRecurrentLayer = !isEmbedding && !isOutput
      let blocks = isRecurrentLayer ? configuration.cell.gates : 1
      let rows = slice.shape[0] / blocks, columns = slice.shape[1]
      let gates = (0..<blocks).map { values[$0 * rows * columns..<($0 + 1) * rows * columns].matrix(rows: rows, columns: columns) }
      switch kind == "recurrent_weight" ? initialization.recurrentScheme : nil {
      case .identity:
        values.fill(0)
        for gate in gates { for i in 0..<rows { gate[i, i] = 1 } }
        return
      case .orthogonal:
        for gate in gates { fillOrthogonal(gate, &random) }
        return
      case nil: break
      }
      switch initialization.scheme {
      case .orthogonal where isRecurrentLayer: for gate in gates { fillOrthogonal(gate, &random) }
      case .uniform, .orthogonal: fill(values, halfWidth: initialization.range, &random)
      case .glorot: fill(values, halfWidth: (6 / Double(rows + columns)).squareRoot(), &random)
      }
    }
  }

  private func fill(_ values: VectorView<Double>, halfWidth: Double, _ random: inout RandomStream) {
    random.fillUniform(values)
    values.withMutableSpan { span in
      for i in 0..<span.count { span[i] = (2 * span[i] - 1) * halfWidth }
    }
  }

  private func fillOrthogonal(_ block: MatrixView<Double>, _ random: inout RandomStream) {
    random.fillNormal(block.vector)
    block.orthonormalize()
  }
}
