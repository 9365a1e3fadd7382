import NeuralNetwork
import Tensors
import Testing

/// The output layer runs in chunks of rows; how many rows a chunk has must not matter.
@Suite struct OutputLayerTests {
  // Shards of 12 and 8 rows: chunks that divide them and that do not, single rows, and more rows than there are.
  @Test(arguments: [1, 2, 3, 4, 5, 7, 12, 100])
  func chunksAddUp(_ rows: Int) throws {
    let configuration = try #require(Variant.all.first { $0.layers == 2 && $0.dropout > 0 }).configuration(), sequences = [3, 2]
    let batch = Minibatch(vocabulary: 9, sequences: sequences, steps: 4, seed: 50)
    let whole = Trial(configuration, scope: .global, sequences: sequences, logitRows: 12)
    let chunked = Trial(configuration, scope: .global, sequences: sequences, logitRows: rows)
    let a = try whole.gradient(of: batch, gradientScale: 0.2), b = try chunked.gradient(of: batch, gradientScale: 0.2)
    // The same terms in another order of addition, in double precision.
    #expect(abs(a.loss - b.loss) <= 1e-13 * a.loss && a.loss > 1)
    for (x, y) in zip(a.gradient, b.gradient) { #expect(abs(x - y) <= 1e-14 + 1e-12 * abs(x)) }
    let losses = (whole.model.evaluateLoss(whole.workspace, whole.pass), chunked.model.evaluateLoss(chunked.workspace, chunked.pass))
    for (x, y) in zip(losses.0, losses.1) {
      #expect(abs(x.loss - y.loss) <= 1e-13 * x.loss)
      #expect(x.errors == y.errors)
    }
  }

  /// The loss of backward is that of evaluation, with a vocabulary that fills several chunks by itself.
  @Test func largeVocabulary() throws {
    let configuration = NetworkConfiguration(
      vocabularySize: 20_000, embeddingSize: 3, cell: .rnn, layers: 1, hiddenSize: 2,
      normalization: NormalizationConfiguration(placement: .none), steps: 20)
    let trial = Trial(configuration, scope: .global, sequences: [4])
    let batch = Minibatch(vocabulary: 20_000, sequences: [4], steps: 20, seed: 51, withoutTarget: false)
    let (loss, gradient, _) = try trial.gradient(of: batch, gradientScale: 0.25)
    #expect(abs(loss - (try trial.loss())) <= 1e-12 * loss)
    let slice = trial.model.layout.tensor("output.bias")
    // Σ over classes of softmax − target is 0 in every row.
    #expect(abs(gradient[slice.range].reduce(0, +)) <= 1e-12 * 80)
    #expect(gradient[slice.range].contains { $0 != 0 })
  }

  /// Single precision follows double precision.
  @Test(arguments: Cell.allCases, Placement.allCases.filter { $0 != .whitenedInput })
  func singlePrecision(_ cell: Cell, _ placement: Placement) throws {
    if !cell.shape.placements.contains(placement) { return }
    let configuration = NetworkConfiguration(
      vocabularySize: 30, embeddingSize: 12, cell: cell, layers: 2, hiddenSize: 20, peepholes: cell == .lstm ? .all : .none, dropout: 0.3,
      normalization: NormalizationConfiguration(placement: placement), steps: 6)
    let double = Trial(configuration, scope: .global, sequences: [16], scale: 0.3)
    let batch = Minibatch(vocabulary: 30, sequences: [16], steps: 6, seed: 52)
    let (loss, gradient, _) = try double.gradient(of: batch, gradientScale: 1 / 16.0)

    let model = SequenceModel<Float>(configuration)
    for i in 0..<model.parameters.count { model.parameters[i] = Float(double.model.parameters[i]) }
    let workspace = ModelWorkspace(model, WorkspaceCapacity(sequences: [16], steps: 6), training: true)
    workspace.begin(steps: 6, firstExamples: double.firstExamples)
    for layer in 0..<2 {
      for kind in cell.shape.states {
        let (from, to) = (double.workspace.state(kind, layer: layer, shard: 0), workspace.state(kind, layer: layer, shard: 0))
        for b in 0..<16 { for j in 0..<20 { to[b, j] = Float(from[b, j]) } }
      }
    }
    workspace.tokens[0].copy(from: double.workspace.tokens[0])
    workspace.targets[0].copy(from: double.workspace.targets[0])
    workspace.embeddingSlots[0].copy(from: double.workspace.embeddingSlots[0])
    let alone = Alone<Float>()
    let pass = PassContext(
      mode: double.mode, steps: 6, counts: double.counts, groups: double.groups, reducer: alone, timer: PhaseTimer())
    try model.forward(workspace, pass, globalReducer: alone)
    let tokens = batch.occurring(), first = model.layout.embedding.lowerBound
    let sink = PlainSink(VectorView(zeros: first + tokens.count * 12))
    let losses = try model.backward(workspace, pass, gradientScale: 1 / 16.0, sink: sink)
    // Rounding errors of 6e-8 grow over six steps of two layers and the division by small deviations.
    #expect(abs(losses[0].loss - loss) <= 1e-5 * loss)
    let largest = gradient.map(abs).max() ?? 0
    for i in 0..<first { #expect(abs(Double(sink.buffer[i]) - gradient[i]) <= 2e-5 * largest) }
    for (row, token) in tokens.enumerated() {
      for e in 0..<12 { #expect(abs(Double(sink.buffer[first + row * 12 + e]) - gradient[first + Int(token) * 12 + e]) <= 2e-5 * largest) }
    }
    #expect(largest > 0.01)
  }

  private final class Alone<S: Scalar>: StatisticsReducing {
    func combineMoments(mean: MatrixView<S>, squares: MatrixView<S>, counts: [Int]) {}
    func combineSums(_ sums: MatrixView<S>) {}
  }

  private final class PlainSink: GradientSink {
    let buffer: VectorView<Float>
    var accumulates: Bool { false }
    var completes: Bool { true }
    init(_ buffer: VectorView<Float>) { self.buffer = buffer }
    func begin(_ group: ParameterGroup, shard: Int) -> VectorView<Float> { buffer }
    func advance(_ group: ParameterGroup, shard: Int, to end: Int) {}
    func end(_ group: ParameterGroup, shard: Int) {}
    func poll() {}
    var operationsBetweenPolls: Int? { nil }
  }
}
