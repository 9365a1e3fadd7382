import Tensors

/// The statistics of one batch-normalised term in one minibatch, for each local shard and slot; what is exchanged in one message lies in one block.
///
/// Where the statistics precede the recurrence, one message carries all slots, and a block is [local shards, slots · F]; elsewhere there is a block [local shards, F] a slot.
final class NormalizationWorkspace<S: Scalar> {
  private let features: Int
  private let isWhole: Bool
  // A matrix a message: one for all slots, or one a slot.
  private let means, squaresBlocks: [MatrixView<S>]
  // [local shards, slots · 2 F] or [local shards, 2 F] a slot: for each slot the sums of dy, then those of dy ⊙ x̂.
  private let sums: [MatrixView<S>]
  // [local shards · slots, F].
  private let rstds, scales, shifts: MatrixView<S>
  private let slots: Int
  let scratchMean, scratchSquares: VectorView<S>
  // Whether the running statistics served as constants, [local shards][slots].
  var isConstant: [[Bool]]

  /// - training: whether backward runs too.
  init(site: NormalizationSite, slots: Int, localShards k: Int, training: Bool) {
    features = site.features
    isWhole = site.precedesRecurrence
    self.slots = slots
    let F = site.features, blocks = isWhole ? 1 : slots, width = isWhole ? slots * F : F
    means = (0..<blocks).map { _ in MatrixView(zeros: k, width) }
    squaresBlocks = (0..<blocks).map { _ in MatrixView(zeros: k, width) }
    sums = (0..<(training ? blocks : 0)).map { _ in MatrixView(zeros: k, 2 * width) }
    rstds = MatrixView(zeros: k * slots, F)
    scales = MatrixView(zeros: k * slots, F)
    shifts = MatrixView(zeros: k * slots, F)
    scratchMean = VectorView(zeros: F)
    scratchSquares = VectorView(zeros: F)
    isConstant = Array(repeating: Array(repeating: false, count: slots), count: k)
  }

  /// Part `number` of the `parts` vectors [F] that a slot has in `blocks`.
  private func part(_ blocks: [MatrixView<S>], _ shard: Int, _ slot: Int, _ number: Int = 0, of parts: Int = 1) -> VectorView<S> {
    let start = ((isWhole ? slot : 0) * parts + number) * features
    return blocks[isWhole ? 0 : slot][shard][start..<start + features]
  }

  func mean(_ shard: Int, _ slot: Int) -> VectorView<S> { part(means, shard, slot) }
  func squares(_ shard: Int, _ slot: Int) -> VectorView<S> { part(squaresBlocks, shard, slot) }
  func sum(_ shard: Int, _ slot: Int) -> VectorView<S> { part(sums, shard, slot, 0, of: 2) }
  func sumWithX(_ shard: Int, _ slot: Int) -> VectorView<S> { part(sums, shard, slot, 1, of: 2) }
  func rstd(_ shard: Int, _ slot: Int) -> VectorView<S> { rstds[shard * slots + slot] }
  func scale(_ shard: Int, _ slot: Int) -> VectorView<S> { scales[shard * slots + slot] }
  func shift(_ shard: Int, _ slot: Int) -> VectorView<S> { shifts[shard * slots + slot] }

  /// Exchanges the moments of one message: of the first slots, or of a single one.
  /// - counts: frames of every shard in each slot of the message, [shards, slots of the message].
  func combineMoments(_ slots: Range<Int>, counts: [Int], _ reducer: any StatisticsReducing<S>) throws {
    let (block, width) = message(slots)
    try reducer.combineMoments(
      mean: means[block].columns(0..<width), squares: squaresBlocks[block].columns(0..<width), counts: counts)
  }

  /// Exchanges the sums of one message: of the first slots, or of a single one.
  func combineSums(_ slots: Range<Int>, _ reducer: any StatisticsReducing<S>) throws {
    let (block, width) = message(slots)
    try reducer.combineSums(sums[block].columns(0..<2 * width))
  }

  /// The block of a message and the columns that its slots take, which are not all in a window shorter than the longest.
  private func message(_ slots: Range<Int>) -> (block: Int, width: Int) {
    precondition(isWhole ? slots.lowerBound == 0 : slots.count == 1, "slots of several messages")
    return (isWhole ? 0 : slots.lowerBound, slots.count * features)
  }
}
