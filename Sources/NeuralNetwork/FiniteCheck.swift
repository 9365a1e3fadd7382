import Tensors

extension SequenceModel {
  /// The first place, in the order of computation, that holds a value which is not finite after a pass: a parameter tensor of a layer, or the layer's
  /// activations; nil if all are finite.
  public func firstNotFinite(_ workspace: ModelWorkspace<S>) -> String? {
    func bad(_ prefix: String) -> String? {
      for slice in layout.tensors where slice.name.hasPrefix(prefix) && parameters[slice.range].firstNotFinite != nil {
        return slice.name
      }
      return nil
    }
    if let name = bad("embedding.") { return name }
    for (layer, shards) in zip(layers, workspace.layers) {
      if let name = bad(layer.prefix) { return name }
      // Where layers have the same memory, that of the last one alone is there.
      if workspace.sharesLayers && layer.index < configuration.layers - 1 { continue }
      for w in shards where (0..<w.sequences.frames).contains(where: { w.h[$0].firstNotFinite != nil }) {
        return "the outputs of " + layer.prefix.dropLast()
      }
    }
    return bad("output.") ?? nil
  }
}
