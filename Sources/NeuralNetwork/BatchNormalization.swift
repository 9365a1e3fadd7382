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

  /// Moments of one step's rows `x` [B, F] of a shard: those of the slot for frame-wise statistics, merged into it for sequence-wise ones.
  func addMoments(_ w: NormalizationWorkspace<S>, shard: Int, step t: Int, x: MatrixView<S>) {
    if kind == .frame {
      computeMoments(of: x, mean: w.mean(shard, t), squares: w.squares(shard, t))
    } else if t == 0 {
      computeMoments(of: x, mean: w.mean(shard, 0), squares: w.squares(shard, 0))
      w.merged[shard] = x.rows
    } else {
      computeMoments(of: x, mean: w.scratchMean, squares: w.scratchSquares)
      mergeMoments(
        count: w.merged[shard], mean: w.mean(shard, 0), squares: w.squares(shard, 0), otherCount: x.rows,
        otherMean: w.scratchMean, otherSquares: w.scratchSquares)
      w.merged[shard] += x.rows
    }
  }

  /// The two sums of one step's gradient `dy` [B, F] at `x`: those of the slot for frame-wise statistics, added for sequence-wise ones.
  func addSums(_ w: NormalizationWorkspace<S>, shard: Int, step t: Int, isFirst: Bool, dy: MatrixView<S>, x: MatrixView<S>) {
    let slot = slot(t)
    let overwrite = kind == .frame || isFirst
    let sum = overwrite ? w.sum(shard, slot) : w.scratchMean, sumWithX = overwrite ? w.sumWithX(shard, slot) : w.scratchSquares
    sumForNormalizationBackward(
      dy: dy, x: x, mean: w.mean(shard, slot), rstd: w.rstd(shard, slot), sum: sum, sumWithX: sumWithX)
    if !overwrite {
      w.sum(shard, slot).add(sum)
      w.sumWithX(shard, slot).add(sumWithX)
    }
  }

  /// The derivative through the statistics of one step's rows, from the group's sums; `dx` may be `dy` or `x`.
  func backward(
    _ w: NormalizationWorkspace<S>, shard: Int, step t: Int, groupCount n: Int, dy: MatrixView<S>, x: MatrixView<S>,
    dx: MatrixView<S>
  ) {
    let slot = slot(t)
    if w.isConstant[shard][slot] {
      w.sum(shard, slot).fill(0)
      w.sumWithX(shard, slot).fill(0)
    }
    normalizationBackward(
      count: S(max(n, 1)), dy: dy, x: x, mean: w.mean(shard, slot), rstd: w.rstd(shard, slot), scale: w.scale(shard, slot),
      sum: w.sum(shard, slot), sumWithX: w.sumWithX(shard, slot), dx: dx)
  }
}
