import Tensors

/// The statistics of one site in one minibatch, for each local shard and slot; what is exchanged in one message lies in one block.
///
/// Where the statistics precede the recurrence, one message carries all slots, and a block is [local shards, slots · F]; elsewhere there is a block [local shards, F] a slot.
final class NormalizationWorkspace<S: Scalar> {
  private let features: Int
  private let isWhole: Bool
  // A matrix a message: one for all slots, or one a slot.
  private let means, squaresBlocks: [MatrixView<S>]
  // [local shards, 2 · slots · F] or [local shards, 2 F] a slot: first the sums of dy, then those of dy ⊙ x̂.
  private let sums: [MatrixView<S>]
  // [local shards · slots, F].
  private let rstds, scales, shifts: MatrixView<S>
  private let slots: Int
  let scratchMean, scratchSquares: VectorView<S>
  // Whether the running statistics served as constants, [local shards][slots].
  var isConstant: [[Bool]]
  // Rows merged so far, [local shards].
  var merged: [Int]
  // Gradients of γ and β of each local shard, [local shards, F].
  let dGamma, dBeta: MatrixView<S>

  init(site: NormalizationSite, slots: Int, localShards k: Int) {
    features = site.features
    isWhole = site.precedesRecurrence
    self.slots = slots
    let F = site.features, blocks = isWhole ? 1 : slots, width = isWhole ? slots * F : F
    means = (0..<blocks).map { _ in MatrixView(zeros: k, width) }
    squaresBlocks = (0..<blocks).map { _ in MatrixView(zeros: k, width) }
    sums = (0..<blocks).map { _ in MatrixView(zeros: k, 2 * width) }
    rstds = MatrixView(zeros: k * slots, F)
    scales = MatrixView(zeros: k * slots, F)
    shifts = MatrixView(zeros: k * slots, F)
    scratchMean = VectorView(zeros: F)
    scratchSquares = VectorView(zeros: F)
    isConstant = Array(repeating: Array(repeating: false, count: slots), count: k)
    merged = Array(repeating: 0, count: k)
    dGamma = MatrixView(zeros: k, F)
    dBeta = MatrixView(zeros: k, F)
  }

  private func part(_ blocks: [MatrixView<S>], _ shard: Int, _ slot: Int, offset: Int = 0) -> VectorView<S> {
    let start = offset + (isWhole ? slot * features : 0)
    return blocks[isWhole ? 0 : slot][shard][start..<start + features]
  }

  func mean(_ shard: Int, _ slot: Int) -> VectorView<S> { part(means, shard, slot) }
  func squares(_ shard: Int, _ slot: Int) -> VectorView<S> { part(squaresBlocks, shard, slot) }
  func sum(_ shard: Int, _ slot: Int) -> VectorView<S> { part(sums, shard, slot) }
  func sumWithX(_ shard: Int, _ slot: Int) -> VectorView<S> {
    part(sums, shard, slot, offset: isWhole ? slots * features : features)
  }
  func rstd(_ shard: Int, _ slot: Int) -> VectorView<S> { rstds[shard * slots + slot] }
  func scale(_ shard: Int, _ slot: Int) -> VectorView<S> { scales[shard * slots + slot] }
  func shift(_ shard: Int, _ slot: Int) -> VectorView<S> { shifts[shard * slots + slot] }

  /// Exchanges the moments of one message: of all slots, or of `slot`.
  func combineMoments(slot: Int, counts: [Int], _ reducer: any StatisticsReducing<S>) throws {
    let block = isWhole ? 0 : slot
    try reducer.combineMoments(mean: means[block], squares: squaresBlocks[block], counts: counts)
  }

  /// Exchanges the sums of one message: of all slots, or of `slot`.
  func combineSums(slot: Int, _ reducer: any StatisticsReducing<S>) throws {
    try reducer.combineSums(sums[isWhole ? 0 : slot])
  }
}
