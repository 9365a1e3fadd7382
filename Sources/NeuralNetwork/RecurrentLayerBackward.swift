import Tensors

// Backward through time: the terms of `forward` in reverse order. With da_t the gradient of the preactivation and N' the derivative of
// a term, where there is one:
//
//   dz_t = N'(da_t) for W_x x_t     dr_t = N'(da_t) for W_h h_{t-1}     dh_{t-1} = dr_t W_h (and what the cell carries)
//
// and dW_x = Σ dz_tᵀ x_t, dW_h = Σ dr_tᵀ h_{t-1}, dx_t = dz_t W_x. The sums over time are one product each.

extension RecurrentLayer {
  /// Carries gradients back through time and normalisation: afterwards every shard has those of its products, and the others can be taken.
  /// - dOutput: for each local shard the gradient of the layer's output, of all directions, [N, D·H].
  /// - reversals: for each local shard the rows in reversed order.
  /// - observer: is shown the gradient of each step's outputs, from above and from the next step.
  /// - Throws: what the exchange of statistics and `sink` throw.
  func backwardThroughTime(
    _ shards: [LayerWorkspace<S>], _ memory: [TermWorkspace<S>], _ pass: PassContext<S>, dOutput: [MatrixView<S>],
    reversals: [VectorView<Int32>], sink: any GradientSink<S>, observer: StateGradientObserver<S>? = nil
  ) throws {
    pass.timer.enter(.recurrence)
    packedTransposed.pack(recurrentWeight(under: recurrentMask(pass)).transposed)
    for w in shards {
      // Sequences that end before the last step begin from zero: nothing is written to their rows before they begin.
      w.dhNext.fill(0)
      if w.dc.rows > 0 { w.dc.fill(0) }
      w.dPeephole.fill(0)
    }
    for term in memory { term.beginBackward() }
    for t in (0..<pass.steps).reversed() {
      if let observer {
        for (i, w) in shards.enumerated() where t < w.sequences.steps {
          let gradient = MatrixView<S>(zeros: w.sequences.active(t), configuration.hiddenSize)
          collectOutputGradient(w, step: t, dOutput[i], reversals[i], into: gradient)
          observer(i, t, gradient)
        }
      }
      if let outputTerm {
        for (i, w) in shards.enumerated() where t < w.sequences.steps {
          collectOutputGradient(w, step: t, dOutput[i], reversals[i], into: w.dState.rows(0..<w.sequences.active(t)))
        }
        try differentiate(outputTerm, t..<t + 1, shards, memory, pass)
      }
      if let cellTerm {
        for (i, w) in shards.enumerated() where t < w.sequences.steps {
          differentiateEmit(
            step(w, shard: i, t, memory, pass), normalizedCell(cellTerm, w, shard: i, t, memory, pass),
            gradients(w, step: t, dOutput[i], reversals[i]))
        }
        try differentiate(cellTerm, t..<t + 1, shards, memory, pass)
      }
      for (i, w) in shards.enumerated() where t < w.sequences.steps {
        backwardCell(step(w, shard: i, t, memory, pass), gradients(w, step: t, dOutput[i], reversals[i]))
      }
      if let sumTerm { try differentiate(sumTerm, t..<t + 1, shards, memory, pass) }
      if let recurrentTerm { try differentiate(recurrentTerm, t..<t + 1, shards, memory, pass) }
      for w in shards where t < w.sequences.steps && (t > 0 || wantsInitialGradient(w)) { multiplyRecurrentTransposed(w, step: t) }
      try sink.poll()
    }
    if let inputTerm { try differentiate(inputTerm, 0..<pass.steps, shards, memory, pass) }
  }

  private func differentiate(
    _ number: Int, _ steps: Range<Int>, _ shards: [LayerWorkspace<S>], _ memory: [TermWorkspace<S>], _ pass: PassContext<S>
  ) throws {
    try terms[number].differentiate(steps, shards, memory[number], pass)
    pass.timer.enter(.recurrence)
  }

  /// Whether the state before the first step is a parameter in the minibatch under way.
  private func wantsInitialGradient(_ w: LayerWorkspace<S>) -> Bool { initialHidden != nil && w.beginsWithInitialState }

  /// `dr_t W_h`, for the step before.
  private func multiplyRecurrentTransposed(_ w: LayerWorkspace<S>, step t: Int) {
    let rows = w.sequences.rows(t), target = w.dhNext.rows(0..<rows.count)
    target.setProduct(
      w.dRecurrentProduct(rows).asIs, packed: packedTransposed, accumulate: configuration.cell.shape.readsProductsApart)
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
    // The whitened input is not needed any more: its gradient takes its place.
    let dFactor = whitening == nil ? dInput : w.whitenedInput
    try inParts(frames, operations: inputWeight.rows * inputWeight.columns, polling: sink) { rows in
      let dz = w.dInputProduct(rows).asIs, target = dFactor.rows(rows)
      if packs { target.setProduct(dz, packed: packed) } else { target.setProduct(dz, inputWeight.asIs, by: configuration.products) }
    }
    whitening?.differentiate(dFactor.rows(0..<frames), into: dInput.rows(0..<frames))
  }

  // MARK: One step

  /// The gradient of a shard's outputs of step `t` from the layer above.
  private func gradientFromAbove(
    _ w: LayerWorkspace<S>, step t: Int, _ dOutput: MatrixView<S>, _ reversal: VectorView<Int32>
  ) -> MatrixView<S> {
    let rows = w.sequences.rows(t), H = configuration.hiddenSize
    switch direction {
    case .forward: return dOutput.columns(0..<H).rows(rows)
    case .backward:
      let above = w.dhAbove.rows(0..<rows.count)
      above.gatherRows(of: dOutput.columns(H..<2 * H), ids: reversal[rows])
      return above
    }
  }

  /// The gradient of the outputs of step `t`, from above and from the next step. [sequences of the step, H]
  private func collectOutputGradient(
    _ w: LayerWorkspace<S>, step t: Int, _ dOutput: MatrixView<S>, _ reversal: VectorView<Int32>, into target: MatrixView<S>
  ) {
    target.copy(from: gradientFromAbove(w, step: t, dOutput, reversal))
    target.vector.add(w.dhNext.rows(0..<target.rows).vector)
  }

  /// The gradients of step `t` of a shard. Where outputs or cells are normalised, `dState` has what comes through that.
  private func gradients(
    _ w: LayerWorkspace<S>, step t: Int, _ dOutput: MatrixView<S>, _ reversal: VectorView<Int32>
  ) -> CellGradients<S> {
    let rows = w.sequences.rows(t), sequences = 0..<rows.count, isLast = t == w.sequences.steps - 1
    let dhNext = w.dhNext.rows(sequences), dState = w.dState.rows > 0 ? w.dState.rows(sequences) : w.dState
    return CellGradients(
      dhAbove: outputTerm != nil ? dState : gradientFromAbove(w, step: t, dOutput, reversal),
      dhNext: isLast || outputTerm != nil ? nil : dhNext, dhPrevious: dhNext, dc: w.dc.rows > 0 ? w.dc.rows(sequences) : w.dc,
      dNormalizedCell: dState, dPeepholes: dPeepholes(w), dPreactivation: w.dPreactivation(rows),
      dRecurrent: recurrentTerm != nil ? w.dNormalized(.recurrentProduct, rows) : w.dRecurrentProduct(rows))
  }

  private func dPeepholes(_ w: LayerWorkspace<S>) -> Peepholes<S> {
    switch configuration.peepholes {
    case .none: Peepholes()
    case .output: Peepholes(output: w.dPeephole[2])
    case .all: Peepholes(input: w.dPeephole[0], forget: w.dPeephole[1], output: w.dPeephole[2])
    }
  }

  // MARK: Parameters

  /// The gradients of the layer's tensors on one shard, at their places in the flat `gradient`.
  /// - mask: of W_h in the pass.
  /// - packedInput: room for what the layer reads.
  func writeGradients(
    _ w: LayerWorkspace<S>, shard: Int, _ memory: [TermWorkspace<S>], mask: DropoutKey?, into gradient: VectorView<S>,
    packedInput: PackedMatrix<S>, sink: any GradientSink<S>
  ) throws {
    let accumulate = sink.accumulates
    let rows = 0..<w.sequences.frames
    func write(_ place: Range<Int>?, _ values: VectorView<S>) {
      guard let place else { return }
      if accumulate { gradient[place].add(values) } else { gradient[place].copy(from: values) }
    }
    func writeSums(_ place: Range<Int>, over matrix: MatrixView<S>) {
      gradient[place].columnSums(of: matrix, accumulate: accumulate)
    }
    /// `dᵀ x`. The sink is told of every part but the last.
    func multiply(_ d: MatrixView<S>, _ x: MatrixView<S>, at place: Range<Int>, mask: DropoutKey? = nil) throws {
      let target = gradient[place].matrix(rows: d.columns, columns: x.columns)
      packedInput.pack(x.transposed)
      try inParts(d.columns, operations: d.rows * x.columns, polling: sink) { rows in
        target.rows(rows).setProduct(d.columns(rows).transposed, packed: packedInput, accumulate: accumulate)
        if let mask { differentiateMask(mask, target.rows(rows), rows: rows) }
        if rows.upperBound < d.columns { try sink.advance(.layer(index), shard: shard, to: place.lowerBound + rows.upperBound * x.columns) }
      }
    }
    try multiply(w.dInputProduct(rows), w.factor.rows(rows), at: places.inputWeight)
    try multiply(w.dRecurrentProduct(rows), w.hPrevious.rows(rows), at: places.recurrentWeight, mask: sink.completes ? mask : nil)
    if let place = places.bias {
      if let inputTerm { write(place, memory[inputTerm].dShift[shard]) } else { writeSums(place, over: w.dPreactivation(rows)) }
    }
    if let place = places.hiddenBias {
      let last = configuration.gateSize - configuration.hiddenSize..<configuration.gateSize
      if let recurrentTerm {
        write(place, memory[recurrentTerm].dShift[shard][last])
      } else {
        writeSums(place, over: w.dRecurrentProduct(rows).columns(last))
      }
    }
    switch configuration.peepholes {
    case .none: break
    case .output: write(places.peephole, w.dPeephole[2])
    case .all: write(places.peephole, w.dPeephole.vector)
    }
    for (number, term) in memory.enumerated() {
      write(places.gammas[number], term.dGamma[shard])
      write(places.betas[number], term.dShift[shard])
    }
    // A state that was carried over is a constant.
    let begun = wantsInitialGradient(w) ? 0..<w.sequences.count : 0..<0
    if let place = places.initialHidden { writeSums(place, over: w.dhNext.rows(begun)) }
    if let place = places.initialCell { writeSums(place, over: w.dc.rows(begun)) }
  }
}
