import NeuralNetwork
import Tensors
import Testing

@Suite struct InitializationTests {
  private func configuration(_ cell: Cell, _ placement: Placement, peepholes: PeepholeConnections = .all) -> NetworkConfiguration {
    NetworkConfiguration(
      vocabularySize: 40, embeddingSize: 12, cell: cell, layers: 2, hiddenSize: 16, peepholes: cell == .lstm ? peepholes : .none,
      normalization: NormalizationConfiguration(placement: placement, gamma: 0.3), steps: 3)
  }

  private func initialized(
    _ c: NetworkConfiguration, _ scheme: InitializationScheme, recurrent: RecurrentScheme? = nil, range: Double = 0.1,
    forgetBias: Double = 0, deviation: Double? = nil, seed: UInt64 = 1
  ) -> SequenceModel<Float> {
    let model = SequenceModel<Float>(c)
    model.initialize(
      Initialization(
        scheme: scheme, recurrentScheme: recurrent, range: range, forgetBias: forgetBias, embeddingDeviation: deviation), seed: seed)
    return model
  }

  private func values(_ model: SequenceModel<Float>, _ name: String) -> [Double] {
    model.parameters[model.layout.tensor(name).range].array.map(Double.init)
  }

  private func isUniform(_ values: [Double], _ range: Double) -> Bool {
    let n = Double(values.count), mean = values.reduce(0, +) / n, variance = values.reduce(0) { $0 + $1 * $1 } / n
    // Five standard errors of the mean (range / √3n) and of the variance (range² · √(4/45n)).
    return values.allSatisfy { abs($0) <= range } && abs(mean) < 5 * range / (3 * n).squareRoot()
      && abs(variance - range * range / 3) < 5 * range * range * (4 / (45 * n)).squareRoot()
  }

  @Test(arguments: Cell.allCases, [Placement.none, .input, .preactivation])
  func uniform(_ cell: Cell, _ placement: Placement) {
    let model = initialized(configuration(cell, placement), .uniform)
    var kinds = Set<String>()
    for tensor in model.layout.tensors {
      let kind = tensor.name.split(separator: ".").last.map(String.init) ?? ""
      kinds.insert(kind)
      let v = values(model, tensor.name)
      switch kind {
      case "gamma": #expect(v.allSatisfy { $0 == Double(Float(0.3)) })
      case "bias", "beta": #expect(v.allSatisfy { $0 == 0 })
      default: #expect(isUniform(v, Double(Float(0.1))), "\(tensor.name)")
      }
    }
    #expect(kinds.contains(placement == .none ? "bias" : "beta") && kinds.contains("recurrent_weight"))
    #expect(kinds.contains("peephole") == (cell == .lstm))
  }

  @Test func glorot() {
    let model = initialized(configuration(.lstm, .none), .glorot)
    for (name, fans) in [
      ("lstm.0.forward.input_weight", 16 + 12), ("lstm.1.forward.input_weight", 16 + 16), ("lstm.0.forward.recurrent_weight", 16 + 16),
      ("output.weight", 40 + 16), ("embedding.weight", 40 + 12),
    ] {
      #expect(isUniform(values(model, name), Double(Float((6 / Double(fans)).squareRoot()))), "\(name)")
    }
    #expect(values(model, "lstm.0.forward.peephole").allSatisfy { $0 == 0 })
  }

  @Test func orthogonal() {
    let model = initialized(configuration(.lstm, .none), .orthogonal)
    for (name, columns) in [
      ("lstm.0.forward.input_weight", 12), ("lstm.1.forward.input_weight", 16), ("lstm.1.forward.recurrent_weight", 16),
    ] {
      let v = values(model, name)
      for gate in 0..<4 {
        for a in 0..<columns {
          for b in 0..<columns {
            let dot = (0..<16).reduce(0) { $0 + v[(gate * 16 + $1) * columns + a] * v[(gate * 16 + $1) * columns + b] }
            // Sixteen products rounded to single precision.
            #expect(abs(dot - (a == b ? 1 : 0)) < 1e-6, "\(name) gate \(gate) columns \(a) \(b)")
          }
        }
      }
      #expect(Array(v[..<columns]) != Array(v[16 * columns..<17 * columns]), "every gate is drawn by itself")
    }
    #expect(isUniform(values(model, "output.weight"), Double(Float(0.1))))
  }

  /// Recurrent weights by a scheme of their own; all other tensors keep their bits.
  @Test(arguments: Cell.allCases, InitializationScheme.allCases)
  func recurrentScheme(_ cell: Cell, _ scheme: InitializationScheme) {
    let c = configuration(cell, .none), G = cell.shape.gates, H = 16
    let plain = initialized(c, scheme), identity = initialized(c, scheme, recurrent: .identity)
    let orthogonal = initialized(c, scheme, recurrent: .orthogonal), reference = initialized(c, .orthogonal)
    for tensor in plain.layout.tensors.map(\.name) {
      if tensor.hasSuffix(".recurrent_weight") {
        let v = values(identity, tensor), candidate = cell == .rnn ? 0 : 2
        for gate in 0..<G {
          func row(_ i: Int) -> ArraySlice<Double> { v[(gate * H + i) * H..<(gate * H + i + 1) * H] }
          for i in 0..<H {
            if gate == candidate { #expect(row(i).elementsEqual((0..<H).map { $0 == i ? 1 : 0 }), "\(tensor)") }
            for j in 0...i {
              let product = zip(row(i), row(j)).reduce(0) { $0 + $1.0 * $1.1 }
              #expect(abs(product - (i == j ? 1 : 0)) < 1e-5, "\(tensor)")
            }
          }
        }
        #expect(values(orthogonal, tensor) == values(reference, tensor), "\(tensor)")
      } else {
        #expect(values(identity, tensor) == values(plain, tensor) && values(orthogonal, tensor) == values(plain, tensor), "\(tensor)")
      }
    }
  }

  @Test func forgetBias() {
    for (placement, name) in [
      (Placement.none, "bias"), (.input, "input_norm.beta"), (.preactivation, "preactivation_norm.beta"),
    ] {
      let model = initialized(configuration(.lstm, placement), .uniform, forgetBias: 1)
      for layer in 0..<2 {
        let wanted = (0..<64).map { 16..<32 ~= $0 ? 1.0 : 0 }
        #expect(values(model, "lstm.\(layer).forward.\(name)") == wanted)
      }
      #expect(values(model, "output.bias").allSatisfy { $0 == 0 })
    }
    // A plain cell has no forget gate, and an output bias as long as the gates is still not theirs.
    #expect(values(initialized(configuration(.rnn, .none), .uniform, forgetBias: 1), "rnn.0.forward.bias").allSatisfy { $0 == 0 })
    var c = configuration(.lstm, .none)
    c.classes = 64
    #expect(values(initialized(c, .uniform, forgetBias: 1), "output.bias").allSatisfy { $0 == 0 })
  }

  @Test func embeddingDeviation() {
    var c = configuration(.rnn, .preactivation)
    c.classes = 500
    let v = values(initialized(c, .uniform, deviation: 2), "embedding.weight"), n = Double(v.count)
    // Five standard errors: 2/√n of the mean, 4·√(2/n) of the variance.
    #expect(abs(v.reduce(0, +) / n) < 5 * 2 / n.squareRoot())
    #expect(abs(v.reduce(0) { $0 + $1 * $1 } / n - 4) < 5 * 4 * (2 / n).squareRoot())
    #expect(v.contains { abs($0) > 4 })
  }

  @Test func seedsAndTensors() {
    let c = configuration(.lstm, .none)
    let a = initialized(c, .uniform), again = initialized(c, .uniform), other = initialized(c, .uniform, seed: 2)
    #expect(a.parameters.array == again.parameters.array)
    #expect(values(a, "output.weight") != values(other, "output.weight"))
    #expect(Array(values(a, "lstm.0.forward.recurrent_weight")[..<64]) != Array(values(a, "lstm.1.forward.recurrent_weight")[..<64]))
  }

  /// A tensor's values do not depend on what else the model has, so that a baseline and its normalised twin start from the same weights.
  @Test func valuesDependOnTheTensorAlone() {
    let plain = initialized(configuration(.lstm, .none), .uniform), normalized = initialized(configuration(.lstm, .input), .uniform)
    let bare = initialized(configuration(.lstm, .none, peepholes: .none), .uniform)
    for name in [
      "lstm.0.forward.input_weight", "lstm.1.forward.input_weight", "lstm.1.forward.recurrent_weight", "output.weight", "embedding.weight",
    ] {
      let isSame = values(plain, name) == values(normalized, name) && values(plain, name) == values(bare, name)
      #expect(isSame, "\(name)")
    }
  }
}
