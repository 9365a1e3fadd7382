import Tensors

/// What is normalised at one site of a layer: `γ ⊙ x̂ + β`, by statistics of a minibatch or of each frame alone.
public final class NormalizedTerm<S: Scalar> {
  public let site: NormalizationSite
  /// The statistics of batch normalisation; nil with layer normalisation, which has none.
  public let batch: BatchNormalization<S>?
  /// γ [F], inside the flat parameters.
  let gamma: VectorView<S>
  /// What is added, [F]: β, or the layer's bias where β is fixed to 0.
  let shift: VectorView<S>
  private let epsilon: S

  /// - shift: β, or what stands in its place.
  init(
    site: NormalizationSite, configuration: NormalizationConfiguration, steps: Int, gamma: VectorView<S>, shift: VectorView<S>
  ) {
    self.site = site
    self.gamma = gamma
    self.shift = shift
    epsilon = S(configuration.epsilon)
    switch configuration.method {
    case .batch:
      batch = BatchNormalization(site: site, configuration: configuration, steps: steps, gamma: gamma, shift: shift)
    case .layer: batch = nil
    }
  }

  /// The normalised value as a scale and a shift of what `standardized` of the workspace holds, [F] each.
  /// - memory: of this term in the minibatch under way; nil in evaluation.
  func scaleAndShift(
    _ memory: TermWorkspace<S>?, shard: Int, step t: Int, _ pass: PassContext<S>
  ) -> (scale: VectorView<S>, shift: VectorView<S>) {
    guard let batch else { return (gamma, shift) }
    guard pass.mode.usesBatchStatistics, let statistics = memory?.statistics else {
      return batch.evaluationFold(step: pass.firstStep + t)
    }
    let slot = batch.slot(t)
    return (statistics.scale(shard, slot), statistics.shift(shard, slot))
  }

  /// Normalises some time steps of every local shard: takes their statistics, in one message for all of them.
  /// - Throws: what the exchange of statistics throws.
  func normalize(
    _ steps: Range<Int>, _ shards: [LayerWorkspace<S>], _ memory: TermWorkspace<S>?, _ pass: PassContext<S>
  ) throws {
    guard let batch else {
      pass.timer.enter(.normalization)
      for (i, w) in shards.enumerated() {
        let rows = w.sequences.rows(steps)
        standardizeRows(
          w.values(site.place, rows), epsilon: epsilon, into: w.standardized(site.place, rows), rstd: memory?.rstd[i][rows])
      }
      return
    }
    guard pass.mode.usesBatchStatistics, let statistics = memory?.statistics else { return }
    pass.timer.enter(.normalization)
    let slots = batch.slots(steps)
    for (i, w) in shards.enumerated() {
      for slot in slots { batch.takeMoments(statistics, shard: i, slot: slot, w.values(site.place, batch.rows(w.sequences, slot))) }
    }
    if pass.mode == .population { batch.population?.add(statistics, slots: slots, pass) }
    pass.timer.enter(.statisticsExchange)
    try statistics.combineMoments(slots, counts: batch.counts(slots, pass.counts), pass.reducer)
    pass.timer.enter(.normalization)
    if pass.mode == .population { batch.population?.addGroups(statistics, slots: slots, pass) }
    let fallback = pass.mode == .batchEvaluation ? batch.evaluation : batch.running
    for i in shards.indices {
      for slot in slots {
        let n = batch.groupCount(pass.counts, shard: i, slot: slot)
        batch.fold(statistics, shard: i, slot: slot, groupCount: n, fallback: fallback)
      }
    }
  }

  /// The derivative of `normalize` for the same steps: the gradient of the normalised value becomes that of the value, and those of γ
  /// and of the shift are added to.
  /// - Throws: what the exchange of sums throws.
  func differentiate(
    _ steps: Range<Int>, _ shards: [LayerWorkspace<S>], _ memory: TermWorkspace<S>, _ pass: PassContext<S>
  ) throws {
    pass.timer.enter(.normalization)
    guard let batch, let statistics = memory.statistics else {
      for (i, w) in shards.enumerated() {
        let rows = w.sequences.rows(steps), dy = w.dNormalized(site.place, rows), standardized = w.standardized(site.place, rows)
        memory.addSums(shard: i, dy: dy, standardized: standardized)
        standardizationBackward(
          dy: dy, standardized: standardized, rstd: memory.rstd[i][rows], gamma: gamma, dx: w.dValues(site.place, rows))
      }
      return
    }
    let slots = batch.slots(steps)
    for (i, w) in shards.enumerated() {
      for slot in slots {
        let rows = batch.rows(w.sequences, slot)
        batch.takeSums(statistics, shard: i, slot: slot, dy: w.dNormalized(site.place, rows), x: w.values(site.place, rows))
        memory.dShift[i].add(statistics.sum(i, slot))
        memory.dGamma[i].add(statistics.sumWithX(i, slot))
      }
    }
    pass.timer.enter(.statisticsExchange)
    try statistics.combineSums(slots, pass.reducer)
    pass.timer.enter(.normalization)
    for (i, w) in shards.enumerated() {
      for slot in slots {
        let rows = batch.rows(w.sequences, slot)
        batch.backward(
          statistics, shard: i, slot: slot, groupCount: batch.groupCount(pass.counts, shard: i, slot: slot),
          dy: w.dNormalized(site.place, rows), x: w.values(site.place, rows), dx: w.dValues(site.place, rows))
      }
    }
  }
}

/// What a normalised term remembers of one minibatch, from forward to backward.
final class TermWorkspace<S: Scalar> {
  /// Of batch normalisation.
  let statistics: NormalizationWorkspace<S>?
  /// Of layer normalisation: the reciprocal deviation of each row, [N] for each local shard.
  let rstd: [VectorView<S>]
  /// Gradients of γ and of what is added, of each local shard, [local shards, F].
  let dGamma, dShift: MatrixView<S>
  // Sums of one range of rows in layer normalisation, and the mean and deviation of what is standardised already, [F].
  private let sum, sumWithX, zero, one: VectorView<S>

  /// - frames: the most of each local shard.
  /// - steps: the most time steps.
  /// - training: whether backward runs too.
  init(_ term: NormalizedTerm<S>, frames: [Int], steps: Int, training: Bool) {
    let F = term.site.features
    statistics = term.batch.map {
      // Evaluation may see longer sequences than there are statistics for.
      NormalizationWorkspace(
        site: term.site, slots: training ? $0.slots : $0.slots(0..<steps).count, localShards: frames.count, training: training)
    }
    let isLayer = training && term.batch == nil, width = isLayer ? F : 0
    rstd = frames.map { VectorView(zeros: isLayer ? $0 : 0) }
    dGamma = MatrixView(zeros: training ? frames.count : 0, F)
    dShift = MatrixView(zeros: training ? frames.count : 0, F)
    sum = VectorView(zeros: width)
    sumWithX = VectorView(zeros: width)
    zero = VectorView(zeros: width)
    one = VectorView(zeros: width)
    one.fill(1)
  }

  /// Sets the gradients of γ and shift to zero.
  func beginBackward() {
    dGamma.fill(0)
    dShift.fill(0)
  }

  /// Adds `Σ dy ⊙ x̂` and `Σ dy` over some rows.
  func addSums(shard: Int, dy: MatrixView<S>, standardized: MatrixView<S>) {
    sumForNormalizationBackward(dy: dy, x: standardized, mean: zero, rstd: one, sum: sum, sumWithX: sumWithX)
    dShift[shard].add(sum)
    dGamma[shard].add(sumWithX)
  }
}
