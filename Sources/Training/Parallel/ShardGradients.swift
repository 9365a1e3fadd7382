import DataParallel
import NeuralNetwork
import Tensors

/// Gradients of this rank's shards: summed along the fixed tree as they are finished, and reduced over ranks group by group
/// while backward goes on below.
final class ShardGradients: GradientSink {
  typealias Scalar = Float

  private let plan: AccumulationPlan
  // A slot holds a subtree of the shards. With accumulation each shard has a slot of its own until the last micro-batch, and with a tied
  // embedding until the end of backward.
  private let slots: [VectorView<Float>]
  private let shardSlots: [Int]
  // The additions after each local shard, as (into, from) in `slots`.
  private let merges: [[(into: Int, from: Int)]]
  private let buckets: [ParameterGroup: [Int]]
  private let ranges: [Range<Int>]
  private let groupRanges: [ParameterGroup: Range<Int>]
  // In the order in which backward finishes them.
  private let order: [ParameterGroup]
  private let reducer: GradientReducer
  private let embeddingSize: Int
  // The most elements of a message between nodes, as the configuration has it.
  private let messageSize: Int
  private let format: HalfFormat?
  private let timer: PhaseTimer
  /// Whether a group's reduction begins while backward goes on below.
  private let overlaps: Bool
  private let mayCutProducts: Bool
  // Whether messages carry gradients.
  private let travels: Bool
  // Of the group and shard under way: buckets before it are done.
  private var nextBucket = 0
  // Messages that wait for the end of backward.
  private var postponed: [(bucket: Int, count: Int)] = []
  // When the first bucket of the update was complete, and what exchanges had taken until then.
  private var firstComplete: (time: ContinuousClock.Instant, exchanges: Double)?
  /// Seconds of computation from then to the end of backward, in the last update: what a reduction can hide behind.
  private(set) var backwardSeconds = 0.0

  /// Whether this is a micro-batch after the first of an update.
  private(set) var accumulates = false
  private var isLastMicroBatch = true
  /// Rows of the embedding's gradient in the update under way.
  private var embeddingRows = 0

  /// - embeddingRows: the most rows of the embedding that an update can touch.
  /// - bucketBytes: the size above which a group is cut into several messages.
  /// - overlaps: whether a group's reduction begins while backward goes on below, or after it.
  /// - format: what gradients are rounded to, at every node of the tree, and travel in; nil: single precision.
  init(
    model: SequenceModel<Float>, context: RankContext, embeddingRows: Int, accumulateSteps: Int, bucketBytes: Int,
    isReproducible: Bool, format: HalfFormat?, overlaps: Bool = true, timer: PhaseTimer
  ) throws {
    let layout = model.layout
    embeddingSize = model.configuration.embeddingSize
    plan = context.layout.accumulationPlan(of: context.world.rank)
    let isTied = model.configuration.tiesEmbedding, keepsShards = Self.keepsShards(model, accumulateSteps: accumulateSteps)
    let placement = Self.placement(plan, keepsShards: keepsShards)
    (shardSlots, merges) = (placement.shards, placement.merges)
    let width = layout.embedding.lowerBound + embeddingRows * embeddingSize
    self.timer = timer
    self.format = format
    self.overlaps = overlaps
    // The bits of BLAS's products may depend on their number of rows, which must not depend on hosts.
    mayCutProducts = model.configuration.products == .own

    var groupRanges: [ParameterGroup: Range<Int>] = [.output: layout.output]
    for (index, range) in layout.layers.enumerated() { groupRanges[.layer(index)] = range }
    groupRanges[.embedding] = layout.embedding.lowerBound..<width
    let recurrent: [ParameterGroup] = layout.layers.indices.reversed().map { .layer($0) }
    let order = isTied ? recurrent + [.output] : [.output] + recurrent + [.embedding]
    // Whole blocks of squares, so that the norm does not depend on the size of messages.
    messageSize = max(1, bucketBytes / MemoryLayout<Float>.size / squaresBlock) * squaresBlock
    let ranks = context.world.size
    let reducer = try GradientReducer(
      communicator: context.world, layout: context.layout,
      buckets: Self.cut(order, groupRanges, size: min(messageSize, Self.bucketSize(ranks: ranks))),
      pieces: Self.cut(order, groupRanges, size: min(messageSize, Self.pieceSize(ranks: ranks)), embedding: .max),
      reproducible: isReproducible, format: format, lanes: Self.lanes)
    self.groupRanges = groupRanges
    self.order = order
    ranges = reducer.buckets
    buckets = groupRanges.mapValues { whole in reducer.buckets.indices.filter { whole.contains(reducer.buckets[$0].lowerBound) } }
    postponed.reserveCapacity(ranges.count)
    // The slots that end as partial sums are the reducer's memory, which other ranks may share.
    slots = (0..<Self.slotCount(plan, keepsShards: keepsShards)).map { slot in
      placement.partials.firstIndex(of: slot).map { reducer.partials[$0] } ?? VectorView(zeros: width)
    }
    self.reducer = reducer
    travels = ranks > 1 && reducer.nodes != 1
    let way =
      switch reducer.nodes {
      case 1: "shared memory"
      case .some: "shared memory and messages"
      case nil: context.world.size == 1 ? "none" : isReproducible ? "messages" : "all-reduce"
      }
    exchange = way + (format.map { ", rounded to \($0)" } ?? "")
  }

  /// Whether each shard has a slot of its own until the end.
  private static func keepsShards(_ model: SequenceModel<Float>, accumulateSteps: Int) -> Bool {
    accumulateSteps > 1 || model.configuration.tiesEmbedding
  }

  private static func slotCount(_ plan: AccumulationPlan, keepsShards: Bool) -> Int { keepsShards ? plan.steps.count : plan.slotCount }

  /// Vectors as long as the gradient that a rank has: its slots and, on the first rank, the result.
  static func vectors(_ model: SequenceModel<Float>, _ context: RankContext, accumulateSteps: Int) -> Int {
    let plan = context.layout.accumulationPlan(of: context.world.rank)
    return slotCount(plan, keepsShards: keepsShards(model, accumulateSteps: accumulateSteps)) + (context.isFirst && context.world.size > 1 ? 1 : 0)
  }

  /// Which slot each shard, addition and partial sum uses: those of the plan, or, where shards keep slots of their own, the first shard's of
  /// each subtree.
  private static func placement(
    _ plan: AccumulationPlan, keepsShards: Bool
  ) -> (shards: [Int], merges: [[(into: Int, from: Int)]], partials: [Int]) {
    if !keepsShards { return (plan.steps.map(\.slot), plan.steps.map(\.merges), plan.subtreeSlots) }
    // The shard whose own slot stands for a slot of the plan.
    var owner = Array(repeating: 0, count: plan.slotCount)
    var merges: [[(into: Int, from: Int)]] = []
    for (i, step) in plan.steps.enumerated() {
      owner[step.slot] = i
      merges.append(step.merges.map { (into: owner[$0.into], from: owner[$0.from]) })
    }
    return (Array(plan.steps.indices), merges, plan.subtreeSlots.map { owner[$0] })
  }

  /// The groups in order, cut into at most `size` elements.
  /// - embedding: the same of the embedding's rows, which vary in number from update to update.
  private static func cut(
    _ order: [ParameterGroup], _ groups: [ParameterGroup: Range<Int>], size: Int, embedding: Int? = nil
  ) -> [Range<Int>] {
    order.flatMap { group in
      guard let whole = groups[group] else { preconditionFailure("a group without a range") }
      let size = max(1, min(whole.count, group == .embedding ? embedding ?? size : size))
      return stride(from: whole.lowerBound, to: whole.upperBound, by: size).map { $0..<min(whole.upperBound, $0 + size) }
    }
  }

  /// Elements that are reduced together where messages carry them: 256 KiB, of which each rank sends every other an equal part, unless that would
  /// be less than 16 KiB.
  private static func bucketSize(ranks: Int) -> Int {
    max(256 << 10, ranks * 16 << 10) / MemoryLayout<Float>.size / squaresBlock * squaresBlock
  }

  /// Messages in flight at a time, one of each bucket: between two ranks 1.5 MiB at most each way, which statistics wait for.
  private static let lanes = 12

  /// Multiply-adds of each thread between two polls: three milliseconds on a core of 200 GFLOP/s. The weight gradients of the medium word model with 64
  /// sequences a rank took as long in parts of 4e8 as in one, and some 15 % longer in parts of 1e8 (Intel Xeon, family 6, model 207, two cores that were shared).
  private static let operationsOfThread = 300_000_000

  /// Rounds of a poll where messages carry gradients.
  private static let rounds = 4

  /// Elements that are reduced together where no message carries them: a MiB, which is still near when it is added, unless there are too many
  /// ranks to share its blocks.
  private static func pieceSize(ranks: Int) -> Int { max((1 << 20) / MemoryLayout<Float>.size, 16 * ranks * squaresBlock) }

  /// How gradients get from rank to rank, in words.
  let exchange: String

  /// The reduced gradient after `finish`: [dense part | rows of the embedding].
  var reduced: VectorView<Float> { reducer.result }

  /// `‖g‖₂` of it.
  var norm: Double { reducer.sumOfSquares.squareRoot() }

  /// Begins micro-batch `index` of `count` of an update whose embedding gradient has `embeddingRows` rows.
  func beginMicroBatch(_ index: Int, of count: Int, embeddingRows: Int) {
    accumulates = index > 0
    nextBucket = 0
    postponed.removeAll(keepingCapacity: true)
    firstComplete = nil
    isLastMicroBatch = index == count - 1
    self.embeddingRows = embeddingRows
  }

  var completes: Bool { isLastMicroBatch }

  func begin(_ group: ParameterGroup, shard: Int) -> VectorView<Float> {
    let slot = slots[shardSlots[shard]]
    return group == .embedding ? slot[0..<embedding(rows: embeddingRows).upperBound] : slot
  }

  func advance(_ group: ParameterGroup, shard: Int, to end: Int) throws {
    guard isLastMicroBatch, let whole = groupRanges[group] else { return }
    let phase = timer.enter(.gradientExchange)
    defer { timer.enter(phase) }
    let used = group == .embedding ? embedding(rows: embeddingRows) : whole
    // Message by message, so that what is added is still near when it is sent.
    for bucket in buckets[group] ?? [] where bucket >= nextBucket {
      let elements = ranges[bucket].clamped(to: used)
      if elements.upperBound > end { return }
      for merge in merges[shard] { slots[merge.into][elements].add(slots[merge.from][elements], as: format) }
      nextBucket = bucket + 1
      guard shard == merges.count - 1 else { continue }
      if firstComplete == nil { firstComplete = (.now, exchanges) }
      if overlaps { try reducer.start(bucket, count: elements.count) } else { postponed.append((bucket, elements.count)) }
    }
  }

  func end(_ group: ParameterGroup, shard: Int) throws {
    try advance(group, shard: shard, to: .max)
    nextBucket = 0
  }

  /// MPI moves messages only while it is called.
  var operationsBetweenPolls: Int? {
    travels && overlaps && isLastMicroBatch && mayCutProducts ? Self.operationsOfThread * Threads.count : nil
  }

  /// What goes on while others are waited for; nil where no message carries gradients.
  var background: GradientReducer? { travels ? reducer : nil }

  /// Moves messages under way along. MPI moves only what its sockets hold at the moment, and one call may free the next: messages between
  /// nodes get several.
  func poll() throws {
    if reducer.isIdle { return }
    let phase = timer.enter(.gradientExchange)
    defer { timer.enter(phase) }
    for _ in 0..<(travels ? Self.rounds : 1) {
      if try reducer.poll() { return }
    }
  }

  /// Waits until every group is reduced.
  func finish() throws {
    timer.enter(.gradientExchange)
    if let firstComplete { backwardSeconds = (.now - firstComplete.time) / .seconds(1) - (exchanges - firstComplete.exchanges) }
    for (bucket, count) in postponed { try reducer.start(bucket, count: count) }
    postponed.removeAll(keepingCapacity: true)
    try reducer.waitAll()
    timer.enter(.other)
  }

  private var exchanges: Double { timer.seconds(.gradientExchange) + timer.seconds(.statisticsExchange) }

  // MARK: Outside an update

  /// Clears the gradients, for reductions that are only timed.
  func clear() { for partial in reducer.partials { partial.fill(0) } }

  /// Reduces what the buffers hold, as an update with `embeddingRows` rows of the embedding does at its end. Nothing of use is left.
  func reduce(embeddingRows: Int) throws {
    let used = 0..<embedding(rows: embeddingRows).upperBound
    for bucket in ranges.indices { try reducer.start(bucket, count: ranges[bucket].clamped(to: used).count) }
    try reducer.waitAll()
  }

  /// Reduces the first `count` elements of the longest message.
  func reduceLongest(count: Int) throws {
    var left = count
    for bucket in buckets[longestGroup] ?? [] {
      try reducer.start(bucket, count: min(left, ranges[bucket].count))
      left -= min(left, ranges[bucket].count)
    }
    try reducer.waitAll()
  }

  /// Elements of the longest message.
  var longestCount: Int { messageLength(longestGroup) }

  /// Messages of an update whose gradient has rows of the embedding or not, between nodes, as long as the configuration lets them be: the smaller ones that
  /// they are cut into wait for the link together.
  func messages(embeddingRows: Int) -> Int {
    order.reduce(0) { sum, group in
      sum + (group == .embedding ? min(embeddingRows, 1) : (groupRanges[group]!.count + messageSize - 1) / messageSize)
    }
  }

  /// What a message of gradients takes, relative to single precision.
  var wireShare: Double { format == nil ? 1 : 0.5 }

  /// Bytes of an update's gradient in memory.
  func bytes(embeddingRows: Int) -> Int { embedding(rows: embeddingRows).upperBound * MemoryLayout<Float>.size }

  /// Whether ranks of a node add through memory that they share.
  var sharesMemory: Bool { reducer.nodes != nil }

  /// The group of the longest message.
  private var longestGroup: ParameterGroup { order.max { messageLength($0) < messageLength($1) }! }

  private func messageLength(_ group: ParameterGroup) -> Int {
    let count = groupRanges[group]!.count
    return group == .embedding ? count : min(count, messageSize)
  }

  private func embedding(rows: Int) -> Range<Int> {
    let first = groupRanges[.embedding]!.lowerBound
    return first..<first + rows * embeddingSize
  }
}
