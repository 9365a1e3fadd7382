import Tensors

// Forward, loss and backward of the whole model over the local shards of one minibatch.

extension SequenceModel {
  /// Runs every layer over the minibatch that `workspace` holds.
  /// - globalReducer: combines over all shards, for the running averages of smaller groups.
  /// - Throws: what the exchange of statistics throws.
  @specialized(where S == Float)
  public func forward(
    _ workspace: ModelWorkspace<S>, _ pass: PassContext<S>, globalReducer: any StatisticsReducing<S>
  ) throws {
    precondition(workspace.sequences.allSatisfy { $0.steps <= pass.steps }, "a sequence longer than the pass")
    precondition(pass.counts.steps == pass.steps, "counts of another window")
    precondition(!pass.mode.usesBatchStatistics || workspace.hasBatchStatistics || normalizations.isEmpty, "a workspace without room for batch statistics")
    pass.timer.enter(.input)
    if let embedding {
      for (i, sequences) in workspace.sequences.enumerated() {
        let rows = 0..<sequences.frames
        workspace.bottom[i].rows(rows).gatherRows(of: embedding, ids: workspace.tokens[i][rows])
      }
    }
    dropInput(of: 0, workspace, pass)
    for index in 0..<configuration.layers {
      for number in directions(of: index) {
        let layer = layers[number], shards = workspace.layers[number]
        pass.timer.place = layer.forwardPlace
        if layer.direction == .backward {
          pass.timer.enter(.input)
          for (i, w) in shards.enumerated() {
            let rows = 0..<w.sequences.frames
            w.input.rows(rows).gatherRows(of: workspace.inputs[index][i], ids: workspace.reversal(i))
          }
        }
        // The layer before had its state in the same memory.
        if workspace.sharesLayers { for w in shards where w.beginsWithInitialState { w.resetState() } }
        if let key = pass.initialNoise { addInitialNoise(layer, key, shards, workspace.examples) }
        try layer.forward(shards, workspace.terms[number], pass)
        if layer.direction == .backward {
          pass.timer.enter(.input)
          let H = configuration.hiddenSize
          for (i, w) in shards.enumerated() {
            let rows = 0..<w.sequences.frames
            workspace.outputs[index][i].rows(rows).columns(H..<2 * H).gatherRows(of: w.h, ids: workspace.reversal(i))
          }
        }
      }
      dropInput(of: index + 1, workspace, pass)
    }
    pass.timer.place = nil
    if case .training = pass.mode, let averages = workspace.runningAverages {
      pass.timer.enter(.statisticsExchange)
      try averages.update(normalizations, workspace.statistics, pass, globalReducer: globalReducer)
      countRunningFrames(pass)
    }
    pass.timer.enter(.other)
  }

  /// Summed cross entropy of each local shard in nats, and the number of wrong arg maxes; no gradient.
  @specialized(where S == Float)
  public func evaluateLoss(_ workspace: ModelWorkspace<S>, _ pass: PassContext<S>) -> [(loss: Double, errors: Int)] {
    pass.timer.place = Trace.Place("output", pass: "forward")
    pass.timer.enter(.softmax)
    defer {
      pass.timer.place = nil
      pass.timer.enter(.other)
    }
    return workspace.sequences.indices.map { i in
      let read = outputInput(workspace, shard: i)
      return workspace.output.loss(read.input, weight: outputWeight, bias: outputBias, targets: read.targets)
    }
  }

  /// Log posteriors of the classes for every row of sequence `b` of a local shard that the output layer reads, in order of time.
  /// - posteriors: [length, V], or [1, V] where it reads ends of sequences; written.
  public func logPosteriors(_ workspace: ModelWorkspace<S>, shard i: Int, sequence b: Int, into posteriors: MatrixView<S>) {
    let sequences = workspace.sequences[i], rows = configuration.outputRows.count(length: sequences.lengths[b])
    precondition(posteriors.rows == rows && posteriors.columns == configuration.classes, "posteriors of another shape")
    let top = MatrixView<S>(zeros: rows, configuration.outputSize), source = workspace.inputs[layerCount][i]
    switch configuration.outputRows {
    case .frames: for t in 0..<rows { top[t].copy(from: source[sequences.rows(t).lowerBound + b]) }
    case .sequenceEnds: forEachEnd(of: b, sequences) { row, columns in top[0][columns].copy(from: source[row][columns]) }
    }
    posteriors.setProduct(top.asIs, packed: packedOutputWeight())
    logSoftmax(logits: posteriors, bias: outputBias)
  }

  /// Summed cross entropy of each local shard in nats with the number of wrong arg maxes, and all gradients of `gradientScale` times the sum.
  /// - Throws: what the exchange of statistics and `sink` throw.
  @specialized(where S == Float)
  public func backward(
    _ workspace: ModelWorkspace<S>, _ pass: PassContext<S>, gradientScale: Double, sink: any GradientSink<S>
  ) throws -> [(loss: Double, errors: Int)] {
    pass.timer.place = Trace.Place("output", pass: "backward")
    try differentiateOutput(workspace, pass, gradientScale: S(gradientScale), sink)
    let shards = workspace.sequences.indices
    var from = 0
    for index in (0..<layerCount).reversed() {
      let numbers = directions(of: index)
      for number in numbers {
        pass.timer.place = layers[number].backwardPlace
        try layers[number].backwardThroughTime(
          workspace.layers[number], workspace.terms[number], pass,
          dOutput: workspace.outputGradients[from], reversals: workspace.reversalViews, sink: sink)
      }
      for i in shards {
        pass.timer.enter(.weightGradients)
        let gradient = sink.begin(.layer(index), shard: i)
        for number in numbers {
          if numbers.count > 1 {
            pass.timer.place = layers[number].backwardPlace
            pass.timer.enter(.weightGradients)
          }
          try layers[number].writeGradients(
            workspace.layers[number][i], shard: i, workspace.terms[number], mask: layers[number].recurrentMask(pass), into: gradient,
            packedInput: workspace.packedInput, sink: sink)
        }
        try sink.end(.layer(index), shard: i)
        // Nothing below features wants their gradient.
        if index > 0 || embedding != nil { try differentiateInput(of: index, shard: i, buffer: 1 - from, workspace, pass, sink) }
        try sink.poll()
      }
      from = 1 - from
    }
    if embedding != nil {
      pass.timer.place = Trace.Place("embedding", pass: "backward")
      try differentiateEmbedding(workspace, pass, buffer: from, sink)
    }
    pass.timer.place = nil
    pass.timer.enter(.other)
    return workspace.losses
  }

  /// Log-probabilities of the tokens after each sequence of shard 0 at step `step`, [B, V], without the normalising constant.
  public func logits(_ workspace: ModelWorkspace<S>, step: Int) -> MatrixView<S> {
    let rows = workspace.sequences[0].rows(step)
    let logits = MatrixView<S>(zeros: rows.count, configuration.classes)
    logits.setProduct(workspace.inputs[layerCount][0].rows(rows).asIs, packed: packedOutputWeight())
    for row in 0..<rows.count { logits[row].add(outputBias) }
    return logits
  }

  private var layerCount: Int { configuration.layers }

  /// The numbers in `layers` of a layer's directions.
  private func directions(of index: Int) -> Range<Int> {
    let D = configuration.directions.count
    return index * D..<(index + 1) * D
  }

  // MARK: The output layer

  /// What the output layer reads of a shard, and the targets of these rows. Ends of sequences are gathered into memory that shards share.
  private func outputInput(_ workspace: ModelWorkspace<S>, shard i: Int) -> (input: MatrixView<S>, targets: VectorView<Int32>) {
    let sequences = workspace.sequences[i], top = workspace.inputs[layerCount][i]
    switch configuration.outputRows {
    case .frames:
      let rows = 0..<sequences.frames
      return (top.rows(rows), workspace.targets[i][rows])
    case .sequenceEnds:
      let ends = workspace.ends.rows(0..<sequences.count)
      for b in 0..<sequences.count {
        forEachEnd(of: b, sequences) { row, columns in ends[b][columns].copy(from: top[row][columns]) }
      }
      return (ends, workspace.targets[i][0..<sequences.count])
    }
  }

  /// The row at which each direction ends sequence `b`, and its columns of the top outputs.
  func forEachEnd(of b: Int, _ sequences: PackedSequences, _ body: (_ row: Int, _ columns: Range<Int>) -> Void) {
    let H = configuration.hiddenSize
    body(sequences.lastRow(b), 0..<H)
    if configuration.isBidirectional { body(b, H..<2 * H) }
  }

  /// Where the gradient of what the output layer reads goes: into that of the top outputs, [N, D·H], itself where it reads all of them.
  private func outputGradient(_ dTop: MatrixView<S>, _ workspace: ModelWorkspace<S>, shard i: Int) -> MatrixView<S> {
    switch configuration.outputRows {
    case .frames: dTop
    case .sequenceEnds: workspace.endGradients.rows(0..<workspace.sequences[i].count)
    }
  }

  /// Makes `dTop` the gradient of all top outputs: zero but for the ends of sequences, where the output layer reads these.
  private func spreadOutputGradient(to dTop: MatrixView<S>, _ workspace: ModelWorkspace<S>, shard i: Int) {
    switch configuration.outputRows {
    case .frames: break
    case .sequenceEnds:
      let sequences = workspace.sequences[i]
      dTop.vector.fill(0)
      for b in 0..<sequences.count {
        forEachEnd(of: b, sequences) { row, columns in dTop[row][columns].copy(from: workspace.endGradients[b][columns]) }
      }
    }
  }

  /// The output layer on every shard: loss, and the gradients of its weights and of what it reads.
  private func differentiateOutput(
    _ workspace: ModelWorkspace<S>, _ pass: PassContext<S>, gradientScale: S, _ sink: any GradientSink<S>
  ) throws {
    for i in workspace.sequences.indices {
      pass.timer.enter(.softmax)
      let gradient = sink.begin(.output, shard: i)
      let slice = layout.outputWeight
      let dWeight = gradient[slice.range].matrix(rows: slice.shape[0], columns: slice.shape[1])
      let dBias = gradient[layout.tensor("output.bias").range]
      let dTop = workspace.gradient(i, 0, columns: configuration.outputSize)
      let read = outputInput(workspace, shard: i), dRead = outputGradient(dTop, workspace, shard: i)
      workspace.losses[i] = try workspace.output.differentiate(
        read.input, weight: outputWeight, bias: outputBias, targets: read.targets,
        gradientScale: gradientScale, dWeight: dWeight, dBias: dBias, dInput: dRead, accumulate: sink.accumulates
      ) { classes in
        if !configuration.tiesEmbedding { try sink.advance(.output, shard: i, to: slice.range.lowerBound + classes * slice.shape[1]) }
        try sink.poll()
      }
      spreadOutputGradient(to: dTop, workspace, shard: i)
      dropGradient(dTop, layer: layerCount, shard: i, workspace, pass)
      if !configuration.tiesEmbedding { try sink.end(.output, shard: i) }
    }
  }

  /// The gradient of what a layer read, from all its directions.
  func differentiateInput(
    of index: Int, shard i: Int, buffer: Int, _ workspace: ModelWorkspace<S>, _ pass: PassContext<S>, _ sink: any GradientSink<S>
  ) throws {
    pass.timer.enter(.inputProduct)
    let I = configuration.inputSize(ofLayer: index), dInput = workspace.gradient(i, buffer, columns: I)
    for number in directions(of: index) {
      let layer = layers[number], w = workspace.layers[number][i]
      switch layer.direction {
      case .forward: try layer.differentiateInput(w, into: dInput, packed: workspace.packedInput, sink: sink)
      case .backward:
        let reversed = workspace.reversedGradient(i, columns: I)
        try layer.differentiateInput(w, into: reversed, packed: workspace.packedInput, sink: sink)
        dInput.addGatheredRows(of: reversed, ids: workspace.reversal(i))
      }
    }
    dropGradient(dInput, layer: index, shard: i, workspace, pass)
  }

  private func differentiateEmbedding(
    _ workspace: ModelWorkspace<S>, _ pass: PassContext<S>, buffer: Int, _ sink: any GradientSink<S>
  ) throws {
    pass.timer.enter(.input)
    let E = configuration.embeddingSize
    for (i, sequences) in workspace.sequences.enumerated() {
      if configuration.tiesEmbedding {
        // Beside the gradient that the matrix has as the output layer's weights.
        let weight = layout.outputWeight, gradient = sink.begin(.output, shard: i)[weight.range]
        gradient.matrix(rows: weight.shape[0], columns: E).scatterAddRows(
          of: workspace.gradient(i, buffer, columns: E), slots: workspace.tokens[i][0..<sequences.frames])
        try sink.end(.output, shard: i)
        continue
      }
      let flat = sink.begin(.embedding, shard: i)
      let rows = (flat.count - layout.embedding.lowerBound) / E
      let compact = flat[layout.embedding.lowerBound..<layout.embedding.lowerBound + rows * E].matrix(rows: rows, columns: E)
      if !sink.accumulates { compact.fill(0) }
      compact.scatterAddRows(
        of: workspace.gradient(i, buffer, columns: E), slots: workspace.embeddingSlots[i][0..<sequences.frames])
      try sink.end(.embedding, shard: i)
    }
  }

  // MARK: Noise and dropout

  /// Noise on the state of `layer` before the first step, where that is the initial state of a sequence.
  private func addInitialNoise(
    _ layer: RecurrentLayer<S>, _ key: NoiseKey, _ shards: [LayerWorkspace<S>], _ examples: [VectorView<Int32>]
  ) {
    let deviation = configuration.initialStateNoise
    if deviation == 0 { return }
    let stream = RandomStream(seed: key.seed, stream: layer.noiseStream)
    for (i, w) in shards.enumerated() where w.beginsWithInitialState && w.sequences.count > 0 {
      w.addNoise(deviation: deviation, key, examples: examples[i], stream: stream)
    }
  }

  /// The masks of connection `layer`, where this pass has any.
  private func dropoutKey(_ layer: Int, _ pass: PassContext<S>) -> DropoutKey? {
    guard case .training(let step, let seed) = pass.mode, configuration.dropout > 0 else { return nil }
    return DropoutKey(probability: configuration.dropout, seed: seed, step: step, layer: UInt32(layer))
  }

  /// Dropout on the input of `layer` (the output layer's for `layerCount`).
  private func dropInput(of layer: Int, _ workspace: ModelWorkspace<S>, _ pass: PassContext<S>) {
    let key = dropoutKey(layer, pass), copies = layer > 0 && workspace.hasDropoutBuffers
    if key == nil && !copies { return }
    for (i, sequences) in workspace.sequences.enumerated() {
      let below = layer == 0 ? workspace.bottom[i] : workspace.outputs[layer - 1][i], target = workspace.inputs[layer][i]
      if let key {
        drop(below, key, sequences, workspace.examples[i], into: target)
      } else {
        target.rows(0..<sequences.frames).copy(from: below.rows(0..<sequences.frames))
      }
    }
  }

  private func dropGradient(
    _ gradient: MatrixView<S>, layer: Int, shard: Int, _ workspace: ModelWorkspace<S>, _ pass: PassContext<S>
  ) {
    guard let key = dropoutKey(layer, pass) else { return }
    drop(gradient, key, workspace.sequences[shard], workspace.examples[shard], into: gradient)
  }

  private func drop(
    _ x: MatrixView<S>, _ key: DropoutKey, _ sequences: PackedSequences, _ examples: VectorView<Int32>, into target: MatrixView<S>
  ) {
    for t in 0..<sequences.steps {
      let rows = sequences.rows(t), time = configuration.dropoutKind == .variational ? 0 : t
      dropout(x.rows(rows), key: key, examples: examples[0..<rows.count], time: time, out: target.rows(rows))
    }
  }
}
