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
  /// The matrix of the candidate, which is all that a plain cell has, is the identity (Le et al. 2015); those of gates are orthogonal, as in the
  /// code of Cooijmans et al. 2016.
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
  /// Weights follow the scheme, biases, β and initial states are 0 but for the forget gate's, γ is the configured value, and peepholes are uniform like
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
    // Only matrices of the recurrent layers are orthogonal.
    let outside = initialization.scheme == .orthogonal ? .uniform : initialization.scheme
    switch slice.role {
    case .gamma: values.fill(configuration.normalization.gamma)
    case .beta, .hiddenBias, .outputBias, .initialState: values.fill(0)
    case .bias:
      let H = configuration.hiddenSize
      values.fill(0)
      if let gate = configuration.cell.shape.forgetGate { values[gate * H..<(gate + 1) * H].fill(initialization.forgetBias) }
    case .peephole:
      if initialization.scheme == .uniform { fill(values, halfWidth: initialization.range, &random) }
    case .embedding:
      guard let deviation = initialization.embeddingDeviation else {
        return drawWeights(slice, blocks: 1, outside, initialization, &random, values)
      }
      random.fillNormal(values)
      values.scale(by: deviation)
    case .outputWeight:
      drawWeights(slice, blocks: 1, outside, initialization, &random, values)
    case .inputWeight: drawWeights(slice, blocks: configuration.cell.shape.gates, initialization.scheme, initialization, &random, values)
    case .recurrentWeight:
      let gates = configuration.cell.shape.gates
      switch initialization.recurrentScheme {
      case .identity:
        for (number, gate) in blocks(slice, gates, values).enumerated() {
          if number != configuration.cell.shape.candidate {
            fillOrthogonal(gate, &random)
          } else {
            for i in 0..<gate.rows { gate[i, i] = 1 }
          }
        }
      case .orthogonal: for gate in blocks(slice, gates, values) { fillOrthogonal(gate, &random) }
      case nil: drawWeights(slice, blocks: gates, initialization.scheme, initialization, &random, values)
      }
    }
  }

  /// The matrices, one below the other, that a tensor is made of.
  private func blocks(_ slice: TensorSlice, _ count: Int, _ values: VectorView<Double>) -> [MatrixView<Double>] {
    let rows = slice.shape[0] / count, columns = slice.shape[1]
    return (0..<count).map { values[$0 * rows * columns..<($0 + 1) * rows * columns].matrix(rows: rows, columns: columns) }
  }

  /// Draws `blocks` matrices that follow each other.
  private func drawWeights(
    _ slice: TensorSlice, blocks count: Int, _ scheme: InitializationScheme, _ initialization: Initialization,
    _ random: inout RandomStream, _ values: VectorView<Double>
  ) {
    switch scheme {
    case .orthogonal: for block in blocks(slice, count, values) { fillOrthogonal(block, &random) }
    case .uniform: fill(values, halfWidth: initialization.range, &random)
    case .glorot: fill(values, halfWidth: (6 / Double(slice.shape[0] / count + slice.shape[1])).squareRoot(), &random)
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
