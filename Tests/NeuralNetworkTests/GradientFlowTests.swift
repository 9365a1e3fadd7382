import NeuralNetwork
import Tensors
import Testing

/// How far the loss of a sequence's last step reaches back, against difference quotients of the plain network.
@Suite struct GradientFlowTests {
  static let cases = MaskTests.cases.filter { $0.variant.scope != .pairs && $0.variant.dropout == 0 && $0.variant.initialState == .zero }
  static let lengths = [[4, 2], [3, 1]]

  @Test(arguments: cases, [OutputRows.frames, .sequenceEnds])
  func normsAreThoseOfDifferences(_ c: MaskTests.Case, _ rows: OutputRows) throws {
    var configuration = c.configuration(steps: 4)
    configuration.outputRows = rows
    let trial = Trial(configuration, scope: c.variant.scope, lengths: Self.lengths)
    let batch = rows == .frames
      ? Minibatch(vocabulary: 9, frames: trial.packed.map(\.frames), width: 5, seed: 12, withoutTarget: false)
      : Minibatch(vocabulary: 9, trial.packed, width: 5, seed: 12)
    trial.mode = .population
    trial.load(batch, tokens: [])
    trial.model.packWeights()
    try trial.forward()
    let found = try trial.model.gradientFlow(trial.workspace, trial.pass)
    let normalizer = ReferenceNetwork.Normalizer.batch(groups: trial.groups.groups, fallback: trial.statistics(\.running))
    let L = configuration.layers, T = 4, H = configuration.hiddenSize
    var network = trial.reference

    /// The summed loss of the last steps, with one output changed.
    func loss(_ nudge: ReferenceNetwork.Nudge) -> Double {
      network.nudge = nudge
      let logits = network.run(batch, trial.packed, steps: T, state: trial.referenceState, normalizer: normalizer).logits
      return Self.lengths.indices.reduce(0) { sum, s in
        Self.lengths[s].enumerated().reduce(sum) { sum, entry in
          let (b, length) = entry, t = rows == .frames ? length - 1 : 0
          return sum + referenceLoss([[logits[s][t][b]]], [batch.targets[s][rows == .frames ? trial.packed[s].lastRow(b) : b]]).loss
        }
      }
    }
    for layer in 0..<L {
      for (s, lengths) in Self.lengths.enumerated() {
        for k in 0..<T {
          var squares = 0.0
          for (b, length) in lengths.enumerated() where length > k {
            for unit in 0..<H {
              func shifted(_ amount: Double) -> Double { loss(.init(layer: layer, shard: s, step: length - 1 - k, sequence: b, unit: unit, amount: amount)) }
              let derivative = (shifted(1e-5) - shifted(-1e-5)) / 2e-5
              squares += derivative * derivative
            }
          }
          expectDerivative(found[s][layer * T + k].squareRoot(), squares.squareRoot(), "\(c) layer \(layer) shard \(s) \(k) steps back")
          #expect(found[s][L * T + k] == Double(lengths.count { $0 > k }))
        }
      }
    }
    // Something reaches back to the first step.
    #expect(found[0][T - 1] > 0)
  }
}
