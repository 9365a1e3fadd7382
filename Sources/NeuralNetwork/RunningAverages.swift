import Tensors

// Running averages take the mean over groups, weighted by frames: s = Σ_g n_g s_g / Σ_g n_g, the variance unbiased.
// Groups of fewer than two frames have no variance and are left out.

/// Contributions of groups to the running averages of all layers, summed over groups in one message a minibatch.
final class RunningAverages<S: Scalar> {
  // For each layer and each slot that the minibatch has, means and then variances; room for all slots. [local shards, Σ 2 · slots · F].
  private let contributions: MatrixView<S>
  // Where each layer's begin in the minibatch under way.
  private var offsets: [Int]

  init(_ normalizations: [BatchNormalization<S>], localShards: Int) {
    offsets = normalizations.map { _ in 0 }
    contributions = MatrixView(zeros: localShards, normalizations.reduce(0) { $0 + 2 * $1.slots * $1.site.features })
  }

  /// Updates the running averages of every layer with the statistics of one minibatch.
  func update(
    _ normalizations: [BatchNormalization<S>], _ workspaces: [NormalizationWorkspace<S>?], _ pass: PassContext<S>,
    globalReducer: any StatisticsReducing<S>
  ) throws {
    if normalizations.isEmpty { return }
    precondition(workspaces.count == normalizations.count, "workspaces of other layers")
    var width = 0
    for (layer, normalization) in normalizations.enumerated() {
      offsets[layer] = width
      width += 2 * usedSlots(normalization, pass) * normalization.site.features
    }
    let contributions = contributions.columns(0..<width)
    contributions.fill(0)
    for (layer, normalization) in normalizations.enumerated() {
      guard let workspace = workspaces[layer] else { continue }
      for (i, shard) in pass.groups.local.enumerated() where pass.groups.group(of: shard).lowerBound == shard || pass.groups.isGlobal {
        if pass.groups.isGlobal && i > 0 { continue }
        contribute(normalization, workspace, shard: i, offset: offsets[layer], pass)
      }
    }
    // A single group is the same on every rank already.
    if !pass.groups.isGlobal { try globalReducer.combineSums(contributions) }
    for (layer, normalization) in normalizations.enumerated() {
      let F = normalization.site.features, slots = usedSlots(normalization, pass)
      for slot in 0..<slots where weight(normalization, pass, slot: slot) > 0 {
        let start = offsets[layer] + 2 * slot * F
        normalization.running.blend(
          slot: slot, momentum: normalization.momentum, mean: contributions[0][start..<start + F],
          variance: contributions[0][start + F..<start + 2 * F])
      }
    }
  }

  private func usedSlots(_ n: BatchNormalization<S>, _ pass: PassContext<S>) -> Int { n.kind == .frame ? pass.steps : 1 }

  /// Frames of all groups that count.
  private func weight(_ n: BatchNormalization<S>, _ pass: PassContext<S>, slot: Int) -> Int {
    n.kind == .frame ? pass.counts.pooledOfStep[slot] : pass.counts.pooledTotal
  }

  private func contribute(
    _ normalization: BatchNormalization<S>, _ w: NormalizationWorkspace<S>, shard: Int, offset: Int, _ pass: PassContext<S>
  ) {
    let F = normalization.site.features
    for slot in 0..<usedSlots(normalization, pass) {
      let n = normalization.kind == .frame ? pass.counts.groupPerStep[shard][slot] : pass.counts.groupTotal[shard]
      if n < 2 { continue }
      let share = S(n) / S(weight(normalization, pass, slot: slot)), start = offset + 2 * slot * F
      contributions[shard][start..<start + F].blend(keep: 0, weight: share, w.mean(shard, slot))
      contributions[shard][start + F..<start + 2 * F].blend(keep: 0, weight: share / S(n - 1), w.squares(shard, slot))
    }
  }
}
