import Tensors

/// The activations of a model on the local shards of a minibatch, allocated once.
/// T steps, B sequences of a shard, E embedding columns, H cells, V classes; rows are time-major.
public final class ModelWorkspace<S: Scalar> {
  /// B of each local shard.
  public let sequences: [Int]
  /// T, the most steps that fit.
  public let maximumSteps: Int
  /// Tokens read, [T·B] for each local shard.
  public let inputs: [VectorView<Int32>]
  /// Tokens to predict, [T·B] for each local shard; negative where there is none.
  public let targets: [VectorView<Int32>]
  /// For each token read the row of the embedding's gradient, [T·B] for each local shard.
  public let embeddingSlots: [VectorView<Int32>]
  /// Global number of each local shard's first sequence: what dropout's masks count by.
  public let firstExamples: [Int]
  // [layer][local shard].
  let layers: [[LayerWorkspace<S>]]
  // [layer], empty without normalisation.
  let normalizations: [NormalizationWorkspace<S>]
  // Embedded tokens, [T·B, E].
  let embedded: [MatrixView<S>]
  // Input of the output layer, [T·B, H]: the top layer's output, or that after dropout.
  let top: [MatrixView<S>]
  // Two buffers for gradients of activations, T·B · max(E, H), between which layers alternate.
  let gradients: [[VectorView<S>]]
  // Logits of some rows, [rows, V].
  let logits: MatrixView<S>
  // Whether the inputs of layers after the first are copies of the outputs below.
  let hasDropoutBuffers: Bool
  let runningAverages: RunningAverages<S>?

  /// Buffers for local shards of `sequences` sequences each and windows of up to `steps` steps.
  /// - training: whether backward runs too.
  public convenience init(_ model: SequenceModel<S>, sequences: [Int], firstExamples: [Int], steps: Int, training: Bool) {
    self.init(model, sequences: sequences, firstExamples: firstExamples, steps: steps, training: training, logitRows: nil)
  }

  /// The same with a choice of how many rows of logits are computed together, which must not matter to any result.
  package init(
    _ model: SequenceModel<S>, sequences: [Int], firstExamples: [Int], steps T: Int, training: Bool, logitRows: Int?
  ) {
    let c = model.configuration
    let hasDropout = training && c.dropout > 0
    hasDropoutBuffers = hasDropout
    self.sequences = sequences
    self.firstExamples = firstExamples
    maximumSteps = T
    inputs = sequences.map { VectorView(zeros: T * $0) }
    targets = sequences.map { VectorView(zeros: T * $0) }
    embeddingSlots = sequences.map { VectorView(zeros: training ? T * $0 : 0) }
    let embedded = sequences.map { MatrixView<S>(zeros: T * $0, c.embeddingSize) }
    self.embedded = embedded
    var below = embedded
    var layers: [[LayerWorkspace<S>]] = []
    for layer in 0..<c.layers {
      layers.append(zip(sequences, below).map { B, output in
        let input = hasDropout && layer > 0 ? MatrixView<S>(zeros: T * B, c.inputSize(ofLayer: layer)) : output
        return LayerWorkspace(c, input: input, B: B, T: T, training: training)
      })
      below = layers[layer].map { $0.output(steps: T) }
    }
    self.layers = layers
    top = hasDropout ? below.map { MatrixView(zeros: $0.rows, $0.columns) } : below
    let usesStatistics = training
    normalizations = usesStatistics
      ? model.normalizations.map { NormalizationWorkspace(site: $0.site, slots: $0.slots, localShards: sequences.count) } : []
    let width = max(c.embeddingSize, c.hiddenSize)
    gradients = sequences.map { B in (0..<2).map { _ in VectorView(zeros: training ? T * B * width : 0) } }
    let rows = logitRows ?? Self.logitRows(classes: c.vocabularySize, largest: (sequences.max() ?? 0) * T)
    logits = MatrixView(zeros: rows, c.vocabularySize)
    runningAverages = training ? RunningAverages(model.normalizations, localShards: sequences.count) : nil
  }

  /// Rows of logits that are computed together: few enough to stay in the cache, enough for an efficient product.
  private static func logitRows(classes: Int, largest: Int) -> Int {
    max(1, min(largest, max(32, (8 << 20) / (classes * MemoryLayout<S>.size))))
  }

  /// The state before the first step of `layer` on a local shard: `c` [B, H] (nil for a plain cell) and `h` [B, H].
  public func state(layer: Int, shard: Int) -> (c: MatrixView<S>?, h: MatrixView<S>) {
    let w = layers[layer][shard]
    return (w.c.rows > 0 ? w.c.rows(0..<w.B) : nil, w.h.rows(0..<w.B))
  }

  /// Sets every layer's state to zero.
  public func resetState() {
    for layer in layers { for w in layer { w.resetState() } }
  }

  /// Makes the state after `steps` steps the initial state of the next window.
  public func carryState(steps: Int) {
    for layer in layers { for w in layer { w.carryState(steps: steps) } }
  }

  /// The gradient buffer `index` (0 or 1) of a shard as rows of `columns`.
  func gradient(_ shard: Int, _ index: Int, columns: Int) -> MatrixView<S> {
    let rows = maximumSteps * sequences[shard]
    return gradients[shard][index][0..<rows * columns].matrix(rows: rows, columns: columns)
  }
}
