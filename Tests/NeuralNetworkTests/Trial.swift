import NeuralNetwork
import Tensors

/// Over whom statistics are taken.
enum Scope: String, CaseIterable {
  case local, pairs, global

  /// The groups of `shards` shards.
  func groups(_ shards: Int) -> [Range<Int>] {
    switch self {
    case .local: (0..<shards).map { $0..<$0 + 1 }
    case .pairs: stride(from: 0, to: shards, by: 2).map { $0..<min($0 + 2, shards) }
    case .global: [0..<shards]
    }
  }
}

/// A small deterministic source of test values, independent of the library's own generator (Steele et al. 2014, SplitMix64).
struct TestRandom {
  private var state: UInt64
  init(_ seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// Uniform in [−1, 1).
  mutating func value() -> Double { Double(next() >> 11) * 0x1p-52 - 1 }
  /// Uniform in 0 ..< n.
  mutating func index(_ n: Int) -> Int { Int(next() % UInt64(n)) }
}

/// What is read and what is to be predicted, [N] for each shard: tokens, and features for models that read those.
struct Minibatch {
  var inputs: [[Int32]]
  /// [N · I] for each shard; empty for tokens.
  var features: [[Double]] = []
  var targets: [[Int32]]

  /// Random tokens, many of them twice in a step; some targets are absent.
  init(vocabulary V: Int, sequences: [Int], steps: Int, seed: UInt64, withoutTarget: Bool = true) {
    self.init(vocabulary: V, frames: sequences.map { $0 * steps }, seed: seed, withoutTarget: withoutTarget)
  }

  /// The same for so many frames a shard.
  init(vocabulary V: Int, frames: [Int], width: Int = 0, seed: UInt64, withoutTarget: Bool = true) {
    var random = TestRandom(seed)
    inputs = frames.map { N in (0..<N).map { _ in Int32(random.index(max(V - 2, 1))) } }
    targets = frames.map { N in (0..<N).map { _ in withoutTarget && random.index(5) == 0 ? -1 : Int32(random.index(V)) } }
    if width > 0 { features = frames.map { N in (0..<N * width).map { _ in random.value() } } }
  }

  /// Features of width `width`, and a target for each sequence.
  init(vocabulary V: Int, _ packed: [PackedSequences], width: Int, seed: UInt64) {
    self.init(vocabulary: V, frames: packed.map(\.frames), width: width, seed: seed)
    var random = TestRandom(seed + 1000)
    targets = packed.map { p in (0..<p.count).map { _ in Int32(random.index(V)) } }
  }

  /// The tokens that occur, ascending.
  func occurring(_ others: Minibatch...) -> [Int32] {
    Set(([self] + others).flatMap { $0.inputs.flatMap { $0 } }).sorted()
  }
}

/// A model with random parameters, statistics and initial state on all shards of a minibatch in this process.
final class Trial {
  let configuration: NetworkConfiguration
  let model: SequenceModel<Double>
  let workspace: ModelWorkspace<Double>
  let sequences: [Int]
  let packed: [PackedSequences]
  let steps: Int
  /// Global number of each shard's first sequence.
  let firstExamples: [Int]
  let groups: ShardGroups
  let counts: FrameCounts
  let reducer: SerialReducer
  let globalReducer: SerialReducer
  let timer = PhaseTimer()
  var mode = Mode.training(step: 3, seed: 11)
  /// Whether some group has too few frames for statistics of its own.
  private let usesRunningStatistics: Bool
  /// Features, which dropout overwrites.
  var reload: Minibatch?
  private var saved: [(mean: [[Double]], variance: [[Double]], seen: Int)] = []

  /// - lengths: those of each shard's sequences, falling, where they are not all as long as the window.
  convenience init(
    _ configuration: NetworkConfiguration, scope: Scope, lengths: [[Int]], seed: UInt64 = 1, training: Bool = true,
    batchStatistics: Bool = false, scale: Double = 0.7
  ) {
    self.init(
      configuration, scope: scope, sequences: lengths.map(\.count), steps: lengths.flatMap { $0 }.max() ?? 0, seed: seed,
      training: training, batchStatistics: batchStatistics, scale: scale, lengths: lengths)
  }

  init(
    _ configuration: NetworkConfiguration, scope: Scope, sequences: [Int], steps: Int? = nil, seed: UInt64 = 1, training: Bool = true,
    batchStatistics: Bool = false, room: Int? = nil, logitRows: Int? = nil, scale: Double = 0.7, lengths: [[Int]]? = nil
  ) {
    BLAS.useOneThread()
    self.configuration = configuration
    self.sequences = sequences
    self.steps = steps ?? configuration.steps
    model = SequenceModel(configuration)
    var random = TestRandom(seed)
    for tensor in model.layout.tensors {
      let isGamma = tensor.name.hasSuffix("gamma")
      for i in tensor.range { model.parameters[i] = ((isGamma ? 1 : 0) + scale * random.value()) }
    }
    let firstExamples = sequences.indices.map { 40 + sequences[..<$0].reduce(0, +) }
    self.firstExamples = firstExamples
    let k = sequences.count, T = self.steps, mostSteps = room ?? max(configuration.steps, T)
    let packed = lengths.map { $0.map { PackedSequences(lengths: $0) } } ?? sequences.map { PackedSequences(count: $0, steps: T) }
    self.packed = packed
    // More room than is needed, where the lengths may vary.
    let capacity = lengths == nil && !configuration.isBidirectional
      ? WorkspaceCapacity(sequences: sequences, steps: mostSteps)
      : WorkspaceCapacity(sequences: sequences.map { $0 + 1 }, frames: sequences.map { ($0 + 1) * mostSteps }, steps: mostSteps)
    workspace = ModelWorkspace(model, capacity, training: training, batchStatistics: batchStatistics, logitRows: logitRows)
    workspace.begin(packed, examples: zip(firstExamples, packed).map { first, p in (0..<p.count).map { first + $0 } })
    groups = ShardGroups(shards: k, local: 0..<k, groups: scope.groups(k))
    counts = FrameCounts(
      perStep: packed.flatMap { p in (0..<T).map { p.active($0) } }, steps: T, groups: groups)
    usesRunningStatistics = counts.groupPerStep.contains { $0.contains { $0 < 2 } } || counts.groupTotal.contains { $0 < 2 }
    reducer = SerialReducer(groups.groups)
    globalReducer = SerialReducer([0..<k])
    // Sequences of any lengths begin from zero.
    for layer in capacity.isUniform ? Array(model.layers.indices) : [] {
      for shard in 0..<k {
        let states = configuration.cell.shape.states.map { workspace.state($0, layer: layer, shard: shard) }
        for row in 0..<sequences[shard] {
          for j in 0..<configuration.hiddenSize { for state in states { state[row, j] = random.value() } }
        }
      }
    }
    for normalization in model.normalizations {
      for slot in 0..<normalization.running.mean.rows {
        for f in 0..<normalization.site.features {
          normalization.running.mean[slot, f] = (0.3 * random.value())
          normalization.running.variance[slot, f] = (0.6 + 0.3 * random.value())
        }
      }
      normalization.running.markSeen(slots: normalization.running.mean.rows)
    }
    saveRunning()
  }

  var pass: PassContext<Double> {
    PassContext(mode: mode, steps: steps, counts: counts, groups: groups, reducer: reducer, timer: timer)
  }

  /// Takes a minibatch, with the rows of the embedding's gradient numbered by `tokens`.
  func load(_ batch: Minibatch, tokens: [Int32]) {
    for i in sequences.indices {
      for (j, target) in batch.targets[i].enumerated() { workspace.targets[i][j] = target }
      for j in batch.inputs[i].indices {
        if batch.features.isEmpty {
          workspace.tokens[i][j] = batch.inputs[i][j]
        } else {
          let I = configuration.input.width
          for f in 0..<I { workspace.bottom[i][j, f] = batch.features[i][j * I + f] }
        }
        if batch.features.isEmpty, let slot = tokens.firstIndex(of: batch.inputs[i][j]), workspace.embeddingSlots[i].count > 0 {
          workspace.embeddingSlots[i][j] = Int32(slot)
        }
      }
    }
  }

  private func saveRunning() {
    saved = model.normalizations.map { n in
      let slots = 0..<n.running.mean.rows
      return (slots.map { n.running.mean[$0].array }, slots.map { n.running.variance[$0].array }, n.running.slotsSeen)
    }
  }

  /// Running averages move with every forward pass in training mode; where they serve as constants a comparison has to begin from the same ones.
  func restoreRunning() {
    for (n, values) in zip(model.normalizations, saved) {
      for slot in 0..<n.running.mean.rows {
        for f in 0..<n.site.features {
          n.running.mean[slot, f] = values.mean[slot][f]
          n.running.variance[slot, f] = values.variance[slot][f]
        }
      }
      n.running.markSeen(slots: values.seen)
    }
  }

  /// Gives sequences their initial state, unless it is one that was carried over.
  func beginSequences() {
    if !workspace.capacity.isUniform || configuration.initialState == .learned { workspace.resetState() }
  }

  func forward() throws {
    beginSequences()
    if let reload { load(reload, tokens: []) }
    try model.forward(workspace, pass, globalReducer: globalReducer)
  }

  /// Summed cross entropy over all shards after a fresh forward pass.
  func loss() throws -> Double {
    if usesRunningStatistics { restoreRunning() }
    try forward()
    return model.evaluateLoss(workspace, pass).reduce(0) { $0 + $1.loss }
  }

  /// Forward and backward on a minibatch: the summed loss and the gradient of `gradientScale` times it, in the layout of the parameters.
  func gradient(
    of batch: Minibatch, gradientScale: Double, operationsBetweenPolls: Int? = nil
  ) throws -> (loss: Double, gradient: [Double], sink: SummingSink) {
    let tokens = configuration.sparseRows > 0 ? batch.occurring() : []
    load(batch, tokens: tokens)
    if !batch.features.isEmpty { reload = batch }
    restoreRunning()
    try forward()
    let sink = SummingSink(model.layout, embeddingSize: configuration.embeddingSize, embeddingRows: tokens.count,
      operationsBetweenPolls: operationsBetweenPolls)
    let losses = try model.backward(workspace, pass, gradientScale: gradientScale, sink: sink)
    return (losses.reduce(0) { $0 + $1.loss }, sink.gradient(tokens: tokens), sink)
  }
}
