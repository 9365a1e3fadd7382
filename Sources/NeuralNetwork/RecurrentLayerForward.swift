import Tensors

// Forward through time. N(·) is a normalised term, where the placement has one:
//
// (x_t is whitened before, where the placement says so.)
//
//   a_t = N(N(W_x x_t) + N(W_h h_{t-1})) + b     h_t = N(the cell's output, of N(c_t) where the cell is normalised)

extension RecurrentLayer {
  /// Runs through the sequences of every local shard, in the layer's own order of time.
  /// - memory: of each term; empty in evaluation.
  /// - Throws: what the exchange of statistics throws.
  func forward(_ shards: [LayerWorkspace<S>], _ memory: [TermWorkspace<S>], _ pass: PassContext<S>) throws {
    pass.timer.enter(.inputProduct)
    // Fixed weights were packed before the first pass.
    if case .training = pass.mode { packWeights(mask: recurrentMask(pass)) }
    for w in shards {
      let rows = 0..<w.sequences.frames
      whitening?.whiten(w.input.rows(rows), centered: w.centeredInput.rows(rows), into: w.whitenedInput.rows(rows))
      w.inputProduct.rows(rows).setProduct(w.factor.rows(rows).asIs, packed: packedInput)
    }
    try normalize(inputTerm, 0..<pass.steps, shards, memory, pass)
    pass.timer.enter(.recurrence)
    for t in 0..<pass.steps {
      for w in shards where t < w.sequences.steps { multiplyRecurrent(w, step: t) }
      try normalize(recurrentTerm, t..<t + 1, shards, memory, pass)
      try normalize(sumTerm, t..<t + 1, shards, memory, pass)
      for (i, w) in shards.enumerated() where t < w.sequences.steps { forwardCell(step(w, shard: i, t, memory, pass)) }
      if let cellTerm {
        try normalize(cellTerm, t..<t + 1, shards, memory, pass)
        for (i, w) in shards.enumerated() where t < w.sequences.steps {
          emitCell(step(w, shard: i, t, memory, pass), normalizedCell(cellTerm, w, shard: i, t, memory, pass))
        }
      }
      if let outputTerm {
        try normalize(outputTerm, t..<t + 1, shards, memory, pass)
        for (i, w) in shards.enumerated() where t < w.sequences.steps {
          let rows = w.sequences.rows(t), normalized = scaleAndShift(outputTerm, i, t, memory, pass)
          Tensors.scaleAndShift(
            normalizedValues(outputTerm, w, rows), scale: normalized.scale, shift: normalized.shift, out: w.h.rows(rows))
        }
      }
      for w in shards where t < w.sequences.steps { w.passOutputsOn(t) }
    }
    pass.timer.enter(.other)
  }

  /// `W_h h_{t-1}`, alone or added to `W_x x_t`.
  private func multiplyRecurrent(_ w: LayerWorkspace<S>, step t: Int) {
    let rows = w.sequences.rows(t), target = sumsProducts ? w.inputProduct.rows(rows) : w.recurrentProduct(rows)
    target.setProduct(w.hPrevious.rows(rows).asIs, packed: packedRecurrent, accumulate: sumsProducts)
  }

  /// Normalises some steps at one place, if there is a term.
  private func normalize(
    _ number: Int?, _ steps: Range<Int>, _ shards: [LayerWorkspace<S>], _ memory: [TermWorkspace<S>], _ pass: PassContext<S>
  ) throws {
    guard let number else { return }
    try terms[number].normalize(steps, shards, memory.isEmpty ? nil : memory[number], pass)
    pass.timer.enter(.recurrence)
  }
}
