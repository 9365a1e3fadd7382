import Tensors

/// How a forward pass treats normalisation and dropout.
public enum Mode: Equatable, Sendable {
  /// Statistics of the minibatch, running averages updated, dropout with the masks of minibatch `step` of a run with `seed`.
  case training(step: UInt32, seed: UInt64)
  /// Statistics of the minibatch, added to the population's; no dropout.
  case population
  /// Fixed statistics, no dropout.
  case evaluation

  var usesBatchStatistics: Bool { self != .evaluation }
}

/// What a pass over one minibatch needs beside activations.
public struct PassContext<S: Scalar> {
  public var mode: Mode
  /// T: steps of the longest sequence of all ranks.
  public var steps: Int
  /// In evaluation, the place in a window of the first step: frame-wise statistics count from it.
  public var firstStep = 0
  /// Frames of every shard, step and group.
  public var counts: FrameCounts
  public var groups: ShardGroups
  public var reducer: any StatisticsReducing<S>
  public var timer: PhaseTimer

  /// A pass of `steps` steps over shards with the frames `counts`.
  public init(
    mode: Mode, steps: Int, counts: FrameCounts, groups: ShardGroups, reducer: any StatisticsReducing<S>, timer: PhaseTimer
  ) {
    self.mode = mode
    self.steps = steps
    self.counts = counts
    self.groups = groups
    self.reducer = reducer
    self.timer = timer
  }
}

/// One recurrent layer of one direction: views of its parameters, and its normalisation.
public final class RecurrentLayer<S: Scalar> {
  let configuration: NetworkConfiguration
  /// Number of the layer from 0, the lowest.
  public let index: Int
  public let direction: Direction
  /// The beginning of its tensors' names, as `lstm.0.forward.`.
  public let prefix: String
  /// Where its tensors lie in the flat parameters, and so in gradients.
  let places: Places
  /// W_x [G, I] and W_h [G, H].
  let inputWeight, recurrentWeight: MatrixView<S>
  /// W_x and W_h for the products of forward passes, and the transpose of W_h for their derivative; packed when the weights have changed,
  /// those of W_h in the format that the configuration asks for.
  let packedInput, packedRecurrent, packedTransposed: PackedMatrix<S>
  /// b [G]; zero where normalisation has a β in its place.
  let bias: VectorView<S>
  let peepholes: Peepholes<S>
  // Statistics under way in a population pass.
  var population: PopulationStatistics<S>?
  /// Its normalisation, if any.
  public let normalization: BatchNormalization<S>?

  /// The ranges of a layer's tensors; nil where it has none of the kind.
  struct Places {
    let inputWeight, recurrentWeight: Range<Int>
    let bias, peephole, gamma, beta: Range<Int>?
  }

  init(
    _ configuration: NetworkConfiguration, index: Int, _ direction: Direction, layout: ParameterLayout, parameters: VectorView<S>
  ) {
    let prefix = ParameterLayout.prefix(configuration, layer: index, direction)
    func place(_ name: String) -> Range<Int>? { layout.optionalTensor(prefix + name)?.range }
    let site = NormalizationSite.sites(of: configuration).first
    let places = Places(
      inputWeight: layout.tensor(prefix + "input_weight").range, recurrentWeight: layout.tensor(prefix + "recurrent_weight").range,
      bias: place("bias"), peephole: place("peephole"), gamma: site.flatMap { place($0.name + ".gamma") },
      beta: site.flatMap { place($0.name + ".beta") })
    let (G, I) = (configuration.gateSize, configuration.inputSize(ofLayer: index))
    self.places = places
    self.configuration = configuration
    self.index = index
    self.direction = direction
    self.prefix = prefix
    inputWeight = parameters[places.inputWeight].matrix(rows: G, columns: I)
    recurrentWeight = parameters[places.recurrentWeight].matrix(rows: G, columns: configuration.hiddenSize)
    let (H, format, library) = (configuration.hiddenSize, configuration.recurrentWeights, configuration.products)
    packedInput = PackedMatrix(outputs: G, inputs: I, library: library)
    packedRecurrent = PackedMatrix(outputs: G, inputs: H, format: format, library: library)
    packedTransposed = PackedMatrix(outputs: H, inputs: G, format: format, library: library)
    bias = places.bias.map { parameters[$0] } ?? VectorView(zeros: G)
    peepholes = Self.peepholes(configuration, in: places.peephole.map { parameters[$0] })
    if let site, let gamma = places.gamma {
      normalization = BatchNormalization(
        site: site, configuration: configuration.normalization, steps: configuration.steps, gamma: parameters[gamma],
        beta: places.beta.map { parameters[$0] })
    } else {
      normalization = nil
    }
  }

  /// The parts of a peephole tensor [H] or [3, H].
  static func peepholes(_ c: NetworkConfiguration, in values: VectorView<S>?) -> Peepholes<S> {
    let H = c.hiddenSize
    guard let values else { return Peepholes() }
    if c.peepholes == .output { return Peepholes(output: values) }
    return Peepholes(input: values[0..<H], forget: values[H..<2 * H], output: values[2 * H..<3 * H])
  }

  /// Packs the weights for forward passes, after they have changed.
  func packWeights() {
    packedInput.pack(inputWeight.asIs)
    packedRecurrent.pack(recurrentWeight.asIs)
  }

  /// Whether `z` holds the whole preactivation before it is normalised, step by step.
  var isStepwise: Bool { normalization.map { !$0.site.precedesRecurrence } ?? false }
}
