import Tensors

/// Means and variances that stand in for a minibatch's own: running averages, or those of the population.
///
/// A slot is a time step for frame-wise statistics, and there is one slot for sequence-wise ones.
public final class RunningStatistics<S: Scalar> {
  /// [slots, F].
  public let mean: MatrixView<S>
  /// [slots, F].
  public let variance: MatrixView<S>
  /// Slots that have been set, from the first on; those after it take the last one's values.
  public private(set) var slotsSeen = 0

  /// Mean 0 and variance 1 until something is seen.
  public init(slots: Int, features: Int) {
    mean = MatrixView(zeros: slots, features)
    variance = MatrixView(zeros: slots, features)
    variance.fill(1)
  }

  /// The slot whose statistics serve time step `step`.
  func slot(forStep step: Int) -> Int { min(step, max(slotsSeen, 1) - 1) }

  /// `r ← (1 − m) r + m s`, or `r ← s` for a slot not seen before.
  func blend(slot: Int, momentum: Double, mean newMean: VectorView<S>, variance newVariance: VectorView<S>) {
    let m = slot < slotsSeen ? momentum : 1
    mean[slot].blend(keep: S(1 - m), weight: S(m), newMean)
    variance[slot].blend(keep: S(1 - m), weight: S(m), newVariance)
    slotsSeen = max(slotsSeen, slot + 1)
  }

  /// Takes all values of `other`.
  public func copy(from other: RunningStatistics) {
    mean.copy(from: other.mean)
    variance.copy(from: other.variance)
    slotsSeen = other.slotsSeen
  }

  /// Leaves those slots seen, from the first on, that have enough frames behind them; all of them where the first has too few.
  /// - frames: behind each slot.
  func keep(least: Int, frames: [Int]) {
    let enough = frames.prefix(slotsSeen).prefix { $0 >= least }.count
    if enough > 0 { slotsSeen = enough }
  }

  /// Gives slots that were not seen the values of the last one seen, which serve them: so stored statistics need no count of slots.
  func extend() {
    for slot in slotsSeen..<mean.rows where slotsSeen > 0 {
      mean[slot].copy(from: mean[slotsSeen - 1])
      variance[slot].copy(from: variance[slotsSeen - 1])
    }
  }

  /// States how many slots hold values, after the values were read from a file.
  public func markSeen(slots: Int) {
    precondition(slots >= 0 && slots <= mean.rows, "more slots seen than there are")
    slotsSeen = slots
  }
}
