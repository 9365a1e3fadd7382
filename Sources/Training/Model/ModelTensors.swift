import NeuralNetwork
import Tensors

// Names and shapes of everything that a checkpoint holds of a model.

extension SequenceModel<Float> {
  /// The trained tensors, by their names in `model.safetensors`.
  var parameterTensors: [NamedTensor] {
    layout.tensors.map { NamedTensor(name: $0.name, shape: $0.shape, values: parameters[$0.range]) }
  }

  /// What evaluation needs beside the trained tensors: statistics, as `….running_mean` and `….running_variance`, and whitenings, as
  /// `….whitening.matrix` and `….whitening.mean`.
  var evaluationTensors: [NamedTensor] { evaluationStatistics + whiteningTensors }

  /// Reads the weights of a tensor file, and its statistics, which it may lack.
  /// - Returns: whether it has statistics, or none are needed.
  /// - Throws: `SafetensorsError`.
  func read(weightsOf file: String) throws(SafetensorsError) -> Bool {
    // Weights after a whitening mean nothing without it.
    let statistics = evaluationStatistics
    let absent = try SafetensorsFile(file).read(
      into: parameterTensors + evaluationTensors, optional: Set(statistics.map(\.name)), converting: true)
    // All or none: a layer with statistics beside one without would be neither a fresh model nor a trained one.
    if let name = absent.first, absent.count < statistics.count {
      throw SafetensorsError(
        file: file, tensor: name, .missingTensor, found: "no such tensor, but statistics of other layers",
        allowed: "all running statistics, or none")
    }
    return absent.isEmpty
  }

  /// The exponential averages of training, for `training.safetensors`, and the whitenings that belong to them.
  var runningTensors: [NamedTensor] {
    statisticsTensors(prefix: "running.") { $0.running } + whiteningTensors
      + whitenings.flatMap { layer, whitening in
        [
          NamedTensor(
            name: "running.\(layer.prefix)whitening.covariance", shape: [whitening.mean.count, whitening.mean.count],
            values: whitening.averageCovariance.vector),
          NamedTensor(name: "running.\(layer.prefix)whitening.mean", shape: [whitening.mean.count], values: whitening.averageMean),
        ]
      }
  }

  private var whiteningTensors: [NamedTensor] {
    whitenings.flatMap { layer, whitening in
      [
        NamedTensor(
          name: layer.prefix + "whitening.matrix", shape: [whitening.mean.count, whitening.mean.count], values: whitening.matrix.vector),
        NamedTensor(name: layer.prefix + "whitening.mean", shape: [whitening.mean.count], values: whitening.mean),
      ]
    }
  }

  /// The statistics of evaluation alone.
  var evaluationStatistics: [NamedTensor] { statisticsTensors(prefix: "") { $0.evaluation } }

  private func statisticsTensors(
    prefix: String, _ statistics: (BatchNormalization<Float>) -> RunningStatistics<Float>
  ) -> [NamedTensor] {
    let isFrame = configuration.normalization.statistics == .frame
    return forEachBatchNormalization { name, normalization in
      let values = statistics(normalization)
      let shape = isFrame ? [values.mean.rows, values.mean.columns] : [values.mean.columns]
      return [
        NamedTensor(name: prefix + name + ".running_mean", shape: shape, values: values.mean.vector),
        NamedTensor(name: prefix + name + ".running_variance", shape: shape, values: values.variance.vector),
      ]
    }.flatMap { $0 }
  }

  /// What `body` makes of each normalised term that has statistics, called as `lstm.0.forward.input_norm`.
  private func forEachBatchNormalization<T>(_ body: (String, BatchNormalization<Float>) -> T) -> [T] {
    layers.flatMap { layer in
      layer.terms.compactMap { term in term.batch.map { body(layer.prefix + term.site.name, $0) } }
    }
  }

  /// How many time steps the running averages of each normalisation have seen, by name.
  var runningSteps: [String: Int] {
    Dictionary(uniqueKeysWithValues: forEachBatchNormalization { ($0, $1.running.slotsSeen) })
  }

  /// Restores what `runningSteps` and `runningFrames` said; evaluation statistics of a checkpoint count as complete.
  func restoreRunningSteps(_ state: CheckpointState) {
    let steps = state.runningSteps
    for (_, whitening) in whitenings { whitening.hasAverages = true }
    _ = forEachBatchNormalization { name, normalization in
      let slots = normalization.running.mean.rows, seen = steps[name] ?? slots
      normalization.running.markSeen(slots: min(max(seen, 0), slots))
      normalization.evaluation.markSeen(slots: slots)
    }
    setRunningFrames(state.runningFrames)
  }
}

extension Optimizer<Float> {
  /// What the optimiser remembers, tensor by tensor, as `optimizer.velocity.lstm.0.forward.input_weight`.
  func tensors(layout: ParameterLayout) -> [NamedTensor] {
    state.flatMap { name, values in
      layout.tensors.map { NamedTensor(name: "optimizer.\(name).\($0.name)", shape: $0.shape, values: values[$0.range]) }
    }
  }
}
