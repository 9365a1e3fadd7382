import Tensors

/// The state of one normalisation site: its parameters and the statistics that outlive a minibatch.
public final class BatchNormalization<S: Scalar> {
  public let site: NormalizationSite
  let kind: StatisticsKind
  let epsilon: S
  let momentum: Double
  /// γ [F], inside the flat parameters.
  let gamma: VectorView<S>
  /// β [F], inside the flat parameters; nil where it is fixed to 0.
  let beta: VectorView<S>?
  /// Exponential averages over training steps.
  public let running: RunningStatistics<S>
  /// What evaluation normalises with: a copy of `running`, or population statistics.
  public let evaluation: RunningStatistics<S>
  // Normalisation in evaluation as scale and shift, [slots, F].
  private let evaluationRstd, evaluationScale, evaluationShift: MatrixView<S>

  init(
    site: NormalizationSite, configuration: NormalizationConfiguration, steps: Int, gamma: VectorView<S>, beta: VectorView<S>?
  ) {
    self.site = site
    kind = configuration.statistics
    epsilon = S(configuration.epsilon)
    momentum = configuration.momentum
    self.gamma = gamma
    self.beta = beta
    let slots = configuration.statistics == .frame ? steps : 1
    running = RunningStatistics(slots: slots, features: site.features)
    evaluation = RunningStatistics(slots: slots, features: site.features)
    evaluationRstd = MatrixView(zeros: slots, site.features)
    evaluationScale = MatrixView(zeros: slots, site.features)
    evaluationShift = MatrixView(zeros: slots, site.features)
  }

  var slots: Int { running.mean.rows }

  /// The slot of time step `t`.
  func slot(_ t: Int) -> Int { kind == .frame ? t : 0 }

  /// Folds `evaluation` into scales and shifts, once before a pass with fixed weights.
  func prepareEvaluation() {
    for slot in 0..<slots {
      foldNormalization(
        count: 1, epsilon: epsilon, mean: evaluation.mean[slot], squares: evaluation.variance[slot], gamma: gamma, beta: beta,
        rstd: evaluationRstd[slot], scale: evaluationScale[slot], shift: evaluationShift[slot])
    }
  }

  /// Scale and shift of time step `t` in evaluation; steps past the last one seen take the last one's.
  func evaluationFold(step t: Int) -> (scale: VectorView<S>, shift: VectorView<S>) {
    let slot = kind == .frame ? evaluation.slot(forStep: t) : 0
    return (evaluationScale[slot], evaluationShift[slot])
  }

  /// Folds a shard's group statistics of `slot` into scale and shift. Where the group has fewer than two frames the running statistics serve, as
  /// constants.
  func fold(_ w: NormalizationWorkspace<S>, shard: Int, slot: Int, groupCount n: Int) {
    let isConstant = n < 2
    w.isConstant[shard][slot] = isConstant
    let mean = w.mean(shard, slot), squares = w.squares(shard, slot)
    if isConstant {
      let source = kind == .frame ? running.slot(forStep: slot) : 0
      mean.copy(from: running.mean[source])
      squares.copy(from: running.variance[source])
    }
    foldNormalization(
      count: isConstant ? 1 : S(n), epsilon: epsilon, mean: mean, squares: squares, gamma: gamma, beta: beta,
      rstd: w.rstd(shard, slot), scale: w.scale(shard, slot), shift: w.shift(shard, slot))
  }

  /// Rows whose sequence-wise moments or sums are taken together, few enough to stay in the cache between two looks at them.
  private static var blockRows: Int { 64 }

  /// Moments of a shard's rows `x` [N, F], before the recurrence: of each of `steps` steps for frame-wise statistics, of all rows for sequence-wise ones.
  func takeMoments(
    _ w: NormalizationWorkspace<S>, shard: Int, _ sequences: PackedSequences, steps: Int, x: MatrixView<S>
  ) {
    if kind == .frame {
      for t in 0..<steps {
        computeMoments(of: x.rows(sequences.rows(t)), mean: w.mean(shard, t), squares: w.squares(shard, t))
      }
      return
    }
    let mean = w.mean(shard, 0), squares = w.squares(shard, 0), frames = sequences.frames
    computeMoments(of: x.rows(0..<min(frames, Self.blockRows)), mean: mean, squares: squares)
    for first in stride(from: Self.blockRows, to: frames, by: Self.blockRows) {
      let block = first..<min(frames, first + Self.blockRows)
      computeMoments(of: x.rows(block), mean: w.scratchMean, squares: w.scratchSquares)
      mergeMoments(
        count: first, mean: mean, squares: squares, otherCount: block.count, otherMean: w.scratchMean,
        otherSquares: w.scratchSquares)
    }
  }

  /// The two sums over a shard's rows of the gradient `dy` at `x`, [N, F] both: of each of `steps` steps, or of all rows.
  func takeSums(
    _ w: NormalizationWorkspace<S>, shard: Int, _ sequences: PackedSequences, steps: Int, dy: MatrixView<S>, x: MatrixView<S>
  ) {
    if kind == .frame {
      for t in 0..<steps { takeSums(w, shard: shard, step: t, sequences, dy: dy, x: x) }
      return
    }
    let sum = w.sum(shard, 0), sumWithX = w.sumWithX(shard, 0), frames = sequences.frames
    for first in stride(from: 0, to: max(frames, 1), by: Self.blockRows) {
      let block = first..<min(frames, first + Self.blockRows), isFirst = first == 0
      sumForNormalizationBackward(
        dy: dy.rows(block), x: x.rows(block), mean: w.mean(shard, 0), rstd: w.rstd(shard, 0), sum: isFirst ? sum : w.scratchMean,
        sumWithX: isFirst ? sumWithX : w.scratchSquares)
      if !isFirst {
        sum.add(w.scratchMean)
        sumWithX.add(w.scratchSquares)
      }
    }
  }

  /// The two sums over the rows of step `t`.
  func takeSums(
    _ w: NormalizationWorkspace<S>, shard: Int, step t: Int, _ sequences: PackedSequences, dy: MatrixView<S>, x: MatrixView<S>
  ) {
    let rows = sequences.rows(t)
    sumForNormalizationBackward(
      dy: dy.rows(rows), x: x.rows(rows), mean: w.mean(shard, t), rstd: w.rstd(shard, t), sum: w.sum(shard, t),
      sumWithX: w.sumWithX(shard, t))
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
