import Tensors

// Backward through time. With da_t the gradient of the preactivation a_t:
//
//   none            dz_t = da_t,               dh_{t-1} = da_t W_h
//   input           dz   = BN'(da),            dh_{t-1} = da_t W_h
//   preactivation   dz_t = BN'(da_t),          dh_{t-1} = dz_t W_h
//
// and dW_x = Σ dz_tᵀ x_t, dW_h = Σ (da_t or dz_t)ᵀ h_{t-1}, dx_t = dz_t W_x. The sums over time are one product each.

extension RecurrentLayer {
  /// Carries gradients back through time and normalisation: afterwards `z` of every shard holds dz, and the other gradients can be taken.
  /// - dOutput: for each local shard the gradient of the layer's output, of all directions, [N, D·H].
  /// - reversals: for each local shard the rows in reversed order.
  /// - Throws: what the exchange of statistics and `sink` throw.
  func backwardThroughTime(
    _ shards: [LayerWorkspace<S>], _ statistics: NormalizationWorkspace<S>?, _ pass: PassContext<S>, dOutput: [MatrixView<S>],
    reversals: [VectorView<Int32>], sink: any GradientSink<S>
  ) throws {
    pass.timer.enter(.recurrence)
    packedTransposed.pack(recurrentWeight.transposed)
    for w in shards {
      // Sequences that end before the last step begin from zero: nothing is written to their rows before they begin.
      w.dhNext.fill(0)
      if w.dc.rows > 0 { w.dc.fill(0) }
      w.dPeephole.fill(0)
    }
    if isStepwise, let statistics {
      statistics.dGamma.fill(0)
      statistics.dBeta.fill(0)
    }
    for t in (0..<pass.steps).reversed() {
      for (i, w) in shards.enumerated() where t < w.sequences.steps { differentiate(w, step: t, dOutput[i], reversals[i]) }
      if isStepwise, let normalization, let statistics {
        try normalizeStepBackward(normalization, shards, statistics, pass, step: t)
      }
      if t > 0 { for w in shards where t < w.sequences.steps { multiplyRecurrentTransposed(w, step: t) } }
      try sink.poll()
    }
    if !isStepwise, let normalization, let statistics { try normalizeWholeBackward(normalization, shards, statistics, pass) }
  }

  /// `da_t W_h`, for the step before.
  private func multiplyRecurrentTransposed(_ w: LayerWorkspace<S>, step t: Int) {
    let rows = w.sequences.rows(t), da = (isStepwise ? w.z : w.gates).rows(rows), target = w.dhNext.rows(0..<rows.count)
    target.setProduct(da.asIs, packed: packedTransposed)
  }

  /// The gradient of a shard's input, `dz W_x`, in the layer's order of time. [N, I]
  /// - packed: room for a matrix [I, N], or of less.
  func differentiateInput(
    _ w: LayerWorkspace<S>, into dInput: MatrixView<S>, packed: PackedMatrix<S>, sink: any GradientSink<S>
  ) throws {
    let frames = w.sequences.frames
    // With many frames it is worth packing W_x, which takes no more than half of what N frames would.
    let packs = frames >= 2 * inputWeight.rows && configuration.products == .own
    if packs { packed.pack(inputWeight.transposed) }
    try inParts(frames, operations: inputWeight.rows * inputWeight.columns, polling: sink) { rows in
      let dz = w.z.rows(rows).asIs, target = dInput.rows(rows)
      if packs { target.setProduct(dz, packed: packed) } else { target.setProduct(dz, inputWeight.asIs, by: configuration.products) }
    }
  }

  /// The cell's derivative at one step, into `gates`.
  private func differentiate(_ w: LayerWorkspace<S>, step t: Int, _ dOutput: MatrixView<S>, _ reversal: VectorView<Int32>) {
    let rows = w.sequences.rows(t), H = configuration.hiddenSize
    var above: MatrixView<S>
    switch direction {
    case .forward: above = dOutput.columns(0..<H).rows(rows)
    case .backward:
      above = w.dhAbove.rows(0..<rows.count)
      above.gatherRows(of: dOutput.columns(H..<2 * H), ids: reversal[rows])
    }
    let next = t == w.sequences.steps - 1 ? nil : w.dhNext.rows(0..<rows.count), da = w.gates.rows(rows)
    switch configuration.cell {
    case .lstm:
      lstmBackward(
        gates: da, c: w.cells(t), cPrevious: w.cellsBefore(t), dhAbove: above, dhNext: next, dc: w.dc.rows(0..<rows.count),
        peepholes: peepholes, dPeepholes: dPeepholes(w), da: da)
    case .rnn: rnnBackward(h: w.h.rows(rows), dhAbove: above, dhNext: next, da: da)
    }
  }

  private func dPeepholes(_ w: LayerWorkspace<S>) -> Peepholes<S> {
    switch configuration.peepholes {
    case .none: Peepholes()
    case .output: Peepholes(output: w.dPeephole[2])
    case .all: Peepholes(input: w.dPeephole[0], forget: w.dPeephole[1], output: w.dPeephole[2])
    }
  }

  private func normalizeStepBackward(
    _ normalization: BatchNormalization<S>, _ shards: [LayerWorkspace<S>], _ statistics: NormalizationWorkspace<S>,
    _ pass: PassContext<S>, step t: Int
  ) throws {
    pass.timer.enter(.normalization)
    for (i, w) in shards.enumerated() {
      normalization.takeSums(statistics, shard: i, step: t, w.sequences, dy: w.gates, x: w.z)
      statistics.dBeta[i].add(statistics.sum(i, t))
      statistics.dGamma[i].add(statistics.sumWithX(i, t))
    }
    pass.timer.enter(.statisticsExchange)
    try statistics.combineSums(slot: t, slots: 1, pass.reducer)
    pass.timer.enter(.normalization)
    for (i, w) in shards.enumerated() {
      let rows = w.sequences.rows(t), z = w.z.rows(rows)
      normalization.backward(
        statistics, shard: i, slot: t, groupCount: pass.counts.groupPerStep[i][t], dy: w.gates.rows(rows), x: z, dx: z)
    }
    pass.timer.enter(.recurrence)
  }

  private func normalizeWholeBackward(
    _ normalization: BatchNormalization<S>, _ shards: [LayerWorkspace<S>], _ statistics: NormalizationWorkspace<S>,
    _ pass: PassContext<S>
  ) throws {
    pass.timer.enter(.normalization)
    let isFrame = normalization.kind == .frame, slots = isFrame ? pass.steps : 1
    for (i, w) in shards.enumerated() {
      normalization.takeSums(statistics, shard: i, w.sequences, steps: pass.steps, dy: w.gates, x: w.z)
      statistics.dBeta[i].fill(0)
      statistics.dGamma[i].fill(0)
      for slot in 0..<slots {
        statistics.dBeta[i].add(statistics.sum(i, slot))
        statistics.dGamma[i].add(statistics.sumWithX(i, slot))
      }
    }
    pass.timer.enter(.statisticsExchange)
    try statistics.combineSums(slot: 0, slots: slots, pass.reducer)
    pass.timer.enter(.normalization)
    for (i, w) in shards.enumerated() {
      for slot in 0..<slots {
        let rows = isFrame ? w.sequences.rows(slot) : 0..<w.sequences.frames, z = w.z.rows(rows)
        normalization.backward(
          statistics, shard: i, slot: slot, groupCount: isFrame ? pass.counts.groupPerStep[i][slot] : pass.counts.groupTotal[i],
          dy: w.gates.rows(rows), x: z, dx: z)
      }
    }
  }

  /// The gradients of the layer's tensors on one shard, at their places in the flat `gradient`.
  /// - packedInput: room for what the layer reads.
  func writeGradients(
    _ w: LayerWorkspace<S>, shard: Int, _ statistics: NormalizationWorkspace<S>?, into gradient: VectorView<S>,
    packedInput: PackedMatrix<S>, sink: any GradientSink<S>
  ) throws {
    let accumulate = sink.accumulates
    let rows = 0..<w.sequences.frames
    let dz = w.z.rows(rows), da = (isStepwise ? w.z : w.gates).rows(rows)
    func write(_ place: Range<Int>?, _ values: VectorView<S>) {
      guard let place else { return }
      if accumulate { gradient[place].add(values) } else { gradient[place].copy(from: values) }
    }
    /// `dᵀ x`. The sink is told of every part but the last.
    func multiply(_ d: MatrixView<S>, _ x: MatrixView<S>, at place: Range<Int>) throws {
      let target = gradient[place].matrix(rows: d.columns, columns: x.columns)
      packedInput.pack(x.transposed)
      try inParts(d.columns, operations: d.rows * x.columns, polling: sink) { rows in
        target.rows(rows).setProduct(d.columns(rows).transposed, packed: packedInput, accumulate: accumulate)
        if rows.upperBound < d.columns { try sink.advance(.layer(index), shard: shard, to: place.lowerBound + rows.upperBound * x.columns) }
      }
    }
    try multiply(dz, w.input.rows(rows), at: places.inputWeight)
    try multiply(da, w.hPrevious.rows(rows), at: places.recurrentWeight)
    if let place = places.bias { gradient[place].columnSums(of: dz, accumulate: accumulate) }
    switch configuration.peepholes {
    case .none: break
    case .output: write(places.peephole, w.dPeephole[2])
    case .all: write(places.peephole, w.dPeephole.vector)
    }
    if let statistics {
      write(places.gamma, statistics.dGamma[shard])
      write(places.beta, statistics.dBeta[shard])
    }
  }
}
