import Tensors

/// Whose statistics serve which time step in evaluation, where statistics are of time steps.
public struct EvaluationSteps: Equatable, Sendable {
  /// Steps from the first on that have enough frames behind their statistics. The later ones take those of the last of them.
  public let enough: Int
  /// Steps that have any statistics: where `enough` is 0 they serve, and later steps take those of the last.
  public let seen: Int

  /// `enough` of `seen` steps.
  public init(enough: Int, seen: Int) {
    self.enough = enough
    self.seen = seen
  }
}

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
  /// Frames behind the running averages of each time step, [T]; empty unless statistics are of time steps. All terms have the same.
  public private(set) var runningFrames: [Int]
  /// What the evaluation statistics came to when they were made last; nil where they came from a file, or are not of time steps.
  public private(set) var evaluationSteps: EvaluationSteps?
  /// So many frames are behind statistics of which it is not known how many are.
  private static var unknownFrames: Int { Int(Int32.max) }
  /// [V, E]; nil where the model reads features.
  let embedding: MatrixView<S>?
  /// [V, D·H]; the embedding where that is tied.
  let outputWeight: MatrixView<S>
  /// [V].
  let outputBias: VectorView<S>
  // `outputWeight` for posteriors, since weights were fixed.
  private var packedOutput: PackedMatrix<S>?

  /// A model with all parameters zero; `initialize` or a file gives them values.
  public init(_ configuration: NetworkConfiguration) {
    precondition(!configuration.tiesEmbedding || configuration.embeddingSize == configuration.outputSize, "an embedding of another width")
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
    let normalizations = layers.flatMap { $0.terms.compactMap(\.batch) }
    self.normalizations = normalizations
    runningFrames = Array(repeating: 0, count: configuration.normalization.statistics == .frame ? normalizations.first?.slots ?? 0 : 0)
    embedding = configuration.embeddingSize > 0 ? matrix("embedding.weight") : nil
    outputWeight = matrix(layout.outputWeight.name)
    outputBias = parameters[layout.tensor("output.bias").range]
  }

  /// Rows that an embedding gradient of `tokens` tokens can touch, and so the size of its buffer.
  public func embeddingGradientRows(tokens: Int) -> Int { min(tokens, configuration.sparseRows) }

  /// Folds the evaluation statistics into scales and shifts and packs the weights, once before passes in evaluation mode.
  public func prepareEvaluation() {
    packedOutput = nil
    packWeights()
    for normalization in normalizations { normalization.prepareEvaluation() }
  }

  /// Packs the weights of the layers, once before passes that are not of training.
  public func packWeights() {
    for layer in layers { layer.packWeights() }
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
    packWeights()
    for normalization in normalizations {
      normalization.population = PopulationStatistics(
        kind: normalization.kind, variance: variance, slots: normalization.slots, features: normalization.site.features, groups: groups)
    }
  }

  /// Ends it: the evaluation statistics become those of all frames seen on all ranks.
  /// - framesPerStep: a time step with fewer frames behind its statistics takes those of the last step that has so many.
  public func finishPopulation(groups: ShardGroups, globalReducer: any StatisticsReducing<S>, framesPerStep: Int = 1) throws {
    evaluationSteps = nil
    for normalization in normalizations {
      normalization.evaluation.copy(from: normalization.running)
      let frames = try normalization.population?.finish(
        into: normalization.evaluation, shards: groups.shards, local: groups.local, reducer: globalReducer) ?? []
      finishEvaluation(normalization, frames: frames.isEmpty ? runningFrames : frames, framesPerStep: framesPerStep)
      normalization.population = nil
    }
  }

  /// Makes the evaluation statistics, which came from a file, the running averages too.
  public func useEvaluationStatisticsAsRunning() {
    for normalization in normalizations {
      normalization.evaluation.markSeen(slots: normalization.slots)
      normalization.running.copy(from: normalization.evaluation)
    }
    setRunningFrames(nil)
  }

  /// Makes the running averages what evaluation uses.
  /// - framesPerStep: a time step with fewer frames behind its statistics takes those of the last step that has so many.
  public func useRunningStatistics(framesPerStep: Int = 1) {
    evaluationSteps = nil
    for normalization in normalizations {
      normalization.evaluation.copy(from: normalization.running)
      finishEvaluation(normalization, frames: runningFrames, framesPerStep: framesPerStep)
    }
  }

  /// Gives time steps with too few frames behind their statistics, and those without any, the statistics of others.
  private func finishEvaluation(_ normalization: BatchNormalization<S>, frames: [Int], framesPerStep: Int) {
    if normalization.kind == .frame {
      let seen = normalization.evaluation.slotsSeen
      normalization.evaluation.keep(least: framesPerStep, frames: frames)
      evaluationSteps = EvaluationSteps(enough: frames.prefix(seen).prefix { $0 >= framesPerStep }.count, seen: seen)
    }
    normalization.evaluation.extend()
  }

  /// Adds the frames of a training minibatch to those behind the running averages.
  func countRunningFrames(_ pass: PassContext<S>) {
    for t in 0..<min(pass.steps, runningFrames.count) { runningFrames[t] += pass.counts.pooledOfStep[t] }
  }

  /// States how many frames are behind the running averages of each time step, after those were read from a file.
  /// - frames: [T]; nil where it is not known, which counts as enough.
  public func setRunningFrames(_ frames: [Int]?) {
    if let frames, frames.count == runningFrames.count {
      runningFrames = frames
    } else {
      let seen = normalizations.first?.running.slotsSeen ?? 0
      for t in runningFrames.indices { runningFrames[t] = t < seen ? Self.unknownFrames : 0 }
    }
  }
}
