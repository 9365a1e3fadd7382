/// A named tensor inside a flat buffer.
public struct TensorSlice: Equatable, Sendable {
  /// Name as in `model.safetensors`.
  public let name: String
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
        for (name, shape) in Self.layerTensors(c, layer: layer, direction) { add(name, shape) }
      }
      layers.append(start..<count)
    }
    let outputStart = count
    add(c.tiesEmbedding ? "embedding.weight" : "output.weight", [c.classes, c.outputSize])
    add("output.bias", [c.classes])
    output = outputStart..<count
    let embeddingStart = count
    if case .tokens(let size) = c.input, !c.tiesEmbedding { add("embedding.weight", [c.classes, size]) }
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

  private static func layerTensors(_ c: NetworkConfiguration, layer: Int, _ direction: Direction) -> [(String, [Int])] {
    let p = prefix(c, layer: layer, direction)
    var tensors = [
      (p + "input_weight", [c.gateSize, c.inputSize(ofLayer: layer)]), (p + "recurrent_weight", [c.gateSize, c.hiddenSize]),
    ]
    if c.hasBias { tensors.append((p + "bias", [c.gateSize])) }
    switch c.peepholes {
    case .none: break
    case .output: tensors.append((p + "peephole", [c.hiddenSize]))
    case .all: tensors.append((p + "peephole", [3, c.hiddenSize]))
    }
    for site in NormalizationSite.sites(of: c) {
      tensors.append((p + site.name + ".gamma", [site.features]))
      if site.hasBeta { tensors.append((p + site.name + ".beta", [site.features])) }
    }
    return tensors
  }

  private mutating func add(_ name: String, _ shape: [Int]) {
    let slice = TensorSlice(name: name, shape: shape, offset: count)
    tensors.append(slice)
    count += (slice.count + Self.alignment - 1) / Self.alignment * Self.alignment
  }
}
