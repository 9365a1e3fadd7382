/// What a parameter tensor is to the network.
public enum TensorRole: Sendable {
  /// W_x or W_h of a layer, blocks of H rows for the gates.
  case inputWeight, recurrentWeight
  /// What is added to a layer's preactivation: its bias, or the β in its place.
  case bias
  /// What is added to the last gate's part of `W_h h`.
  case hiddenBias
  case peephole, gamma
  /// A β elsewhere.
  case beta
  /// A learned state before the first step.
  case initialState
  case outputWeight, outputBias, embedding

  /// Whether it multiplies what comes into a layer, as biases, peepholes, γ, β and initial states do not.
  var isWeightMatrix: Bool {
    switch self {
    case .inputWeight, .recurrentWeight, .outputWeight, .embedding: true
    case .bias, .hiddenBias, .peephole, .gamma, .beta, .initialState, .outputBias: false
    }
  }
}

/// A named tensor inside a flat buffer.
public struct TensorSlice: Equatable, Sendable {
  /// Name as in `model.safetensors`.
  public let name: String
  public let role: TensorRole
  /// Dimensions, row-major.
  public let shape: [Int]
  /// First element in the flat buffer.
  public let offset: Int
  /// Number of elements.
  public var count: Int { shape.reduce(1, *) }
  /// Its elements in the flat buffer.
  public var range: Range<Int> { offset..<offset + count }
}

/// Where each parameter lies in the flat buffer of all parameters.
///
/// Groups follow the order in which backward finishes them, last to first: `layers[0]`, …, `output`, and the embedding at the end. Gradients have the same
/// layout up to the embedding, of whose gradient only the rows that occur are kept. An embedding that is the output layer's weights lies in their place,
/// and there is no group of its own.
public struct ParameterLayout: Equatable, Sendable {
  /// Every tensor, in the order of the flat buffer. Tensors begin at multiples of 16 elements; the gaps hold zeros.
  public private(set) var tensors: [TensorSlice] = []
  /// The range of each recurrent layer's tensors, of both directions.
  public private(set) var layers: [Range<Int>] = []
  /// The range of the output layer's tensors.
  public private(set) var output: Range<Int> = 0..<0
  /// The range of the embedding, the last in the buffer; empty without one of its own.
  public private(set) var embedding: Range<Int> = 0..<0
  /// Elements of the flat buffer.
  public private(set) var count = 0

  private static let alignment = 16

  /// The layout of the parameters of `configuration`.
  public init(_ configuration: NetworkConfiguration) {
    let c = configuration
    for layer in 0..<c.layers {
      let start = count
      for direction in c.directions {
        addLayer(c, prefix: Self.prefix(c, layer: layer, direction), inputs: c.inputSize(ofLayer: layer))
      }
      layers.append(start..<count)
    }
    let outputStart = count
    add(c.tiesEmbedding ? "embedding.weight" : "output.weight", c.tiesEmbedding ? .embedding : .outputWeight, [c.classes, c.outputSize])
    add("output.bias", .outputBias, [c.classes])
    output = outputStart..<count
    let embeddingStart = count
    if case .tokens(let size) = c.input, !c.tiesEmbedding { add("embedding.weight", .embedding, [c.classes, size]) }
    embedding = embeddingStart..<count
  }

  /// Number of trained values, without the gaps.
  public var parameterCount: Int { tensors.reduce(0) { $0 + $1.count } }

  /// The tensor called `name`; a programmer's mistake if there is none.
  public func tensor(_ name: String) -> TensorSlice {
    guard let slice = tensors.first(where: { $0.name == name }) else { preconditionFailure("no parameter \(name)") }
    return slice
  }

  /// The output layer's weights, [V, D·H], whatever they are called.
  public var outputWeight: TensorSlice { optionalTensor("output.weight") ?? tensor("embedding.weight") }

  /// The tensor called `name`, if the model has it.
  public func optionalTensor(_ name: String) -> TensorSlice? { tensors.first { $0.name == name } }

  /// The beginning of the names of a layer's tensors, as `lstm.0.forward.`.
  public static func prefix(_ configuration: NetworkConfiguration, layer: Int, _ direction: Direction) -> String {
    "\(configuration.cell.rawValue).\(layer).\(direction.rawValue)."
  }

  private mutating func addLayer(_ c: NetworkConfiguration, prefix p: String, inputs I: Int) {
    let (G, H) = (c.gateSize, c.hiddenSize), shape = c.cell.shape
    add(p + "input_weight", .inputWeight, [G, I])
    add(p + "recurrent_weight", .recurrentWeight, [G, H])
    if c.hasBias { add(p + "bias", .bias, [G]) }
    if shape.readsProductsApart { add(p + "hidden_bias", .hiddenBias, [H]) }
    switch c.peepholes {
    case .none: break
    case .output: add(p + "peephole", .peephole, [H])
    case .all: add(p + "peephole", .peephole, [3, H])
    }
    for site in NormalizationSite.sites(of: c) {
      add(p + site.name + ".gamma", .gamma, [site.features])
      if site.hasBeta { add(p + site.name + ".beta", site.replacesBias ? .bias : .beta, [site.features]) }
    }
    switch c.initialState {
    case .zero: break
    case .learned:
      add(p + "initial_hidden", .initialState, [H])
      if shape.states.contains(.cell) { add(p + "initial_cell", .initialState, [H]) }
    }
  }

  private mutating func add(_ name: String, _ role: TensorRole, _ shape: [Int]) {
    let slice = TensorSlice(name: name, role: role, shape: shape, offset: count)
    tensors.append(slice)
    count += (slice.count + Self.alignment - 1) / Self.alignment * Self.alignment
  }
}
