import Tensors

/// The variance that passes over the training set give.
public enum PopulationVariance: Sendable {
  /// Of all frames together: `E[v_B + μ_B²] − μ²` with groups weighted by their frames.
  case pooled
  /// The plain mean `E[v_B]` over groups of the biased variances (Cooijmans et al. 2016).
  case averaged
}

/// Moments of a site over many minibatches. The mean is that of all frames: `E[μ_B]` with groups weighted by their frames, by pairwise
/// merging. A group of fewer than two frames has no statistics, and training did not use any of it, so it is left out.
final class PopulationStatistics<S: Scalar> {
  private let features: Int
  private let slots: Int
  private let kind: StatisticsKind
  private let variance: PopulationVariance
  // [local shards, slots · F].
  private let mean, squares: MatrixView<S>
  // Mean biased variance of the groups that each local shard leads, [local shards, slots · F]; no rows with pooled variances.
  private let groupVariance: MatrixView<S>
  // Frames seen by every shard and slot, [S, slots], of all ranks.
  private var counts: [Int]
  // Groups seen, counted at their first shards, [S, slots], of all ranks.
  private var groupCounts: [Int]

  init(kind: StatisticsKind, variance: PopulationVariance, slots: Int, features: Int, groups: ShardGroups) {
    self.kind = kind
    self.variance = variance
    self.slots = slots
    self.features = features
    mean = MatrixView(zeros: groups.local.count, slots * features)
    squares = MatrixView(zeros: groups.local.count, slots * features)
    groupVariance = MatrixView(zeros: variance == .averaged ? groups.local.count : 0, slots * features)
    counts = Array(repeating: 0, count: groups.shards * slots)
    groupCounts = Array(repeating: 0, count: groups.shards * slots)
  }

  private func columns(_ slot: Int) -> Range<Int> { slot * features..<(slot + 1) * features }

  /// Adds a minibatch's moments of `newSlots`, as each local shard has them before they are exchanged.
  func add(_ w: NormalizationWorkspace<S>, slots newSlots: Range<Int>, _ pass: PassContext<S>) {
    for slot in newSlots {
      let range = columns(slot)
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

  /// Adds the variances of a minibatch's groups in `newSlots`, after their moments were exchanged. A group's is added where its first shard is.
  func addGroups(_ w: NormalizationWorkspace<S>, slots newSlots: Range<Int>, _ pass: PassContext<S>) {
    if variance == .pooled { return }
    for slot in newSlots {
      for group in pass.groups.groups {
        let frames = group.reduce(0) {
          $0 + (kind == .frame ? pass.counts.perStep[$1 * pass.counts.steps + slot] : pass.counts.perShard[$1])
        }
        if frames < 2 { continue }
        let leader = group.lowerBound
        groupCounts[leader * slots + slot] += 1
        guard pass.groups.local.contains(leader) else { continue }
        // A running mean, whose rounding does not grow with the number of groups.
        let i = leader - pass.groups.local.lowerBound, share = 1 / S(groupCounts[leader * slots + slot])
        groupVariance[i][columns(slot)].blend(keep: 1 - share, weight: share / S(frames), w.squares(i, slot))
      }
    }
  }

  /// Merges over all shards and writes mean and biased variance of the slots seen to `statistics`. Where no group had two frames there are no
  /// statistics of the population, and `statistics` stay.
  /// - Returns: the frames behind each of the slots seen.
  func finish(into statistics: RunningStatistics<S>, shards: Int, local: Range<Int>, reducer: any StatisticsReducing<S>) throws -> [Int] {
    try reducer.combineMoments(mean: mean, squares: squares, counts: counts)
    func total(_ counts: [Int], _ slot: Int) -> Int { (0..<shards).reduce(0) { $0 + counts[$1 * slots + slot] } }
    if variance == .averaged {
      for slot in 0..<slots {
        let all = max(total(groupCounts, slot), 1)
        for (i, shard) in local.enumerated() {
          groupVariance[i][columns(slot)].scale(by: S(groupCounts[shard * slots + slot]) / S(all))
        }
      }
      try reducer.combineSums(groupVariance)
    }
    var frames: [Int] = []
    for slot in 0..<slots {
      let n = total(counts, slot)
      if n == 0 { break }
      statistics.mean[slot].copy(from: mean[0][columns(slot)])
      switch variance {
      case .pooled:
        statistics.variance[slot].copy(from: squares[0][columns(slot)])
        statistics.variance[slot].scale(by: 1 / S(n))
      case .averaged: statistics.variance[slot].copy(from: groupVariance[0][columns(slot)])
      }
      frames.append(n)
    }
    if !frames.isEmpty { statistics.markSeen(slots: frames.count) }
    return frames
  }
}
