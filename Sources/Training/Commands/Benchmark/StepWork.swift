import NeuralNetwork

// What one update has to compute and to move, whoever computes it. N frames, B sequences, M targets, I inputs and H cells of a layer, D directions,
// G rows of a weight matrix, V classes.
//
// Products, in multiplications and additions (2 each), for every layer and direction:
//
//   input product      z = x W_xᵀ: 2 N G I; dx = dz W_x: 2 N G I, where something below wants it
//   recurrence         h_{t-1} W_hᵀ: 2 N' G H; da_t W_h: 2 (N − B) G H, for no state before the first step has a gradient
//   weight gradients   dW_x = dzᵀ x: 2 N G I; dW_h = daᵀ h_{t-1}: 2 N' G H
//   softmax            logits, their gradient towards the top layer, and dW: 6 M V D H
//
// N' is N where sequences begin with the state of the minibatch before, and N − B where they begin with zero, which adds nothing.

/// Floating-point operations and bytes of one update.
package struct StepWork: Sendable {
  /// Floating-point operations in matrix products of all ranks, by phase.
  package let products: [Phase: Double]
  /// Bytes that the update of one replica's parameters reads and writes at least: gradient, parameters, and what the rule remembers.
  package let optimizerBytes: Double
  /// Bytes that the reduction reads and writes at least on each rank: every rank's gradient once, and the sum, which ranks may share, once
  /// for all of them. 0 on a single rank.
  package let reductionBytes: Double
  /// Bytes of one replica's gradient: the dense tensors, and the rows of the embedding that occur.
  package let gradientBytes: Double

  /// Floating-point operations in matrix products of all phases.
  package var operations: Double { products.values.reduce(0, +) }

  /// - size: what the update works on.
  /// - carriesState: whether sequences begin with the state of the minibatch before.
  /// - method: the optimiser's rule, with its momentum.
  package init(
    _ network: NetworkConfiguration, _ size: StepSize, carriesState: Bool, method: OptimizationMethod, momentum: Double, ranks: Int
  ) {
    products = Self.products(network, size, carriesState: carriesState)
    let E = network.embeddingSize, all = ParameterLayout(network).parameterCount, bytes = Double(MemoryLayout<Float>.size)
    let gradient = all - network.sparseRows * E + size.embeddingRows * E
    // What the rule remembers of each parameter.
    let remembered =
      switch method {
      case .sgd: momentum > 0 ? 1 : 0
      case .adam, .rmsprop: 2
      }
    // Rows of the embedding without a gradient stay as they are, unless the rule remembers something that moves them.
    let moved = remembered > 0 ? all : gradient
    gradientBytes = bytes * Double(gradient)
    optimizerBytes = gradientBytes + bytes * Double(moved * (2 + 2 * remembered))
    reductionBytes = ranks > 1 ? gradientBytes * (1 + 1 / Double(ranks)) : 0
  }

  private static func products(_ c: NetworkConfiguration, _ size: StepSize, carriesState: Bool) -> [Phase: Double] {
    let N = Double(size.frames), started = N - Double(size.sequences), previous = carriesState ? N : started
    let (G, H) = (Double(c.gateSize), Double(c.hiddenSize))
    var products: [Phase: Double] = [.softmax: 6 * Double(size.targets) * Double(c.classes) * Double(c.outputSize)]
    for layer in 0..<c.layers {
      let I = Double(c.inputSize(ofLayer: layer)), D = Double(c.directions.count)
      // Nothing below features wants their gradient.
      let hasInputGradient = layer > 0 || c.embeddingSize > 0
      products[.inputProduct, default: 0] += D * 2 * N * G * I * (hasInputGradient ? 2 : 1)
      // A whitened input is a product, and so is its gradient.
      if c.normalization.placement == .whitenedInput { products[.inputProduct, default: 0] += D * 2 * N * I * I * (hasInputGradient ? 2 : 1) }
      products[.recurrence, default: 0] += D * 2 * (previous + started) * G * H
      products[.weightGradients, default: 0] += D * 2 * (N * G * I + previous * G * H)
    }
    return products
  }
}
