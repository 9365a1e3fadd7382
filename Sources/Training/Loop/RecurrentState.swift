import NeuralNetwork
import Tensors

/// A copy of the state that windows carry over, for each layer and local shard.
struct RecurrentState {
  private let copies: [[(c: MatrixView<Float>?, h: MatrixView<Float>)]]

  /// Copies the state of `workspace`.
  init(_ workspace: ModelWorkspace<Float>, layers: Int) {
    func copy(_ matrix: MatrixView<Float>) -> MatrixView<Float> {
      let result = MatrixView<Float>(zeros: matrix.rows, matrix.columns)
      result.copy(from: matrix)
      return result
    }
    copies = (0..<layers).map { layer in
      workspace.capacity.sequences.indices.map { shard in
        let state = workspace.state(layer: layer, shard: shard)
        return (state.c.map(copy), copy(state.h))
      }
    }
  }

  /// Puts the copy back.
  func restore(to workspace: ModelWorkspace<Float>) {
    for (layer, shards) in copies.enumerated() {
      for (shard, copy) in shards.enumerated() {
        let state = workspace.state(layer: layer, shard: shard)
        state.h.copy(from: copy.h)
        if let c = copy.c { state.c?.copy(from: c) }
      }
    }
  }
}
