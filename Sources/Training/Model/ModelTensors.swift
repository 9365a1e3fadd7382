import NeuralNetwork
import Tensors

// Names and shapes of everything that a checkpoint holds of a model.

extension SequenceModel<Float> {
  /// The trained tensors, by their names in `model.safetensors`.
  var parameterTensors: [NamedTensor] {
    layout.tensors.map { NamedTensor(name: $0.name, shape: $0.shape, values: parameters[$0.range]) }
  }

  /// The statistics that evaluation uses, as `….running_mean` and `….running_variance`.
  var evaluationTensors: [NamedTensor] { statisticsTensors(prefix: "") { $0.evaluation } }

  /// The exponential averages of training, for `training.safetensors`.
  var runningTensors: [NamedTensor] { statisticsTensors(prefix: "running.") { $0.running } }

  private func statisticsTensors(
    prefix: String, _ statistics: (BatchNormalization<Float>) -> RunningStatistics<Float>
  ) -> [NamedTensor] {
    layers.flatMap { layer -> [NamedTensor] in
      guard let normalization = layer.normalization else { return [] }
      let values = statistics(normalization), name = prefix + layer.prefix + normalization.site.name
      let isFrame = configuration.normalization.statistics == .frame
      let shape = isFrame ? [values.mean.rows, values.mean.columns] : [values.mean.columns]
      return [
        NamedTensor(name: name + ".running_mean", shape: shape, values: values.mean.vector),
        NamedTensor(name: name + ".running_variance", shape: shape, values: values.variance.vector),
      ]
    }
  }

  /// How many time steps the running averages of each normalisation have seen, by name.
  var runningSteps: [String: Int] {
    var steps: [String: Int] = [:]
    for layer in layers {
      if let normalization = layer.normalization {
        steps[layer.prefix + normalization.site.name] = normalization.running.slotsSeen
      }
    }
    return steps
  }

  /// Restores what `runningSteps` says; evaluation statistics of a checkpoint count as complete.
  func restoreRunningSteps(_ steps: [String: Int]) {
    for layer in layers {
      if let normalization = layer.normalization {
        let slots = normalization.running.mean.rows
        let seen = steps[layer.prefix + normalization.site.name] ?? slots
        normalization.running.markSeen(slots: min(max(seen, 0), slots))
        normalization.evaluation.markSeen(slots: slots)
      }
    }
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
