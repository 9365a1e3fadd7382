import Tensors

/// A recurrent model: an embedding or features, recurrent layers, softmax. It holds parameters and statistics; activations live in a `ModelWorkspace`.
public final class SequenceModel<S: Scalar> {
  public let configuration: NetworkConfiguration
  public let layout: ParameterLayout
  /// All parameters, laid out by `layout`.
  public let parameters: VectorView<S>
  /// Recurrent layers, the lowest first, and of each layer the forward direction first.
  public let layers: [RecurrentLayer<S>]
  /// The statistics of every term that has any, layer by layer.
  public let normalizations: [BatchNormalization<S>]
  /// [V, E]; nil where the model reads features.
  let embedding: MatrixView<S>?
  /// [V, D·H].
  let outputWeight: MatrixView<S>
  /// [V].
  let outputBias: VectorView<S>
  // `outputWeight` for posteriors, since weights were fixed.
  private var packedOutput: PackedMatrix<S>?

  /// A model with all parameters zero; `initialize` or a file gives them values.
  public init(_ configuration: NetworkConfiguration) {
    let layout = ParameterLayout(configuration)
    let parameters = VectorView<S>(zeros: layout.count)
    func matrix(_ name: String) -> MatrixView<S> {
      let slice = layout.tensor(name)
      return parameters[slice.range].matrix(rows: slice.shape[0], columns: slice.shape[1])
    }
    self.configuration = configuration
    self.layout = layout
    self.parameters = parameters
    layers = (0..<configuration.layers).flatMap { index in
      configuration.directions.map { RecurrentLayer(configuration, index: index, $0, layout: layout, parameters: parameters) }
    }
    normalizations = layers.flatMap { $0.terms.compactMap(\.batch) }
    embedding = configuration.embeddingSize > 0 ? matrix("embedding.weight") : nil
    outputWeight = matrix("output.weight")
    outputBias = parameters[layout.tensor("output.bias").range]
  }

  /// Rows that an embedding gradient of `tokens` tokens can touch, and so the size of its buffer.
  public func embeddingGradientRows(tokens: Int) -> Int { min(tokens, configuration.embeddingSize > 0 ? configuration.classes : 0) }

  /// Folds the evaluation statistics into scales and shifts and packs the weights, once before passes in evaluation mode.
  public func prepareEvaluation() {
    packedOutput = nil
    for layer in layers { layer.packWeights() }
    for normalization in normalizations { normalization.prepareEvaluation() }
  }

  /// The output layer's weights for products of evaluation passes that want posteriors; packed at the first.
  func packedOutputWeight() -> PackedMatrix<S> {
    if let packedOutput { return packedOutput }
    let packed = PackedMatrix<S>(outputs: outputWeight.rows, inputs: outputWeight.columns)
    packed.pack(outputWeight.asIs)
    packedOutput = packed
    return packed
  }

  /// Starts gathering population statistics: every pass in population mode is added.
  public func beginPopulation(groups: ShardGroups, variance: PopulationVariance = .pooled) {
    for layer in layers { layer.packWeights() }
    for normalization in normalizations {
      normalization.population = PopulationStatistics(
        kind: normalization.kind, variance: variance, slots: normalization.slots, features: normalization.site.features, groups: groups)
    }
  }

  /// Ends it: the evaluation statistics become those of all frames seen on all ranks.
  public func finishPopulation(groups: ShardGroups, globalReducer: any StatisticsReducing<S>) throws {
    for normalization in normalizations {
      normalization.evaluation.copy(from: normalization.running)
      try normalization.population?.finish(
        into: normalization.evaluation, shards: groups.shards, local: groups.local, reducer: globalReducer)
      normalization.evaluation.extend()
      normalization.population = nil
    }
  }

  /// Makes the evaluation statistics, which came from a file, the running averages too.
  public func useEvaluationStatisticsAsRunning() {
    for normalization in normalizations {
      normalization.evaluation.markSeen(slots: normalization.slots)
      normalization.running.copy(from: normalization.evaluation)
    }
  }

  /// Makes the running averages what evaluation uses.
  public func useRunningStatistics() {
    for normalization in normalizations {
      normalization.evaluation.copy(from: normalization.running)
      normalization.evaluation.extend()
    }
  }
}
