import Tensors

// Forward, loss and backward of the whole model over the local shards of one minibatch.

extension SequenceModel {
  /// Runs every layer over `workspace.inputs`.
  /// - globalReducer: combines over all shards, for the running averages of smaller groups.
  /// - Throws: what the exchange of statistics throws.
  @specialized(where S == Float)
  public func forward(
    _ workspace: ModelWorkspace<S>, _ pass: PassContext<S>, globalReducer: any StatisticsReducing<S>
  ) throws {
    precondition(pass.steps <= workspace.maximumSteps, "more steps than the workspace has room for")
    precondition(pass.counts.steps == pass.steps, "counts of another window")
    precondition(pass.mode == .evaluation || workspace.runningAverages != nil, "a workspace without room for batch statistics")
    pass.timer.enter(.input)
    for (i, B) in workspace.sequences.enumerated() {
      let tokens = 0..<pass.steps * B
      workspace.embedded[i].rows(tokens).gatherRows(of: embedding, ids: workspace.inputs[i][tokens])
    }
    for layer in layers {
      dropInput(of: layer.index, workspace, pass)
      try layer.forward(workspace.layers[layer.index], statistics(layer, workspace), pass)
    }
    dropInput(of: layers.count, workspace, pass)
    if case .training = pass.mode, let averages = workspace.runningAverages {
      pass.timer.enter(.statisticsExchange)
      try averages.update(normalizations, workspace.normalizations, pass, globalReducer: globalReducer)
    }
    pass.timer.enter(.other)
  }

  /// Summed cross entropy of each local shard in nats, and the number of wrong arg maxes; no gradient.
  @specialized(where S == Float)
  public func evaluateLoss(_ workspace: ModelWorkspace<S>, _ pass: PassContext<S>) -> [(loss: Double, errors: Int)] {
    pass.timer.enter(.softmax)
    defer { pass.timer.enter(.other) }
    return workspace.sequences.indices.map { i in
      var sum = (loss: 0.0, errors: 0)
      forEachChunk(workspace, shard: i, steps: pass.steps) { rows, logits in
        logits.setProduct(workspace.top[i].rows(rows).asIs, outputWeight.transposed)
        let chunk = softmaxCrossEntropy(logits: logits, bias: outputBias, targets: workspace.targets[i][rows])
        sum.loss += chunk.loss
        sum.errors += chunk.errors
      }
      return sum
    }
  }

  /// Summed cross entropy of each local shard in nats, and all gradients of `gradientScale` times the sum.
  /// - Throws: what the exchange of statistics and `sink` throw.
  @specialized(where S == Float)
  public func backward(
    _ workspace: ModelWorkspace<S>, _ pass: PassContext<S>, gradientScale: Double, sink: any GradientSink<S>
  ) throws -> [Double] {
    let losses = try differentiateOutput(workspace, pass, gradientScale: S(gradientScale), sink)
    var from = 0
    for layer in layers.reversed() {
      let c = configuration, I = c.inputSize(ofLayer: layer.index)
      let dOutput = workspace.sequences.indices.map { workspace.gradient($0, from, columns: c.hiddenSize) }
      let dInput = workspace.sequences.indices.map { workspace.gradient($0, 1 - from, columns: I) }
      try layer.backward(
        workspace.layers[layer.index], statistics(layer, workspace), pass, dOutput: dOutput, dInput: dInput, layout: layout,
        sink: sink)
      for (i, gradient) in dInput.enumerated() { dropGradient(gradient, layer: layer.index, shard: i, workspace, pass) }
      from = 1 - from
    }
    pass.timer.enter(.input)
    for (i, B) in workspace.sequences.enumerated() {
      let tokens = 0..<pass.steps * B
      let flat = sink.begin(.embedding, shard: i)
      let E = configuration.embeddingSize, rows = (flat.count - layout.embedding.lowerBound) / E
      let compact = flat[layout.embedding.lowerBound..<layout.embedding.lowerBound + rows * E].matrix(rows: rows, columns: E)
      if !sink.accumulates { compact.fill(0) }
      compact.scatterAddRows(
        of: workspace.gradient(i, from, columns: E).rows(tokens), slots: workspace.embeddingSlots[i][tokens])
      try sink.end(.embedding, shard: i)
    }
    pass.timer.enter(.other)
    return losses
  }

  /// Log-probabilities of the tokens after each sequence of shard 0 at step `step`, [B, V], without the normalising constant.
  public func logits(_ workspace: ModelWorkspace<S>, step: Int) -> MatrixView<S> {
    let B = workspace.sequences[0]
    let logits = workspace.logits.rows(0..<B)
    logits.setProduct(workspace.top[0].rows(step * B..<(step + 1) * B).asIs, outputWeight.transposed)
    for row in 0..<B { logits[row].add(outputBias) }
    return logits
  }

  private func statistics(_ layer: RecurrentLayer<S>, _ workspace: ModelWorkspace<S>) -> NormalizationWorkspace<S>? {
    layer.normalization == nil || workspace.normalizations.isEmpty ? nil : workspace.normalizations[layer.index]
  }

  /// The output layer, in chunks of rows: logits, softmax, loss and the logits' gradient while the chunk is in the cache.
  private func differentiateOutput(
    _ workspace: ModelWorkspace<S>, _ pass: PassContext<S>, gradientScale: S, _ sink: any GradientSink<S>
  ) throws -> [Double] {
    var losses: [Double] = []
    for i in workspace.sequences.indices {
      pass.timer.enter(.softmax)
      let gradient = sink.begin(.output, shard: i)
      let slice = layout.tensor("output.weight")
      let dWeight = gradient[slice.range].matrix(rows: slice.shape[0], columns: slice.shape[1])
      let dBias = gradient[layout.tensor("output.bias").range]
      let dTop = workspace.gradient(i, 0, columns: configuration.hiddenSize)
      var loss = 0.0
      forEachChunk(workspace, shard: i, steps: pass.steps) { rows, logits in
        let top = workspace.top[i].rows(rows), accumulate = sink.accumulates || rows.lowerBound > 0
        logits.setProduct(top.asIs, outputWeight.transposed)
        loss += softmaxCrossEntropyWithGradient(
          logits: logits, bias: outputBias, targets: workspace.targets[i][rows], gradientScale: gradientScale)
        dWeight.setProduct(logits.transposed, top.asIs, accumulate: accumulate)
        dBias.columnSums(of: logits, accumulate: accumulate)
        dTop.rows(rows).setProduct(logits.asIs, outputWeight.asIs)
      }
      losses.append(loss)
      dropGradient(dTop, layer: layers.count, shard: i, workspace, pass)
      pass.timer.enter(.gradientExchange)
      try sink.end(.output, shard: i)
    }
    return losses
  }

  private func forEachChunk(
    _ workspace: ModelWorkspace<S>, shard: Int, steps: Int, _ body: (Range<Int>, MatrixView<S>) -> Void
  ) {
    let rows = steps * workspace.sequences[shard]
    for first in stride(from: 0, to: rows, by: workspace.logits.rows) {
      let chunk = first..<min(rows, first + workspace.logits.rows)
      body(chunk, workspace.logits.rows(0..<chunk.count))
    }
  }

  // MARK: Dropout

  /// The masks of connection `layer` on a local shard, where this pass has any.
  private func dropoutKey(_ layer: Int, shard: Int, _ workspace: ModelWorkspace<S>, _ pass: PassContext<S>) -> DropoutKey? {
    guard case .training(let step, let seed) = pass.mode, configuration.dropout > 0 else { return nil }
    return DropoutKey(
      probability: configuration.dropout, seed: seed, step: step, layer: UInt32(layer),
      firstExample: UInt32(workspace.firstExamples[shard]))
  }

  /// Dropout on the input of `layer` (the output layer's for `layers.count`).
  private func dropInput(of layer: Int, _ workspace: ModelWorkspace<S>, _ pass: PassContext<S>) {
    for (i, B) in workspace.sequences.enumerated() {
      let below = layer == 0 ? workspace.embedded[i] : workspace.layers[layer - 1][i].output(steps: workspace.maximumSteps)
      let target = layer == layers.count ? workspace.top[i] : workspace.layers[layer][i].input
      if let key = dropoutKey(layer, shard: i, workspace, pass) {
        for t in 0..<pass.steps {
          dropout(below.rows(t * B..<(t + 1) * B), key: key, time: t, out: target.rows(t * B..<(t + 1) * B))
        }
      } else if workspace.hasDropoutBuffers && layer > 0 {
        target.rows(0..<pass.steps * B).copy(from: below.rows(0..<pass.steps * B))
      }
    }
  }

  private func dropGradient(
    _ gradient: MatrixView<S>, layer: Int, shard: Int, _ workspace: ModelWorkspace<S>, _ pass: PassContext<S>
  ) {
    guard let key = dropoutKey(layer, shard: shard, workspace, pass) else { return }
    let B = workspace.sequences[shard]
    for t in 0..<pass.steps {
      let rows = gradient.rows(t * B..<(t + 1) * B)
      dropout(rows, key: key, time: t, out: rows)
    }
  }
}
