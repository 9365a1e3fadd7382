import NeuralNetwork
import Tensors

/// A copy of the state that windows carry over, for each layer and local shard.
struct RecurrentState {
  private let copies: [[[(kind: StateKind, values: MatrixView<Float>)]]]
  private let isInitial: Bool

  /// Copies the state of `workspace`.
  init(_ workspace: ModelWorkspace<Float>, of model: SequenceModel<Float>) {
    copies = model.layers.indices.map { layer in
      workspace.capacity.sequences.indices.map { shard in
        model.configuration.cell.shape.states.map { kind in
          let state = workspace.state(kind, layer: layer, shard: shard), copy = MatrixView<Float>(zeros: state.rows, state.columns)
          copy.copy(from: state)
          return (kind, copy)
        }
      }
    }
    isInitial = workspace.beginsWithInitialState
  }

  /// Puts the copy back.
  func restore(to workspace: ModelWorkspace<Float>) {
    for (layer, shards) in copies.enumerated() {
      for (shard, states) in shards.enumerated() {
        for (kind, values) in states { workspace.state(kind, layer: layer, shard: shard).copy(from: values) }
      }
    }
    workspace.beginsWithInitialState = isInitial
  }
}
