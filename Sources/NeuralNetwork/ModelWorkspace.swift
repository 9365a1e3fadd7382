import Tensors

/// How much a workspace has room for.
public struct WorkspaceCapacity: Equatable, Sendable {
  /// The most sequences of each local shard.
  public var sequences: [Int]
  /// The most frames of each local shard.
  public var frames: [Int]
  /// The most steps of a sequence.
  public var steps: Int
  /// Whether every minibatch has just these sequences, all of one length, so that state can be carried from one to the next.
  public var isUniform: Bool

  /// Windows of `sequences` sequences a shard and up to `steps` steps each.
  public init(sequences: [Int], steps: Int) {
    self.sequences = sequences
    frames = sequences.map { $0 * steps }
    self.steps = steps
    isUniform = true
  }

  /// Sequences of any lengths up to `steps`: at most so many of them, and so many frames, a shard.
  public init(sequences: [Int], frames: [Int], steps: Int) {
    precondition(sequences.count == frames.count, "sequences and frames of different shards")
    self.sequences = sequences
    self.frames = frames
    self.steps = steps
    isUniform = false
  }
}

/// The activations of a model on the local shards of a minibatch, allocated once.
/// N frames and B sequences of a shard, I inputs, D directions, H cells, V classes; rows follow `PackedSequences`.
public final class ModelWorkspace<S: Scalar> {
  public let capacity: WorkspaceCapacity
  /// The sequences of each local shard in the minibatch under way.
  public private(set) var sequences: [PackedSequences]
  /// Tokens read, [N] for each local shard; empty where the model reads features.
  public let tokens: [VectorView<Int32>]
  /// Classes to predict, for each local shard one a row that the output layer reads ([N], or [B] where it reads ends of sequences); negative
  /// where there is none.
  public let targets: [VectorView<Int32>]
  /// For each token read the row of the embedding's gradient, [N] for each local shard.
  public let embeddingSlots: [VectorView<Int32>]
  /// Global number of each sequence in its minibatch, [B] for each local shard: what dropout's masks count by.
  public let examples: [VectorView<Int32>]
  /// What the lowest layer reads, [N, I] for each local shard: features, or embedded tokens.
  public let bottom: [MatrixView<S>]
  // [recurrent layer][local shard].
  let layers: [[LayerWorkspace<S>]]
  // Each layer's outputs of all directions, [layer][local shard]: [N, D·H].
  let outputs: [[MatrixView<S>]]
  // What the layers read, and at the end the output layer: `bottom`, the outputs below, or those after dropout. [layer][local shard].
  let inputs: [[MatrixView<S>]]
  // Whether the inputs of layers after the first are copies of the outputs below.
  let hasDropoutBuffers: Bool
  /// Whether layers have the same memory, one after the other: what a layer computes lasts until the next one, and its outputs until the one
  /// after that. So it is where nothing but the outputs is wanted of sequences that may be long, and no state is carried on.
  let sharesLayers: Bool
  // Rows in reversed order, [N] for each local shard.
  let reversals: [VectorView<Int32>]
  // Whether minibatches can be normalised with their own statistics.
  let hasBatchStatistics: Bool
  // [recurrent layer][normalised term]; without terms where statistics are fixed.
  let terms: [[TermWorkspace<S>]]
  // The statistics of all of them that have any.
  let statistics: [NormalizationWorkspace<S>]
  // Summed cross entropy and wrong frames of each local shard in the last backward pass.
  var losses: [(loss: Double, errors: Int)]
  // Views of the minibatch under way: of both gradient buffers as those of layers' outputs, [N, D·H] for each local shard, and of `reversals`.
  private(set) var outputGradients: [[MatrixView<S>]]
  private(set) var reversalViews: [VectorView<Int32>]
  private let outputSize: Int
  // Two buffers for gradients of activations between which layers alternate.
  private let gradients: [[VectorView<S>]]
  // The gradient of a layer's input from its backward direction, before rows are put in order.
  private let reversedGradient: VectorView<S>
  // What the output layer reads of the largest shard's sequences, and its gradient, where those are not all rows: [B, D·H].
  let ends, endGradients: MatrixView<S>
  // The output layer's memory for the largest shard.
  let output: OutputLayer<S>
  // What a weight gradient's products read of one layer's input, and in turn W_x for the gradient of that.
  let packedInput: PackedMatrix<S>
  let runningAverages: RunningAverages<S>?

  /// Buffers for minibatches of up to `capacity`.
  /// - training: whether backward runs too.
  /// - batchStatistics: whether minibatches are normalised with their own statistics, as in training always.
  public convenience init(_ model: SequenceModel<S>, _ capacity: WorkspaceCapacity, training: Bool, batchStatistics: Bool = false) {
    self.init(model, capacity, training: training, batchStatistics: batchStatistics, logitRows: nil)
  }

  /// The same with a choice of how many rows of logits are computed together, which must not matter to any result.
  package init(
    _ model: SequenceModel<S>, _ capacity: WorkspaceCapacity, training: Bool, batchStatistics: Bool = false, logitRows: Int?
  ) {
    let c = model.configuration, frames = capacity.frames, readsEnds = c.outputRows == .sequenceEnds
    let outputRows = readsEnds ? capacity.sequences : frames, hasDropout = training && c.dropout > 0
    self.capacity = capacity
    hasDropoutBuffers = hasDropout
    sequences = capacity.sequences.map { _ in PackedSequences(lengths: []) }
    tokens = frames.map { VectorView(zeros: c.embeddingSize > 0 ? $0 : 0) }
    targets = outputRows.map { VectorView(zeros: $0) }
    embeddingSlots = frames.map { VectorView(zeros: training && c.embeddingSize > 0 ? $0 : 0) }
    examples = capacity.sequences.map { VectorView(zeros: $0) }
    losses = frames.map { _ in (0, 0) }
    outputSize = training ? c.outputSize : 0
    reversals = frames.map { VectorView(zeros: c.isBidirectional ? $0 : 0) }
    let bottom = frames.map { MatrixView<S>(zeros: $0, c.input.width) }
    self.bottom = bottom
    var inputs = [bottom], outputs: [[MatrixView<S>]] = [], layers: [[LayerWorkspace<S>]] = []
    sharesLayers = !training && !capacity.isUniform
    let memory = Memory(isShared: sharesLayers)
    for layer in 0..<c.layers {
      let directions = model.layers.filter { $0.index == layer }
      let built = Self.layer(directions, reading: inputs[layer], capacity, training: training, memory)
      layers += built.directions
      outputs.append(built.outputs)
      inputs.append(hasDropout ? built.outputs.map { MatrixView(zeros: $0.rows, $0.columns) } : built.outputs)
    }
    self.layers = layers
    self.inputs = inputs
    self.outputs = outputs
    hasBatchStatistics = training || (batchStatistics && !model.normalizations.isEmpty)
    let remembersTerms = hasBatchStatistics
    terms = model.layers.map { layer in
      !remembersTerms ? [] : layer.terms.map { TermWorkspace($0, frames: frames, steps: capacity.steps, training: training) }
    }
    statistics = terms.flatMap { $0.compactMap(\.statistics) }
    reversalViews = reversals
    outputGradients = (0..<2).map { _ in frames.map { _ in MatrixView(zeros: 0, 0) } }
    let width = max(c.embeddingSize, c.outputSize)
    gradients = frames.map { N in (0..<2).map { _ in VectorView(zeros: training ? N * width : 0) } }
    reversedGradient = VectorView(zeros: training && c.isBidirectional ? (frames.max() ?? 0) * max(width, c.input.width) : 0)
    let ends = readsEnds ? outputRows.max() ?? 0 : 0
    self.ends = MatrixView(zeros: ends, c.outputSize)
    endGradients = MatrixView(zeros: training ? ends : 0, c.outputSize)
    output = OutputLayer(classes: c.classes, width: c.outputSize, frames: outputRows.max() ?? 0, rows: logitRows, training: training,
      products: c.products)
    packedInput = PackedMatrix(
      outputs: training ? max(width, c.input.width, c.hiddenSize) : 0, inputs: training ? frames.max() ?? 0 : 0, library: c.products)
    runningAverages = training ? RunningAverages(model.normalizations, localShards: frames.count) : nil
  }

  /// What layers take their buffers from: those of the layers themselves, inputs of backward directions, and outputs, which two layers have
  /// in turn.
  private struct Memory {
    let layers, reversed: LayerMemory<S>
    let outputs: [LayerMemory<S>]

    init(isShared: Bool) {
      layers = LayerMemory(isShared: isShared)
      reversed = LayerMemory(isShared: isShared)
      outputs = (0..<2).map { _ in LayerMemory(isShared: isShared) }
    }

    /// A layer begins to take its buffers.
    func begin() {
      layers.begin()
      reversed.begin()
      for memory in outputs { memory.begin() }
    }
  }

  /// The workspaces of a layer's directions on every shard, and its outputs.
  private static func layer(
    _ layers: [RecurrentLayer<S>], reading inputs: [MatrixView<S>], _ capacity: WorkspaceCapacity, training: Bool, _ memory: Memory
  ) -> (directions: [[LayerWorkspace<S>]], outputs: [MatrixView<S>]) {
    let c = layers[0].configuration
    memory.begin()
    func workspace(_ direction: Int, _ shard: Int, _ input: MatrixView<S>, _ output: MatrixView<S>?) -> LayerWorkspace<S> {
      LayerWorkspace(
        layers[direction], input: input, output: output, B: capacity.sequences[shard], frames: capacity.frames[shard],
        isUniform: capacity.isUniform, training: training, memory: memory.layers)
    }
    if !c.isBidirectional && capacity.isUniform {
      let forward = inputs.enumerated().map { workspace(0, $0, $1, nil) }
      return ([forward], forward.map(\.h))
    }
    let outputs = capacity.frames.map { memory.outputs[layers[0].index % 2].matrix($0, c.outputSize) }
    let forward = inputs.indices.map { workspace(0, $0, inputs[$0], outputs[$0].columns(0..<c.hiddenSize)) }
    if !c.isBidirectional { return ([forward], outputs) }
    memory.layers.begin()
    let backward = inputs.indices.map { workspace(1, $0, memory.reversed.matrix(inputs[$0].rows, inputs[$0].columns), nil) }
    return ([forward, backward], outputs)
  }

  /// Announces the sequences of the next minibatch, for each local shard; tokens or features and targets follow in their order.
  /// - examples: the global number of each sequence, in the same order.
  public func begin(_ newSequences: [PackedSequences], examples numbers: [[Int]]) {
    precondition(newSequences.count == sequences.count && numbers.count == sequences.count, "sequences of other shards")
    for (i, packed) in newSequences.enumerated() {
      precondition(packed.count <= capacity.sequences[i] && packed.frames <= capacity.frames[i] && packed.steps <= capacity.steps,
        "more than the workspace has room for")
      precondition(
        !capacity.isUniform || packed.steps == 0
          || packed.frames == (packed.steps - 1) * capacity.sequences[i] + packed.active(packed.steps - 1),
        "fewer sequences in a window before its last step")
      precondition(numbers[i].count == packed.count, "numbers of other sequences")
      for (b, number) in numbers[i].enumerated() { examples[i][b] = Int32(truncatingIfNeeded: number) }
      for layer in layers { layer[i].sequences = packed }
      if reversals[i].count > 0 {
        reversals[i].withMutableSpan { packed.writeReversal(to: &$0) }
      }
    }
    sequences = newSequences
    for i in sequences.indices {
      reversalViews[i] = reversal(i)
      for buffer in 0..<2 { outputGradients[buffer][i] = gradient(i, buffer, columns: outputSize) }
    }
  }

  /// Announces a window of `steps` steps of all sequences.
  /// - firstExamples: global number of each local shard's first sequence; the others follow.
  public func begin(steps: Int, firstExamples: [Int]) {
    begin(
      capacity.sequences.map { PackedSequences(count: $0, steps: steps) },
      examples: zip(capacity.sequences, firstExamples).map { count, first in
        steps == 0 ? [] : (first..<first + count).map { $0 }
      })
  }

  /// A state before the first step of recurrent layer `layer` on a local shard, [B, H].
  public func state(_ kind: StateKind, layer: Int, shard: Int) -> MatrixView<S> {
    let w = layers[layer][shard]
    return switch kind {
    case .cell: w.c.rows(0..<w.B)
    case .output: w.hPrevious.rows(0..<w.B)
    }
  }

  /// Whether the next pass begins with the initial state of each sequence. Set when a state has come from elsewhere.
  public var beginsWithInitialState: Bool {
    get { layers.first?.first?.beginsWithInitialState ?? true }
    set { for layer in layers { for w in layer { w.beginsWithInitialState = newValue } } }
  }

  /// Gives every layer its initial state.
  public func resetState() {
    for layer in layers { for w in layer { w.resetState() } }
  }

  /// Makes the state after the last step the initial state of the next window.
  public func carryState() {
    precondition(capacity.isUniform, "state is carried between windows of the same sequences alone")
    for layer in layers { for w in layer where w.sequences.steps > 0 { w.carryState() } }
  }

  /// The gradient buffer `index` (0 or 1) of a shard as rows of `columns`.
  func gradient(_ shard: Int, _ index: Int, columns: Int) -> MatrixView<S> {
    let rows = sequences[shard].frames
    return gradients[shard][index][0..<rows * columns].matrix(rows: rows, columns: columns)
  }

  /// Room for the input gradient of a backward direction on one shard.
  func reversedGradient(_ shard: Int, columns: Int) -> MatrixView<S> {
    let rows = sequences[shard].frames
    return reversedGradient[0..<rows * columns].matrix(rows: rows, columns: columns)
  }

  /// The rows of the minibatch under way in reversed order.
  func reversal(_ shard: Int) -> VectorView<Int32> {
    reversals[shard].count > 0 ? reversals[shard][0..<sequences[shard].frames] : reversals[shard]
  }
}
