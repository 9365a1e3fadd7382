import NeuralNetwork
import Tensors

/// An exponential average of the weights, which is evaluated beside them (Polyak & Juditsky 1992, with weights that fall).
///
/// After `k` updates it is `Σ d^(k-i) θ_i / Σ d^(k-i)`, where `θ_i` are the weights after update `i` of those `k`. So it does not
/// remember the weights before the first of them.
final class WeightAverage {
  /// In the layout of the parameters.
  let values: VectorView<Float>
  /// Updates that it is taken over.
  private(set) var updates = 0
  private let decay: Double
  // d^updates.
  private var power = 1.0

  init(_ configuration: TrainingConfiguration.Average, layout: ParameterLayout) {
    decay = configuration.decay
    values = VectorView(zeros: layout.count)
  }

  /// Takes the weights after an update.
  func add(_ parameters: VectorView<Float>) {
    updates += 1
    power *= decay
    let weight = (1 - decay) / (1 - power)
    values.blend(keep: Float(1 - weight), weight: Float(weight), parameters)
  }

  /// Goes on with what a checkpoint holds in `values`.
  func resume(updates: Int) {
    self.updates = updates
    power = 1
    for _ in 0..<updates where power > 0 { power *= decay }
  }

  /// Calls `body` while `parameters` hold the average. They are what they were afterwards.
  func substitute<R>(for parameters: VectorView<Float>, _ body: () throws -> R) rethrows -> R {
    exchange(with: parameters)
    defer { exchange(with: parameters) }
    return try body()
  }

  private func exchange(with parameters: VectorView<Float>) {
    let piece = min(values.count, 1 << 16), held = VectorView<Float>(zeros: piece)
    for first in stride(from: 0, to: values.count, by: piece) {
      let range = first..<min(values.count, first + piece), here = held[0..<range.count]
      here.copy(from: parameters[range])
      parameters[range].copy(from: values[range])
      values[range].copy(from: here)
    }
  }

  /// Reads the averaged weights of a checkpoint.
  /// - Returns: whether it has any.
  /// - Throws: `CheckpointError` and `SafetensorsError`.
  func read(from checkpoint: Checkpoint, layout: ParameterLayout) throws -> Bool {
    guard checkpoint.state.averagedUpdates != nil else { return false }
    let file = try checkpoint.training()
    for tensor in tensors(layout: layout) { try file.read(tensor.name, into: tensor.values) }
    return true
  }

  /// Its tensors in `training.safetensors`, as `average.output.weight`.
  func tensors(layout: ParameterLayout) -> [NamedTensor] {
    layout.tensors.map { NamedTensor(name: "average.\($0.name)", shape: $0.shape, values: values[$0.range]) }
  }
}
