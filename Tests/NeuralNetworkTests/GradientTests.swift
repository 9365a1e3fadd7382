import NeuralNetwork
import Tensors
import Testing

/// One combination of what the gradient depends on.
struct Variant: CustomTestStringConvertible, Sendable {
  var cell: Cell
  var peepholes: PeepholeConnections
  var placement: Placement
  var statistics: StatisticsKind
  var scope: Scope
  var dropout: Double
  var layers: Int

  var testDescription: String {
    "\(cell) peepholes=\(peepholes) \(placement) \(statistics) \(scope.rawValue) dropout=\(dropout) layers=\(layers)"
  }

  /// What each variant chooses, for counting pairs.
  var choices: [String] {
    ["\(cell)-\(peepholes)", "\(placement)-\(statistics)", scope.rawValue, "\(dropout)", "\(layers)"]
  }

  /// All cells, placements, statistics and scopes; dropout and layers run through their values beside them.
  static let all: [Variant] = {
    let cells: [(Cell, PeepholeConnections)] = [(.lstm, .none), (.lstm, .output), (.lstm, .all), (.rnn, .none)]
    let normalizations: [(Placement, StatisticsKind)] = [
      (.none, .frame), (.input, .frame), (.input, .sequence), (.preactivation, .frame),
    ]
    var variants: [Variant] = []
    for (i, cell) in cells.enumerated() {
      for (j, normalization) in normalizations.enumerated() {
        for (k, scope) in Scope.allCases.enumerated() {
          variants.append(
            Variant(
              cell: cell.0, peepholes: cell.1, placement: normalization.0, statistics: normalization.1, scope: scope,
              dropout: (i + j + k) % 2 == 0 ? 0 : 0.4, layers: 1 + (i + 2 * j + k) % 3))
        }
      }
    }
    return variants
  }()

  /// E ≠ H, so that a mixed-up dimension shows.
  func configuration(steps: Int = 4) -> NetworkConfiguration {
    NetworkConfiguration(
      vocabularySize: 9, embeddingSize: 5, cell: cell, layers: layers, hiddenSize: 4, peepholes: peepholes, dropout: dropout,
      normalization: NormalizationConfiguration(placement: placement, statistics: statistics, epsilon: 1e-2), steps: steps)
  }
}

@Suite struct GradientTests {
  @Test func variantsCoverEveryPair() {
    let values = (0..<5).map { c in Set(Variant.all.map { $0.choices[c] }) }
    #expect(values.map(\.count) == [4, 4, 3, 2, 3])
    for a in 0..<5 {
      for b in a + 1..<5 {
        let pairs = Set(Variant.all.map { $0.choices[a] + "|" + $0.choices[b] })
        #expect(pairs.count == values[a].count * values[b].count)
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
