import NeuralNetwork
import Testing

/// Names and shapes of tensors are a promise to other programs.
@Suite struct LayoutTests {
  private func shapes(_ cell: Cell, _ placement: Placement, _ peepholes: PeepholeConnections) -> [String: [Int]] {
    let c = NetworkConfiguration(
      vocabularySize: 9, embeddingSize: 5, cell: cell, layers: 2, hiddenSize: 4, peepholes: peepholes,
      normalization: NormalizationConfiguration(placement: placement), steps: 3)
    return Dictionary(uniqueKeysWithValues: ParameterLayout(c).tensors.map { ($0.name, $0.shape) })
  }

  @Test func lstm() {
    #expect(
      shapes(.lstm, .none, .all) == [
        "embedding.weight": [9, 5], "output.weight": [9, 4], "output.bias": [9],
        "lstm.0.forward.input_weight": [16, 5], "lstm.0.forward.recurrent_weight": [16, 4], "lstm.0.forward.bias": [16],
        "lstm.0.forward.peephole": [3, 4], "lstm.1.forward.input_weight": [16, 4], "lstm.1.forward.recurrent_weight": [16, 4],
        "lstm.1.forward.bias": [16], "lstm.1.forward.peephole": [3, 4],
      ])
    let input = shapes(.lstm, .input, .output)
    #expect(input["lstm.1.forward.input_norm.gamma"] == [16] && input["lstm.1.forward.input_norm.beta"] == [16])
    #expect(input["lstm.0.forward.peephole"] == [4] && input["lstm.0.forward.bias"] == nil)
  }

  /// A tied embedding lies in the place of the output layer's weights.
  @Test func tiedEmbedding() {
    var c = NetworkConfiguration(
      vocabularySize: 9, embeddingSize: 4, cell: .lstm, layers: 1, hiddenSize: 4, normalization: NormalizationConfiguration(placement: .none),
      steps: 3)
    let apart = ParameterLayout(c)
    c.tiesEmbedding = true
    let tied = ParameterLayout(c)
    #expect(apart.outputWeight.name == "output.weight" && tied.outputWeight.name == "embedding.weight")
    #expect(tied.tensors.map(\.name) == apart.tensors.map(\.name).dropLast().map { $0 == "output.weight" ? "embedding.weight" : $0 })
    #expect(tied.outputWeight.shape == [9, 4] && tied.output == apart.output)
    #expect(tied.embedding == tied.count..<tied.count && tied.parameterCount == apart.parameterCount - 36)
  }

  @Test func rnn() {
    let c = shapes(.rnn, .preactivation, .none)
    #expect(c["rnn.0.forward.input_weight"] == [4, 5] && c["rnn.1.forward.recurrent_weight"] == [4, 4])
    #expect(c["rnn.0.forward.preactivation_norm.gamma"] == [4] && c["rnn.0.forward.preactivation_norm.beta"] == [4])
    #expect(c.count == 3 + 2 * 4)
  }

  @Test func tensorsLieApartAndAligned() {
    for variant in Variant.all {
      let layout = ParameterLayout(variant.configuration())
      var end = 0
      for tensor in layout.tensors {
        #expect(tensor.offset >= end && tensor.offset % 16 == 0)
        end = tensor.range.upperBound
      }
      #expect(layout.count >= end && layout.count % 16 == 0)
      let groups = layout.layers + [layout.output, layout.embedding]
      #expect(groups.first?.lowerBound == 0 && groups.last?.upperBound == layout.count)
      #expect(zip(groups, groups.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound })
      #expect(layout.parameterCount == layout.tensors.reduce(0) { $0 + $1.range.count })
    }
  }
}
