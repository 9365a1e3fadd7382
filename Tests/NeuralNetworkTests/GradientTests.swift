import NeuralNetwork
import Tensors
import Testing

/// One combination of what the gradient depends on.
struct Variant: CustomTestStringConvertible, Sendable {
  var cell: Cell
  var peepholes: PeepholeConnections
  var method = NormalizationMethod.batch
  var placement: Placement
  var statistics: StatisticsKind
  var scope: Scope
  var dropout: Double
  var layers: Int
  var initialState = InitialState.zero

  var testDescription: String {
    "\(cell) peepholes=\(peepholes) \(method) \(placement) \(statistics) \(scope.rawValue) dropout=\(dropout) layers=\(layers) \(initialState)"
  }

  /// What each variant chooses, for counting pairs.
  var choices: [String] {
    ["\(cell)-\(peepholes)", "\(method)-\(placement)-\(statistics)", scope.rawValue, "\(dropout)", "\(layers)", "\(initialState)"]
  }

  static let cells: [(Cell, PeepholeConnections)] = [(.lstm, .none), (.lstm, .output), (.lstm, .all), (.rnn, .none), (.gru, .none)]

  /// Methods, placements and statistics; the first are combined with every scope, the others with one for each cell.
  static let normalizations: [(NormalizationMethod, Placement, StatisticsKind)] =
    [(.batch, .none, .frame), (.batch, .input, .frame), (.batch, .input, .sequence), (.batch, .preactivation, .frame)]
    + [Placement.state, .separate, .hidden].map { (.batch, $0, .frame) }
    + [Placement.input, .preactivation, .state, .separate, .hidden].map { (.layer, $0, .frame) }

  /// All cells, methods, placements, statistics and scopes; the others run through their values beside them.
  static let all: [Variant] = {
    var variants: [Variant] = []
    for (i, cell) in cells.enumerated() {
      for (j, normalization) in normalizations.enumerated() where cell.0.shape.placements.contains(normalization.1) {
        for (k, scope) in Scope.allCases.enumerated() where j < 4 || k == (i + j) % 3 {
          variants.append(
            Variant(
              cell: cell.0, peepholes: cell.1, method: normalization.0, placement: normalization.1, statistics: normalization.2,
              scope: scope, dropout: (i + j + k) % 2 == 0 ? 0 : 0.4, layers: 1 + (i + 2 * j + k) % 3,
              initialState: (i + j / 2 + k) % 2 == 0 ? .zero : .learned))
        }
      }
    }
    return variants
  }()

  /// E ≠ H, so that a mixed-up dimension shows.
  func configuration(steps: Int = 4) -> NetworkConfiguration {
    var configuration = NetworkConfiguration(
      vocabularySize: 9, embeddingSize: 5, cell: cell, layers: layers, hiddenSize: 4, peepholes: peepholes, dropout: dropout,
      normalization: NormalizationConfiguration(method: method, placement: placement, statistics: statistics, epsilon: 1e-2),
      steps: steps)
    configuration.initialState = initialState
    return configuration
  }
}

@Suite struct GradientTests {
  /// Products in parts, between which reductions move, give the bits of whole products, and say how far gradients have come.
  @Test(arguments: [Cell.lstm, .rnn], [Placement.input, .preactivation])
  func productsInParts(_ cell: Cell, _ placement: Placement) throws {
    let configuration = NetworkConfiguration(
      vocabularySize: 9, embeddingSize: 7, cell: cell, layers: 2, hiddenSize: 52, dropout: 0.3,
      normalization: NormalizationConfiguration(placement: placement), steps: 25)
    let trial = Trial(configuration, scope: .global, sequences: [3, 2])
    let batch = Minibatch(vocabulary: 9, sequences: [3, 2], steps: 25, seed: 60)
    let whole = try trial.gradient(of: batch, gradientScale: 0.2)
    let parts = try trial.gradient(of: batch, gradientScale: 0.2, operationsBetweenPolls: 1)
    #expect(parts.loss == whole.loss && parts.gradient == whole.gradient)
    // Of a layer's two gradients [G, ·], and of its inputs [N, I], every part but the last.
    let cuts = (configuration.gateSize - 1) / 48
    #expect(parts.sink.advances.count == whole.sink.advances.count + 2 * 2 * 2 * cuts)
    #expect(cuts >= 1 && parts.sink.polls == whole.sink.polls + 2 * 2 * 2 * cuts + 2 * (74 / 48 + 49 / 48))
  }

  @Test func variantsCoverEveryPair() {
    let kinds = Variant.all[0].choices.count, values = (0..<kinds).map { c in Set(Variant.all.map { $0.choices[c] }) }
    #expect(values.map(\.count) == [5, 12, 3, 2, 3, 2])
    for a in 0..<kinds {
      for b in a + 1..<kinds {
        let pairs = Set(Variant.all.map { $0.choices[a] + "|" + $0.choices[b] })
        // A GRU has no preactivation to normalise as a whole, nor one part of it with β: two placements by both methods.
        #expect(pairs.count == values[a].count * values[b].count - (a == 0 && b == 1 ? 4 : 0), "\(a) \(b)")
      }
    }
  }

  @Test(arguments: Variant.all)
  func gradientIsTheDerivativeOfTheTotalLoss(_ variant: Variant) throws {
    let sequences = [3, 4, 2, 3], T = 4
    let trial = Trial(variant.configuration(steps: T), scope: variant.scope, sequences: sequences)
    let batch = Minibatch(vocabulary: 9, sequences: sequences, steps: T, seed: 5)
    let scale = 1 / 12.0
    let (loss, gradient, sink) = try trial.gradient(of: batch, gradientScale: scale)
    #expect(abs(loss - (try trial.loss())) <= 1e-12 * loss, "backward and evaluation add up the same losses in other orders")
    let compared = try trial.expectGradient(gradient, scale: scale, name: variant.testDescription)
    #expect(compared > 40)
    let order = ["output"] + (0..<variant.layers).reversed().map { "layer(\($0))" } + ["embedding"]
    #expect(sink.events == order.flatMap { g in sequences.indices.flatMap { ["begin \(g) \($0)", "end \(g) \($0)"] } })
    // The output layer's classes are one block.
    #expect(sink.advances == sequences.map { _ in trial.model.layout.tensor("output.weight").range.upperBound })
    // At every time step, after the products of each shard, and after each block of classes.
    #expect(sink.polls == variant.layers * (T + sequences.count) + sink.advances.count)
  }
}
