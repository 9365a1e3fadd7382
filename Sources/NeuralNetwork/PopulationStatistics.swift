import Tensors

/// Moments of a site over many minibatches: `μ = E[μ_B]`, `v = E[v_B + μ_B²] − μ²` with groups weighted by their frames, by pairwise
/// merging. A group of fewer than two frames has no statistics, and training did not use any of it, so it is left out.
final class PopulationStatistics<S: Scalar> {
  private let features: Int
  private let slots: Int
  private let kind: StatisticsKind
  // [local shards, slots · F].
  private let mean, squares: MatrixView<S>
  // Frames seen by every shard and slot, [S, slots], of all ranks.
  private var counts: [Int]

  init(kind: StatisticsKind, slots: Int, features: Int, groups: ShardGroups) {
    self.kind = kind
    self.slots = slots
    self.features = features
    mean = MatrixView(zeros: groups.local.count, slots * features)
    squares = MatrixView(zeros: groups.local.count, slots * features)
    counts = Array(repeating: 0, count: groups.shards * slots)
  }

  /// Adds a minibatch's moments of `newSlots`, as each local shard has them before they are exchanged.
  func add(_ w: NormalizationWorkspace<S>, slots newSlots: Range<Int>, _ pass: PassContext<S>) {
    for slot in newSlots {
      let range = slot * features..<(slot + 1) * features
      func frames(_ shard: Int) -> Int {
        kind == .frame ? pass.counts.pooledPerStep[shard * pass.counts.steps + slot] : pass.counts.pooledPerShard[shard]
      }
      for (i, shard) in pass.groups.local.enumerated() {
        mergeMoments(
          count: counts[shard * slots + slot], mean: mean[i][range], squares: squares[i][range], otherCount: frames(shard),
          otherMean: w.mean(i, slot), otherSquares: w.squares(i, slot))
      }
      for shard in 0..<pass.groups.shards { counts[shard * slots + slot] += frames(shard) }
    }
  }

  /// Merges over all shards and writes mean and biased variance of the slots seen to `statistics`. Where no group had two frames there are no
  /// statistics of the population, and `statistics` stay.
  func finish(into statistics: RunningStatistics<S>, shards: Int, reducer: any StatisticsReducing<S>) throws {
    try reducer.combineMoments(mean: mean, squares: squares, counts: counts)
    var seen = 0
    for slot in 0..<slots {
      let n = (0..<shards).reduce(0) { $0 + counts[$1 * slots + slot] }
      if n == 0 { break }
      let range = slot * features..<(slot + 1) * features
      statistics.mean[slot].copy(from: mean[0][range])
      statistics.variance[slot].copy(from: squares[0][range])
      statistics.variance[slot].scale(by: 1 / S(n))
      seen = slot + 1
    }
    if seen > 0 { statistics.markSeen(slots: seen) }
  }
}
