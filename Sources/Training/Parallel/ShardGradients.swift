import DataParallel
import NeuralNetwork
import Tensors

/// Gradients of this rank's shards: summed along the fixed tree as they are finished, and reduced over ranks group by group
/// while backward goes on below.
final class ShardGradients: GradientSink {
  typealias Scalar = Float

  private let plan: AccumulationPlan
  // Without accumulation a slot holds a subtree of the shards; with it each shard has its own until the last micro-batch.
  private let slots: [VectorView<Float>]
  private let slotOfShard: [Int]
  private let buckets: [ParameterGroup: [Int]]
  private let ranges: [Range<Int>]
  private let groupRanges: [ParameterGroup: Range<Int>]
  private let reducer: GradientReducer<Float>
  private let embeddingSize: Int
  private let isLastShard: (Int) -> Bool
  private let timer: PhaseTimer

  /// Whether this is a micro-batch after the first of an update.
  private(set) var accumulates = false
  private var isLastMicroBatch = true
  /// Rows of the embedding's gradient in the update under way.
  private var embeddingRows = 0

  /// - embeddingRows: the most rows of the embedding that an update can touch.
  /// - bucketBytes: the size above which a group is cut into several messages.
  init(
    model: SequenceModel<Float>, context: RankContext, embeddingRows: Int, accumulateSteps: Int, bucketBytes: Int,
    isReproducible: Bool, timer: PhaseTimer
  ) throws {
    let layout = model.layout, local = context.localShards
    embeddingSize = model.configuration.embeddingSize
    plan = AccumulationPlan(run: local, leaves: context.layout.shards, keepsShards: accumulateSteps > 1)
    let width = layout.embedding.lowerBound + embeddingRows * embeddingSize
    slots = (0..<plan.slotCount).map { _ in VectorView(zeros: width) }
    slotOfShard = local.indices.map { $0 }
    self.timer = timer
    isLastShard = { $0 == local.count - 1 }

    var groupRanges: [ParameterGroup: Range<Int>] = [.output: layout.output]
    for (index, range) in layout.layers.enumerated() { groupRanges[.layer(index)] = range }
    groupRanges[.embedding] = layout.embedding.lowerBound..<width
    var ranges: [Range<Int>] = [], buckets: [ParameterGroup: [Int]] = [:]
    let order: [ParameterGroup] = [.output] + layout.layers.indices.reversed().map { .layer($0) } + [.embedding]
    let largest = max(1024, bucketBytes / MemoryLayout<Float>.size)
    for group in order {
      guard let whole = groupRanges[group] else { preconditionFailure("a group without a range") }
      // The rows of the embedding vary in number from update to update, so they stay one message.
      let size = group == .embedding ? max(whole.count, 1) : largest
      for start in stride(from: whole.lowerBound, to: whole.upperBound, by: size) {
        buckets[group, default: []].append(ranges.count)
        ranges.append(start..<min(whole.upperBound, start + size))
      }
    }
    self.groupRanges = groupRanges
    self.ranges = ranges
    self.buckets = buckets
    reducer = try GradientReducer(
      world: context.world, layout: context.layout, bucketSizes: ranges.map(\.count), isReproducible: isReproducible)
  }

  /// The reduced gradient after `finish`: [dense part | rows of the embedding].
  var reduced: VectorView<Float> { slots[0] }

  /// Begins micro-batch `index` of `count` of an update whose embedding gradient has `embeddingRows` rows.
  func beginMicroBatch(_ index: Int, of count: Int, embeddingRows: Int) {
    accumulates = index > 0
    isLastMicroBatch = index == count - 1
    self.embeddingRows = embeddingRows
  }

  func begin(_ group: ParameterGroup, shard: Int) -> VectorView<Float> {
    let slot = slots[plan.slot(ofShard: shard)]
    return group == .embedding ? slot[0..<groupRanges[.embedding]!.lowerBound + embeddingRows * embeddingSize] : slot
  }

  func end(_ group: ParameterGroup, shard: Int) throws {
    guard isLastMicroBatch, let range = groupRanges[group] else { return }
    let used = group == .embedding ? range.lowerBound..<range.lowerBound + embeddingRows * embeddingSize : range
    for merge in plan.merges(afterShard: shard) { slots[merge.into][used].add(slots[merge.from][used]) }
    guard isLastShard(shard) else { return }
    for bucket in buckets[group] ?? [] {
      let part = ranges[bucket].clamped(to: used)
      try reducer.start(
        bucket: bucket, partials: plan.finalSlots.map { slots[$0][part] }, result: slots[0][part])
    }
  }

  func poll() throws { try reducer.poll() }

  /// Waits until every group is reduced.
  func finish() throws {
    timer.enter(.gradientExchange)
    try reducer.waitAll()
    timer.enter(.other)
  }
}
