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

/// The initial values of a model.
public struct Initialization: Equatable, Sendable {
  public var scheme: InitializationScheme
  /// Half-width of the uniform distribution.
  public var range: Double
  /// Added to the bias of the forget gate, or to the β that stands in its place.
  public var forgetBias: Double
  /// With a value the embedding is drawn from N(0, value²).
  public var embeddingDeviation: Double?

  /// Initial values by `scheme`.
  public init(scheme: InitializationScheme, range: Double, forgetBias: Double, embeddingDeviation: Double?) {
    self.scheme = scheme
    self.range = range
    self.forgetBias = forgetBias
    self.embeddingDeviation = embeddingDeviation
  }
}

extension SequenceModel {
  /// Draws all parameters. Each tensor has a random stream of its own, so that its values do not depend on what else the model has.
  ///
  /// Weights follow the scheme, biases, β and initial states are 0 but for the forget gate's, γ is the configured value, and peepholes are uniform like
  /// weights under `uniform` and 0 otherwise.
  public func initialize(_ initialization: Initialization, seed: UInt64) {
    for slice in layout.tensors {
      var random = RandomStream(seed: seed, stream: Self.stream(slice.name))
      let values = VectorView<Double>(zeros: slice.count)
      draw(slice, initialization, &random, values)
      let target = parameters[slice.range]
      for i in 0..<values.count { target[i] = S(values[i]) }
    }
  }

  /// The number of a tensor's random stream: the 32-bit FNV-1a hash of its name, the same whatever other tensors there are.
  private static func stream(_ name: String) -> UInt32 {
    name.utf8.reduce(2_166_136_261) { ($0 ^ UInt32($1)) &* 16_777_619 }
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
    case .inputWeight, .recurrentWeight:
      drawWeights(slice, blocks: configuration.cell.shape.gates, initialization.scheme, initialization, &random, values)
    }
  }

  /// Draws `blocks` matrices that follow each other.
  private func drawWeights(
    _ slice: TensorSlice, blocks: Int, _ scheme: InitializationScheme, _ initialization: Initialization, _ random: inout RandomStream,
    _ values: VectorView<Double>
  ) {
    let rows = slice.shape[0] / blocks, columns = slice.shape[1]
    switch scheme {
    case .orthogonal:
      for block in 0..<blocks {
        fillOrthogonal(values[block * rows * columns..<(block + 1) * rows * columns].matrix(rows: rows, columns: columns), &random)
      }
    case .uniform: fill(values, halfWidth: initialization.range, &random)
    case .glorot: fill(values, halfWidth: (6 / Double(rows + columns)).squareRoot(), &random)
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
