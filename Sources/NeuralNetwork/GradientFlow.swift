import Tensors

/// Takes the gradient of the outputs of one time step.
/// - shard, step: the local shard, and the time step.
/// - gradient: [sequences of the step, H], which lasts until the call returns.
typealias StateGradientObserver<S: Scalar> = (_ shard: Int, _ step: Int, _ gradient: MatrixView<S>) -> Void

extension SequenceModel {
  /// How far the loss of a sequence's last step reaches back in time (Cooijmans et al. 2017, figure 1): the squared norms of its gradient
  /// in the outputs of each layer, by the time steps before the last. After `forward` on the same minibatch, in place of `backward`.
  /// Of bidirectional layers those of the forward direction are taken.
  /// - Returns: for each local shard, layer after layer, `pass.steps` sums over sequences of ‖∂L/∂h_{T-1-k}‖² for k from 0, where L is the
  ///   sum of the cross entropies of all sequences' last steps on all shards; then `pass.steps` numbers of sequences that have a step k.
  /// - Throws: what the exchange of statistics throws.
  @specialized(where S == Float)
  public func gradientFlow(_ workspace: ModelWorkspace<S>, _ pass: PassContext<S>) throws -> [[Double]] {
    pass.timer.enter(.softmax)
    let shards = workspace.sequences.indices, T = pass.steps, L = configuration.layers, D = configuration.directions.count
    var sums = shards.map { _ in [Double](repeating: 0, count: (L + 1) * T) }
    for i in shards {
      for k in 0..<T { sums[i][L * T + k] = Double(workspace.sequences[i].active(k)) }
      differentiateLastSteps(workspace, shard: i)
    }
    let sink = NoGradientSink<S>()
    for index in (0..<L).reversed() {
      let from = (L - 1 - index) % 2
      let observer: StateGradientObserver<S> = { shard, t, gradient in
        let lengths = workspace.sequences[shard].lengths
        for b in 0..<gradient.rows {
          let squares = gradient[b].withSpan { row in row.indices.reduce(0.0) { $0 + row[$1].double * row[$1].double } }
          sums[shard][index * T + lengths[b] - 1 - t] += squares
        }
      }
      for number in index * D..<(index + 1) * D {
        try layers[number].backwardThroughTime(
          workspace.layers[number], workspace.terms[number], pass, dOutput: workspace.outputGradients[from],
          reversals: workspace.reversalViews, sink: sink, observer: layers[number].direction == .forward ? observer : nil)
      }
      if index > 0 { for i in shards { try differentiateInput(of: index, shard: i, buffer: 1 - from, workspace, pass, sink) } }
    }
    pass.timer.enter(.other)
    return sums
  }

  /// Makes the gradient of a shard's top outputs that of the loss of each sequence's last step.
  private func differentiateLastSteps(_ workspace: ModelWorkspace<S>, shard i: Int) {
    let sequences = workspace.sequences[i], B = sequences.count
    let dTop = workspace.gradient(i, 0, columns: configuration.outputSize), top = workspace.inputs[configuration.layers][i]
    dTop.vector.fill(0)
    let ends = MatrixView<S>(zeros: B, configuration.outputSize), dEnds = MatrixView<S>(zeros: B, configuration.outputSize)
    let targets = VectorView<Int32>(zeros: B)
    for b in 0..<B {
      switch configuration.outputRows {
      case .frames:
        ends[b].copy(from: top[sequences.lastRow(b)])
        targets[b] = workspace.targets[i][sequences.lastRow(b)]
      case .sequenceEnds:
        forEachEnd(of: b, sequences) { row, columns in ends[b][columns].copy(from: top[row][columns]) }
        targets[b] = workspace.targets[i][b]
      }
    }
    workspace.output.differentiateInput(ends, weight: outputWeight, bias: outputBias, targets: targets, into: dEnds)
    for b in 0..<B {
      switch configuration.outputRows {
      case .frames: dTop[sequences.lastRow(b)].copy(from: dEnds[b])
      case .sequenceEnds: forEachEnd(of: b, sequences) { row, columns in dTop[row][columns].copy(from: dEnds[b][columns]) }
      }
    }
  }
}

/// Where no gradient of a parameter is taken.
private final class NoGradientSink<S: Scalar>: GradientSink {
  typealias Scalar = S
  var accumulates: Bool { false }
  var completes: Bool { true }
  var operationsBetweenPolls: Int? { nil }
  func begin(_ group: ParameterGroup, shard: Int) -> VectorView<S> { preconditionFailure("no gradients of parameters are taken") }
  func advance(_ group: ParameterGroup, shard: Int, to end: Int) {}
  func end(_ group: ParameterGroup, shard: Int) {}
  func poll() {}
}
