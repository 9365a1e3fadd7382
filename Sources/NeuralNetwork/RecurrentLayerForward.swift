import Tensors

// Forward through time.
//
//   none            a_t = W_x x_t + W_h h_{t-1} + b
//   input           a_t = W_h h_{t-1} + BN(W_x x_t)
//   preactivation   a_t = BN(W_x x_t + W_h h_{t-1})

extension RecurrentLayer {
  /// Runs through the sequences of every local shard, in the layer's own order of time.
  /// - Throws: what the exchange of statistics throws.
  func forward(_ shards: [LayerWorkspace<S>], _ statistics: NormalizationWorkspace<S>?, _ pass: PassContext<S>) throws {
    pass.timer.enter(.inputProduct)
    // Fixed weights were packed before the first pass.
    if case .training = pass.mode { packWeights() }
    for w in shards {
      let rows = 0..<w.sequences.frames
      w.z.rows(rows).setProduct(w.input.rows(rows).asIs, packed: packedInput)
    }
    if let normalization, let statistics, pass.mode.usesBatchStatistics, !isStepwise {
      try normalizeWhole(normalization, shards, statistics, pass)
    }
    pass.timer.enter(.recurrence)
    for t in 0..<pass.steps {
      for w in shards where t < w.sequences.steps { multiplyRecurrent(w, step: t) }
      if let normalization, let statistics, pass.mode.usesBatchStatistics, isStepwise {
        try normalizeStep(normalization, shards, statistics, pass, step: t)
      }
      for (i, w) in shards.enumerated() where t < w.sequences.steps { activate(w, shard: i, step: t, statistics, pass) }
    }
    pass.timer.enter(.other)
  }

  /// `W_h h_{t-1}`: added to `z` where both are one sum, else into `r`.
  private func multiplyRecurrent(_ w: LayerWorkspace<S>, step t: Int) {
    let rows = w.sequences.rows(t), previous = w.hPrevious.rows(rows)
    let isSum = normalization == nil || isStepwise
    if isSum {
      w.z.rows(rows).setProduct(previous.asIs, packed: packedRecurrent, accumulate: true)
    } else {
      w.r.rows(0..<rows.count).setProduct(previous.asIs, packed: packedRecurrent)
    }
  }

  /// The nonlinearity of one step, with normalisation as a scale and a shift.
  private func activate(
    _ w: LayerWorkspace<S>, shard: Int, step t: Int, _ statistics: NormalizationWorkspace<S>?, _ pass: PassContext<S>
  ) {
    let rows = w.sequences.rows(t)
    var a = Preactivation(z: w.z.rows(rows), shift: bias)
    if let normalization {
      if pass.mode.usesBatchStatistics, let statistics {
        let slot = normalization.slot(t)
        (a.zScale, a.shift) = (statistics.scale(shard, slot), statistics.shift(shard, slot))
      } else {
        let fold = normalization.evaluationFold(step: pass.firstStep + t)
        (a.zScale, a.shift) = (fold.scale, fold.shift)
      }
      if !isStepwise { a.r = w.r.rows(0..<rows.count) }
    }
    let h = w.h.rows(rows)
    switch configuration.cell {
    case .lstm:
      lstmForward(
        a, peepholes: peepholes, cPrevious: w.cellsBefore(t), gates: w.gates.rows(rows), c: w.cells(t), h: h)
    case .rnn: rnnForward(a, h: h)
    }
    w.passOutputsOn(t)
  }

  /// Statistics of all steps of `z`, exchanged in one message.
  private func normalizeWhole(
    _ normalization: BatchNormalization<S>, _ shards: [LayerWorkspace<S>], _ statistics: NormalizationWorkspace<S>,
    _ pass: PassContext<S>
  ) throws {
    pass.timer.enter(.normalization)
    for (i, w) in shards.enumerated() {
      normalization.takeMoments(statistics, shard: i, w.sequences, steps: pass.steps, x: w.z)
    }
    let isFrame = normalization.kind == .frame
    if pass.mode == .population { population?.add(statistics, slots: 0..<(isFrame ? pass.steps : 1), pass) }
    pass.timer.enter(.statisticsExchange)
    try statistics.combineMoments(
      slot: 0, slots: isFrame ? pass.steps : 1, counts: isFrame ? pass.counts.perStep : pass.counts.perShard, pass.reducer)
    pass.timer.enter(.normalization)
    for i in shards.indices {
      for slot in 0..<(isFrame ? pass.steps : 1) {
        normalization.fold(
          statistics, shard: i, slot: slot, groupCount: isFrame ? pass.counts.groupPerStep[i][slot] : pass.counts.groupTotal[i])
      }
    }
  }

  /// Statistics of one step of `z`.
  private func normalizeStep(
    _ normalization: BatchNormalization<S>, _ shards: [LayerWorkspace<S>], _ statistics: NormalizationWorkspace<S>,
    _ pass: PassContext<S>, step t: Int
  ) throws {
    pass.timer.enter(.normalization)
    for (i, w) in shards.enumerated() {
      computeMoments(of: w.z.rows(w.sequences.rows(t)), mean: statistics.mean(i, t), squares: statistics.squares(i, t))
    }
    if pass.mode == .population { population?.add(statistics, slots: t..<t + 1, pass) }
    pass.timer.enter(.statisticsExchange)
    try statistics.combineMoments(slot: t, slots: 1, counts: pass.counts.ofStep[t], pass.reducer)
    pass.timer.enter(.normalization)
    for i in shards.indices {
      normalization.fold(statistics, shard: i, slot: t, groupCount: pass.counts.groupPerStep[i][t])
    }
    pass.timer.enter(.recurrence)
  }
}
