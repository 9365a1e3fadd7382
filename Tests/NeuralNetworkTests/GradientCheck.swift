import NeuralNetwork
import Tensors
import Testing

/// A gradient and what central differences say of it.
///
/// With losses of order 1 and steps of 1e-5 the rounding error of a difference quotient is about 1e-16 / 1e-5 = 1e-11 times the number of
/// additions, and its truncation error 1e-10 times the third derivative, which normalisation over few frames makes as large as 10³. A mistake in a
/// derivative shows in the first digits.
func expectDerivative(_ analytic: Double, _ numeric: Double, _ name: @autoclosure () -> String, _ location: SourceLocation = #_sourceLocation) {
  #expect(
    abs(analytic - numeric) <= 1e-7 + 1e-5 * max(abs(analytic), abs(numeric)), "\(name()): \(analytic) is not \(numeric)",
    sourceLocation: location)
}

extension Trial {
  /// The central difference of `scale · loss` along `direction`, a change of some parameters.
  private func difference(_ scale: Double, _ direction: [(index: Int, change: Double)], step h: Double) throws -> Double {
    let before = direction.map { model.parameters[$0.index] }
    func shifted(_ h: Double) throws -> Double {
      for (i, d) in direction.enumerated() { model.parameters[d.index] = before[i] + h * d.change }
      defer { for (i, d) in direction.enumerated() { model.parameters[d.index] = before[i] } }
      return try loss()
    }
    return scale * (try shifted(h) - shifted(-h)) / (2 * h)
  }

  /// Compares one derivative along `direction`. Where a difference quotient is not near enough, the error of its truncation is taken
  /// out by a second one (Richardson's extrapolation).
  private func expect(
    _ analytic: Double, _ scale: Double, _ direction: [(index: Int, change: Double)], _ name: @autoclosure () -> String
  ) throws -> Double {
    var numeric = try difference(scale, direction, step: 1e-5)
    if abs(analytic - numeric) > 1e-7 + 1e-5 * max(abs(analytic), abs(numeric)) {
      numeric += (numeric - (try difference(scale, direction, step: 2e-5))) / 3
    }
    expectDerivative(analytic, numeric, name())
    return numeric
  }

  /// An initial output that is the same for all sequences adds the same to `W_h h` of all, which frame-wise statistics take away, unless
  /// the cell has another way for it.
  private func hasNoInfluence(_ tensor: TensorSlice) -> Bool {
    let n = configuration.normalization
    return tensor.name.hasSuffix("initial_hidden") && configuration.cell != .gru && n.method == .batch
      && [.preactivation, .state, .separate].contains(n.placement)
  }

  /// Compares `gradient` with central differences: every element of small tensors, some of large ones, and random directions through all.
  /// - Returns: elements compared whose derivative is not 0, so that a caller can see that the comparison was not empty.
  @discardableResult
  func expectGradient(_ gradient: [Double], scale: Double, elements limit: Int = 40, directions: Int = 5, name: String) throws -> Int {
    var random = TestRandom(77), compared = 0
    for tensor in model.layout.tensors {
      let chosen = tensor.count <= limit ? Array(tensor.range) : (0..<limit).map { _ in tensor.offset + random.index(tensor.count) }
      var largest = 0.0
      for i in chosen {
        let numeric = try expect(gradient[i], scale, [(i, 1)], "\(name) \(tensor.name)[\(i - tensor.offset)]")
        largest = max(largest, abs(numeric))
        if abs(numeric) > 1e-6 { compared += 1 }
      }
      #expect(largest > 1e-5 || hasNoInfluence(tensor), "\(name) \(tensor.name) has no influence on the loss")
    }
    for number in 0..<directions {
      let elements = model.layout.tensors.flatMap { Array($0.range) }
      var direction = elements.map { (index: $0, change: random.value()) }
      let norm = direction.reduce(0) { $0 + $1.change * $1.change }.squareRoot()
      for i in direction.indices { direction[i].change /= norm }
      let analytic = direction.reduce(0) { $0 + gradient[$1.index] * $1.change }
      _ = try expect(analytic, scale, direction, "\(name) direction \(number)")
    }
    return compared
  }
}
