import NeuralNetwork
import Tensors
import Testing

/// Updates of a whole model against the rules written for one number, with embedding rows that come and go.
@Suite struct OptimizerTests {
  private static let configuration = NetworkConfiguration(
    vocabularySize: 6, embeddingSize: 3, cell: .lstm, layers: 1, hiddenSize: 2, normalization: NormalizationConfiguration(placement: .input),
    steps: 2)

  /// One parameter and what its rule remembers.
  private struct Scalar {
    var theta: Double
    var a = 0.0, b = 0.0

    mutating func update(
      _ method: OptimizationMethod, _ g: Double, rate: Double, momentum m: Double, decayRate rho: Double, epsilon: Double?, step: Int
    ) {
      switch method {
      case .sgd:
        a = m * a + g
        theta -= rate * a
      case .adam:
        a = 0.9 * a + 0.1 * g
        b = 0.999 * b + 0.001 * g * g
        let (p1, p2) = (1...step).reduce((1.0, 1.0)) { p, _ in (p.0 * 0.9, p.1 * 0.999) }
        theta -= rate * (a / (1 - p1)) / ((b / (1 - p2)).squareRoot() + (epsilon ?? 1e-8))
      case .rmsprop:
        a = rho * a + (1 - rho) * g * g
        b = m * b - rate * g / (a + (epsilon ?? 1e-4)).squareRoot()
        theta += b
      }
    }
  }

  @Test(arguments: [
    (OptimizationMethod.sgd, 0.0, 0.95, Double?.none, 0.0), (.sgd, 0.9, 0.95, nil, 0), (.adam, 0, 0.95, nil, 0), (.rmsprop, 0, 0.95, nil, 0),
    (.rmsprop, 0.9, 0.95, nil, 0), (.rmsprop, 0.5, 0, nil, 0), (.rmsprop, 0, 0.999, nil, 0), (.rmsprop, 0, 0.5, 0.25, 0),
    (.adam, 0, 0.95, 0.25, 0), (.sgd, 0, 0.95, nil, 2), (.sgd, 0.9, 0.95, nil, 2), (.adam, 0, 0.95, nil, 2), (.rmsprop, 0.9, 0.95, nil, 2),
  ])
  func updates(_ method: OptimizationMethod, _ momentum: Double, _ decayRate: Double, _ epsilon: Double?, _ weightDecay: Double) {
    let layout = ParameterLayout(Self.configuration), E = 3, first = layout.embedding.lowerBound
    let parameters = VectorView<Double>(zeros: layout.count)
    var random = TestRandom(3)
    var scalars = [Int: Scalar]()
    for i in layout.tensors.flatMap({ Array($0.range) }) {
      parameters[i] = random.value()
      scalars[i] = Scalar(theta: parameters[i])
    }
    let optimizer = Optimizer<Double>(
      method, momentum: momentum, decayRate: decayRate, weightDecay: weightDecay, epsilon: epsilon, configuration: Self.configuration, layout: layout)
    // Biases, γ, β and the like keep their size.
    let weights = layout.tensors.filter { $0.name.hasSuffix("weight") }
    #expect(weights.count == 4)
    for (number, rows) in [[0, 2, 5], [1], [], [2, 3]].enumerated() {
      let gradient = VectorView<Double>(zeros: first + rows.count * E), s = 0.5, rate = 0.1
      for i in layout.tensors.filter({ $0.name != "embedding.weight" }).flatMap({ Array($0.range) }) { gradient[i] = random.value() }
      for i in first..<gradient.count { gradient[i] = random.value() }
      // A row that is handed over without having occurred.
      if number == 3 { gradient[first..<first + E].fill(0) }
      optimizer.update(
        parameters, gradient: gradient, embeddingRows: rows.map { Int32($0) }, gradientScale: s, learningRate: rate, step: number + 1)
      for i in scalars.keys {
        var g = i < first ? gradient[i] : 0
        if i >= first, let row = rows.firstIndex(of: (i - first) / E) { g = gradient[first + row * E + (i - first) % E] }
        let hasGradient = i < first || rows.firstIndex(of: (i - first) / E).map { number < 3 || $0 > 0 } ?? false
        if hasGradient && weights.contains(where: { $0.range.contains(i) }) { scalars[i]?.theta *= 1 - rate * weightDecay }
        scalars[i]?.update(method, s * g, rate: rate, momentum: momentum, decayRate: decayRate, epsilon: epsilon, step: number + 1)
      }
      for (i, scalar) in scalars {
        // The same few operations in double precision; powers are multiplied out in another order.
        #expect(abs(parameters[i] - scalar.theta) <= 1e-12, "update \(number + 1), parameter \(i)")
      }
    }
    #expect(optimizer.state.map(\.name) == (method == .sgd ? (momentum > 0 ? ["velocity"] : []) :
      method == .adam ? ["first_moment", "second_moment"] : ["mean_square", "velocity"]))
    // The gaps between tensors stay 0.
    #expect((0..<layout.count).allSatisfy { scalars[$0] != nil || parameters[$0] == 0 })
  }
}
