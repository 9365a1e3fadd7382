import Tensors

/// The statistics of one normalised term: what is taken of a minibatch, and what outlives it.
///
/// A slot is a time step for frame-wise statistics; sequence-wise ones have a single slot.
public final class BatchNormalization<S: Scalar> {
  public let site: NormalizationSite
  let kind: StatisticsKind
  let epsilon: S
  let momentum: Double
  /// γ and what is added, [F], inside the flat parameters.
  private let gamma, shift: VectorView<S>
  /// Exponential averages over training steps.
  public let running: RunningStatistics<S>
  /// What evaluation normalises with: a copy of `running`, or population statistics.
  public let evaluation: RunningStatistics<S>
  /// Statistics under way in a population pass.
  var population: PopulationStatistics<S>?
  // Normalisation in evaluation as scale and shift, [slots, F].
  private let evaluationRstd, evaluationScale, evaluationShift: MatrixView<S>

  init(
    site: NormalizationSite, configuration: NormalizationConfiguration, steps: Int, gamma: VectorView<S>, shift: VectorView<S>
  ) {
    self.site = site
    kind = configuration.statistics
    epsilon = S(configuration.epsilon)
    momentum = configuration.momentum
    self.gamma = gamma
    self.shift = shift
    let slots = configuration.statistics == .frame ? steps : 1
    running = RunningStatistics(slots: slots, features: site.features)
    evaluation = RunningStatistics(slots: slots, features: site.features)
    evaluationRstd = MatrixView(zeros: slots, site.features)
    evaluationScale = MatrixView(zeros: slots, site.features)
    evaluationShift = MatrixView(zeros: slots, site.features)
  }

  // MARK: Slots

  var slots: Int { running.mean.rows }

  /// The slot of time step `t`.
  func slot(_ t: Int) -> Int { kind == .frame ? t : 0 }

  /// The slots of some time steps.
  func slots(_ steps: Range<Int>) -> Range<Int> { kind == .frame ? steps : 0..<1 }

  /// The slots of a minibatch.
  func usedSlots(_ pass: PassContext<S>) -> Range<Int> { slots(0..<pass.steps) }

  /// The rows of a shard that share a slot.
  func rows(_ sequences: PackedSequences, _ slot: Int) -> Range<Int> { kind == .frame ? sequences.rows(slot) : 0..<sequences.frames }

  /// The frames of the group of local shard `shard` in a slot.
  func groupCount(_ counts: FrameCounts, shard: Int, slot: Int) -> Int {
    kind == .frame ? counts.groupPerStep[shard][slot] : counts.groupTotal[shard]
  }

  /// The frames of every shard in the slots of one message, [shards, slots].
  func counts(_ slots: Range<Int>, _ counts: FrameCounts) -> [Int] {
    if kind == .sequence { return counts.perShard }
    return site.precedesRecurrence ? counts.perStep : counts.ofStep[slots.lowerBound]
  }

  // MARK: Evaluation

  /// Folds `evaluation` into scales and shifts, once before a pass with fixed weights.
  func prepareEvaluation() {
    for slot in 0..<slots {
      foldNormalization(
        count: 1, epsilon: epsilon, mean: evaluation.mean[slot], squares: evaluation.variance[slot], gamma: gamma, beta: shift,
        rstd: evaluationRstd[slot], scale: evaluationScale[slot], shift: evaluationShift[slot])
    }
  }

  /// Scale and shift of time step `t` in evaluation; steps past the last one seen take the last one's.
  func evaluationFold(step t: Int) -> (scale: VectorView<S>, shift: VectorView<S>) {
    let slot = kind == .frame ? evaluation.slot(forStep: t) : 0
    return (evaluationScale[slot], evaluationShift[slot])
  }

  // MARK: A minibatch

  /// Folds a shard's group statistics of `slot` into scale and shift. Where the group has fewer than two frames `fallback` serves, as constants:
  /// the running statistics, or those of evaluation.
  func fold(_ w: NormalizationWorkspace<S>, shard: Int, slot: Int, groupCount n: Int, fallback: RunningStatistics<S>) {
    let isConstant = n < 2
    w.isConstant[shard][slot] = isConstant
    let mean = w.mean(shard, slot), squares = w.squares(shard, slot)
    if isConstant {
      let source = kind == .frame ? fallback.slot(forStep: slot) : 0
      mean.copy(from: fallback.mean[source])
      squares.copy(from: fallback.variance[source])
    }
    foldNormalization(
      count: isConstant ? 1 : S(n), epsilon: epsilon, mean: mean, squares: squares, gamma: gamma, beta: shift,
      rstd: w.rstd(shard, slot), scale: w.scale(shard, slot), shift: w.shift(shard, slot))
  }

  /// Rows whose sequence-wise moments or sums are taken together, few enough to stay in the cache between two looks at them.
  private static var blockRows: Int { 64 }

  /// Moments of the rows `x` [n, F] of a shard that share a slot.
  func takeMoments(_ w: NormalizationWorkspace<S>, shard: Int, slot: Int, _ x: MatrixView<S>) {
    let mean = w.mean(shard, slot), squares = w.squares(shard, slot)
    guard kind == .sequence else { return computeMoments(of: x, mean: mean, squares: squares) }
    computeMoments(of: x.rows(0..<min(x.rows, Self.blockRows)), mean: mean, squares: squares)
    for first in stride(from: Self.blockRows, to: x.rows, by: Self.blockRows) {
      let block = first..<min(x.rows, first + Self.blockRows)
      computeMoments(of: x.rows(block), mean: w.scratchMean, squares: w.scratchSquares)
      mergeMoments(
        count: first, mean: mean, squares: squares, otherCount: block.count, otherMean: w.scratchMean,
        otherSquares: w.scratchSquares)
    }
  }

  /// The two sums over those rows of the gradient `dy` at `x`, [n, F] both.
  func takeSums(_ w: NormalizationWorkspace<S>, shard: Int, slot: Int, dy: MatrixView<S>, x: MatrixView<S>) {
    let sum = w.sum(shard, slot), sumWithX = w.sumWithX(shard, slot), mean = w.mean(shard, slot), rstd = w.rstd(shard, slot)
    guard kind == .sequence else {
      return sumForNormalizationBackward(dy: dy, x: x, mean: mean, rstd: rstd, sum: sum, sumWithX: sumWithX)
    }
    for first in stride(from: 0, to: max(x.rows, 1), by: Self.blockRows) {
      let block = first..<min(x.rows, first + Self.blockRows), isFirst = first == 0
      sumForNormalizationBackward(
        dy: dy.rows(block), x: x.rows(block), mean: mean, rstd: rstd, sum: isFirst ? sum : w.scratchMean,
        sumWithX: isFirst ? sumWithX : w.scratchSquares)
      if !isFirst {
        sum.add(w.scratchMean)
        sumWithX.add(w.scratchSquares)
      }
    }
  }

  /// The derivative through the statistics of `slot`, from the group's sums over `n` frames, for the rows of a shard that belong to it;
  /// `dx` may be `dy` or `x`.
  func backward(
    _ w: NormalizationWorkspace<S>, shard: Int, slot: Int, groupCount n: Int, dy: MatrixView<S>, x: MatrixView<S>,
    dx: MatrixView<S>
  ) {
    if w.isConstant[shard][slot] {
      w.sum(shard, slot).fill(0)
      w.sumWithX(shard, slot).fill(0)
    }
    normalizationBackward(
      count: S(max(n, 1)), dy: dy, x: x, mean: w.mean(shard, slot), rstd: w.rstd(shard, slot), scale: w.scale(shard, slot),
      sum: w.sum(shard, slot), sumWithX: w.sumWithX(shard, slot), dx: dx)
  }
}
