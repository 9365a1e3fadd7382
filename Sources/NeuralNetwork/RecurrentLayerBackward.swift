import Tensors

// Backward through time. With da_t the gradient of the preactivation a_t:
//
//   none            dz_t = da_t,               dh_{t-1} = da_t W_h
//   input           dz   = BN'(da),            dh_{t-1} = da_t W_h
//   preactivation   dz_t = BN'(da_t),          dh_{t-1} = dz_t W_h
//
// and dW_x = Σ dz_tᵀ x_t, dW_h = Σ (da_t or dz_t)ᵀ h_{t-1}, dx_t = dz_t W_x. The sums over time are one product each.

extension RecurrentLayer {
  /// Gradients of everything below the layer's output.
  /// - dOutput: for each local shard the gradient of its outputs, [T·B, H].
  /// - dInput: for each local shard where the gradient of its input goes, [T·B, I].
  /// - Throws: what the exchange of statistics throws.
  func backward(
    _ shards: [LayerWorkspace<S>], _ statistics: NormalizationWorkspace<S>?, _ pass: PassContext<S>, dOutput: [MatrixView<S>],
    dInput: [MatrixView<S>], layout: ParameterLayout, sink: any GradientSink<S>
  ) throws {
    pass.timer.enter(.recurrence)
    for w in shards {
      if w.dc.rows > 0 { w.dc.fill(0) }
      w.dPeephole.fill(0)
    }
    if isStepwise, let statistics {
      statistics.dGamma.fill(0)
      statistics.dBeta.fill(0)
    }
    for t in (0..<pass.steps).reversed() {
      for i in shards.indices { differentiate(shards[i], step: t, isLast: t == pass.steps - 1, dOutput[i]) }
      if isStepwise, let normalization, let statistics {
        try normalizeStepBackward(normalization, shards, statistics, pass, step: t)
      }
      if t > 0 {
        for w in shards {
          w.dhNext.setProduct((isStepwise ? w.z : w.gates).rows(w.rows(t)).asIs, recurrentWeight.asIs)
        }
      }
      try sink.poll()
    }
    if !isStepwise, let normalization, let statistics { try normalizeWholeBackward(normalization, shards, statistics, pass) }
    for i in shards.indices {
      let w = shards[i]
      pass.timer.enter(.weightGradients)
      let gradient = sink.begin(.layer(index), shard: i)
      writeGradients(w, shard: i, statistics, steps: pass.steps, into: gradient, layout: layout, accumulate: sink.accumulates)
      pass.timer.enter(.inputProduct)
      let rows = 0..<pass.steps * w.B
      dInput[i].rows(rows).setProduct(w.z.rows(rows).asIs, inputWeight.asIs)
      pass.timer.enter(.gradientExchange)
      try sink.end(.layer(index), shard: i)
    }
    pass.timer.enter(.other)
  }

  /// The cell's derivative at one step, into `gates`.
  private func differentiate(_ w: LayerWorkspace<S>, step t: Int, isLast: Bool, _ dOutput: MatrixView<S>) {
    let above = dOutput.rows(w.rows(t)), next = isLast ? nil : w.dhNext, da = w.gates.rows(w.rows(t))
    switch configuration.cell {
    case .lstm:
      lstmBackward(
        gates: da, c: w.c.rows(w.rows(t + 1)), cPrevious: w.c.rows(w.rows(t)), dhAbove: above, dhNext: next, dc: w.dc,
        peepholes: peepholes, dPeepholes: dPeepholes(w), da: da)
    case .rnn: rnnBackward(h: w.h.rows(w.rows(t + 1)), dhAbove: above, dhNext: next, da: da)
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
    for i in shards.indices {
      let w = shards[i]
      normalization.addSums(
        statistics, shard: i, step: t, isFirst: true, dy: w.gates.rows(w.rows(t)), x: w.z.rows(w.rows(t)))
      statistics.dBeta[i].add(statistics.sum(i, t))
      statistics.dGamma[i].add(statistics.sumWithX(i, t))
    }
    pass.timer.enter(.statisticsExchange)
    try statistics.combineSums(slot: t, slots: 1, pass.reducer)
    pass.timer.enter(.normalization)
    for i in shards.indices {
      let w = shards[i]
      let z = w.z.rows(w.rows(t))
      normalization.backward(
        statistics, shard: i, step: t, groupCount: pass.counts.groupPerStep[i][t], dy: w.gates.rows(w.rows(t)), x: z, dx: z)
    }
    pass.timer.enter(.recurrence)
  }

  private func normalizeWholeBackward(
    _ normalization: BatchNormalization<S>, _ shards: [LayerWorkspace<S>], _ statistics: NormalizationWorkspace<S>,
    _ pass: PassContext<S>
  ) throws {
    pass.timer.enter(.normalization)
    let isFrame = normalization.kind == .frame
    for i in shards.indices {
      let w = shards[i]
      for t in 0..<pass.steps {
        normalization.addSums(
          statistics, shard: i, step: t, isFirst: t == 0, dy: w.gates.rows(w.rows(t)), x: w.z.rows(w.rows(t)))
      }
      statistics.dBeta[i].fill(0)
      statistics.dGamma[i].fill(0)
      for slot in 0..<(isFrame ? pass.steps : 1) {
        statistics.dBeta[i].add(statistics.sum(i, slot))
        statistics.dGamma[i].add(statistics.sumWithX(i, slot))
      }
    }
    pass.timer.enter(.statisticsExchange)
    try statistics.combineSums(slot: 0, slots: isFrame ? pass.steps : 1, pass.reducer)
    pass.timer.enter(.normalization)
    for i in shards.indices {
      let w = shards[i]
      for t in 0..<pass.steps {
        let z = w.z.rows(w.rows(t))
        normalization.backward(
          statistics, shard: i, step: t, groupCount: isFrame ? pass.counts.groupPerStep[i][t] : pass.counts.groupTotal[i],
          dy: w.gates.rows(w.rows(t)), x: z, dx: z)
      }
    }
  }

  /// The gradients of the layer's tensors on one shard, at their places in the flat `gradient`.
  private func writeGradients(
    _ w: LayerWorkspace<S>, shard: Int, _ statistics: NormalizationWorkspace<S>?, steps: Int, into gradient: VectorView<S>,
    layout: ParameterLayout, accumulate: Bool
  ) {
    let rows = 0..<steps * w.B
    let dz = w.z.rows(rows), da = (isStepwise ? w.z : w.gates).rows(rows)
    func matrix(_ name: String) -> MatrixView<S> {
      let slice = layout.tensor(prefix + name)
      return gradient[slice.range].matrix(rows: slice.shape[0], columns: slice.shape[1])
    }
    func write(_ name: String, _ values: VectorView<S>) {
      let target = gradient[layout.tensor(prefix + name).range]
      if accumulate { target.add(values) } else { target.copy(from: values) }
    }
    matrix("input_weight").setProduct(dz.transposed, w.input.rows(rows).asIs, accumulate: accumulate)
    matrix("recurrent_weight").setProduct(da.transposed, w.h.rows(rows).asIs, accumulate: accumulate)
    if let slice = layout.optionalTensor(prefix + "bias") {
      gradient[slice.range].columnSums(of: dz, accumulate: accumulate)
    }
    switch configuration.peepholes {
    case .none: break
    case .output: write("peephole", w.dPeephole[2])
    case .all: write("peephole", w.dPeephole.vector)
    }
    if let normalization, let statistics {
      write(normalization.site.name + ".gamma", statistics.dGamma[shard])
      if normalization.site.hasBeta { write(normalization.site.name + ".beta", statistics.dBeta[shard]) }
    }
  }
}
