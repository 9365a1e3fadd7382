import Tensors

// Running averages take the mean over groups, weighted by frames: s = Σ_g n_g s_g / Σ_g n_g, the variance unbiased.
// Groups of fewer than two frames have no variance and are left out.

/// Contributions of groups to the running averages of all normalised terms, summed over groups in one message a minibatch.
final class RunningAverages<S: Scalar> {
  // For each term and each slot that the minibatch has, means and then variances; room for all slots. [local shards, Σ 2 · slots · F].
  private let contributions: MatrixView<S>
  // Where each term's begin in the minibatch under way.
  private var offsets: [Int]

  init(_ normalizations: [BatchNormalization<S>], localShards: Int) {
    offsets = normalizations.map { _ in 0 }
    contributions = MatrixView(zeros: localShards, normalizations.reduce(0) { $0 + 2 * $1.slots * $1.site.features })
  }

  /// Updates the running averages of every term with the statistics of one minibatch.
  func update(
    _ normalizations: [BatchNormalization<S>], _ workspaces: [NormalizationWorkspace<S>], _ pass: PassContext<S>,
    globalReducer: any StatisticsReducing<S>
  ) throws {
    if normalizations.isEmpty { return }
    precondition(workspaces.count == normalizations.count, "workspaces of other terms")
    var width = 0
    for (term, normalization) in normalizations.enumerated() {
      offsets[term] = width
      width += 2 * normalization.usedSlots(pass).count * normalization.site.features
    }
    let contributions = contributions.columns(0..<width)
    contributions.fill(0)
    for (term, normalization) in normalizations.enumerated() {
      let workspace = workspaces[term]
      for (i, shard) in pass.groups.local.enumerated() where pass.groups.group(of: shard).lowerBound == shard || pass.groups.isGlobal {
        if pass.groups.isGlobal && i > 0 { continue }
        contribute(normalization, workspace, shard: i, offset: offsets[term], pass)
      }
    }
    // A single group is the same on every rank already.
    if !pass.groups.isGlobal { try globalReducer.combineSums(contributions) }
    for (term, normalization) in normalizations.enumerated() {
      let F = normalization.site.features
      for slot in normalization.usedSlots(pass) where weight(normalization, pass, slot: slot) > 0 {
        let start = offsets[term] + 2 * slot * F
        normalization.running.blend(
          slot: slot, momentum: normalization.momentum, mean: contributions[0][start..<start + F],
          variance: contributions[0][start + F..<start + 2 * F])
      }
    }
  }

  /// Frames of all groups that count.
  private func weight(_ n: BatchNormalization<S>, _ pass: PassContext<S>, slot: Int) -> Int {
    n.kind == .frame ? pass.counts.pooledOfStep[slot] : pass.counts.pooledTotal
  }

  private func contribute(
    _ normalization: BatchNormalization<S>, _ w: NormalizationWorkspace<S>, shard: Int, offset: Int, _ pass: PassContext<S>
  ) {
    let F = normalization.site.features
    for slot in normalization.usedSlots(pass) {
      let n = normalization.groupCount(pass.counts, shard: shard, slot: slot)
      if n < 2 { continue }
      let share = S(n) / S(weight(normalization, pass, slot: slot)), start = offset + 2 * slot * F
      contributions[shard][start..<start + F].blend(keep: 0, weight: share, w.mean(shard, slot))
      contributions[shard][start + F..<start + 2 * F].blend(keep: 0, weight: share / S(n - 1), w.squares(shard, slot))
    }
  }
}
