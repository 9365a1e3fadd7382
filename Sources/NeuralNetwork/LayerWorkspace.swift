import Tensors

/// The activations of one recurrent layer of one direction on one shard. N frames, B sequences, I inputs, H cells, G = 4H or H. Rows follow
/// `PackedSequences`, in the direction's own order of time.
final class LayerWorkspace<S: Scalar> {
  /// The most sequences that fit.
  let B: Int
  /// The sequences of the minibatch under way.
  var sequences = PackedSequences(lengths: [])
  /// What the layer reads, [N, I]: after dropout, where there is any.
  let input: MatrixView<S>
  /// Input product; for stepwise normalisation the whole preactivation. In backward its gradient, [N, G].
  let z: MatrixView<S>
  /// Activated gates; in backward the gradient of what the gates were computed from, [N, G]. The same memory as `z` without normalisation.
  let gates: MatrixView<S>
  /// Recurrent product of one step, [B, G].
  let r: MatrixView<S>
  /// Cells, [B + N, H]; the first B rows are the state before the first step.
  let c: MatrixView<S>
  /// Outputs, [N, H]; rows may have gaps between them.
  let h: MatrixView<S>
  /// Outputs of the step before, [N, H]: row for row what the recurrent product reads. The first rows are the state before the first step.
  let hPrevious: MatrixView<S>
  /// Whether `hPrevious` is `h` seen one step later, as sequences of equal lengths allow.
  private let sharesOutputs: Bool
  /// Gradients carried from one step to the one before, [B, H].
  let dhNext, dc: MatrixView<S>
  /// Gradient of one step's outputs from above, where it has to be collected, [B, H].
  let dhAbove: MatrixView<S>
  /// Gradients of the peepholes, [3, H] in the order input, forget, output.
  let dPeephole: MatrixView<S>

  /// - input: [frames, I], shared with what computes it.
  /// - output: where outputs go, [frames, H], rows may have gaps; nil for memory of its own.
  /// - frames: the most frames that fit; B times the most steps for sequences of equal lengths.
  /// - isUniform: whether all sequences of a minibatch have equal lengths and there are always B of them.
  init(
    _ configuration: NetworkConfiguration, input: MatrixView<S>, output: MatrixView<S>?, B: Int, frames N: Int, isUniform: Bool,
    training: Bool
  ) {
    let (H, G) = (configuration.hiddenSize, configuration.gateSize)
    let isLSTM = configuration.cell == .lstm
    self.B = B
    self.input = input
    z = MatrixView(zeros: N, G)
    gates = !training || configuration.normalization.placement == .none ? z : MatrixView(zeros: N, G)
    r = MatrixView(zeros: B, G)
    c = isLSTM ? MatrixView(zeros: B + N, H) : MatrixView(zeros: 0, H)
    sharesOutputs = isUniform && output == nil
    if sharesOutputs {
      let states = MatrixView<S>(zeros: B + N, H)
      hPrevious = states.rows(0..<N)
      h = states.rows(B..<B + N)
    } else {
      hPrevious = MatrixView(zeros: max(B, N), H)
      h = output ?? MatrixView(zeros: N, H)
    }
    dhNext = MatrixView(zeros: training ? B : 0, H)
    dc = MatrixView(zeros: training && isLSTM ? B : 0, H)
    dhAbove = MatrixView(zeros: training && output == nil && !isUniform ? B : 0, H)
    dPeephole = MatrixView(zeros: 3, H)
  }

  /// The cells after step `t`.
  func cells(_ t: Int) -> MatrixView<S> {
    let rows = sequences.rows(t)
    return c.rows(B + rows.lowerBound..<B + rows.upperBound)
  }

  /// The cells before step `t` of the sequences that have it.
  func cellsBefore(_ t: Int) -> MatrixView<S> {
    let first = t == 0 ? 0 : B + sequences.rows(t - 1).lowerBound
    return c.rows(first..<first + sequences.active(t))
  }

  /// Hands the outputs of step `t` on to step `t + 1`.
  func passOutputsOn(_ t: Int) {
    let next = sequences.rows(t + 1), first = sequences.rows(t).lowerBound
    if sharesOutputs || next.isEmpty { return }
    hPrevious.rows(next).copy(from: h.rows(first..<first + next.count))
  }

  /// Sets the state before the first step to zero.
  func resetState() {
    hPrevious.rows(0..<B).fill(0)
    if c.rows > 0 { c.rows(0..<B).fill(0) }
  }

  /// Makes the state after the last step the state before the first step of the next window, for sequences of equal lengths.
  func carryState() {
    let last = sequences.rows(sequences.steps - 1)
    hPrevious.rows(0..<last.count).copy(from: h.rows(last))
    if c.rows > 0 { c.rows(0..<last.count).copy(from: cells(sequences.steps - 1)) }
  }
}
