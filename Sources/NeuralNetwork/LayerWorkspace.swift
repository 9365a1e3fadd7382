import Tensors

/// The activations of one recurrent layer on one shard. T steps, B sequences, I inputs, H cells, G = 4H or H; rows are time-major.
final class LayerWorkspace<S: Scalar> {
  let B: Int
  /// What the layer reads, [T·B, I]: after dropout, where there is any.
  let input: MatrixView<S>
  /// Input product; for stepwise normalisation the whole preactivation. In backward its gradient, [T·B, G].
  let z: MatrixView<S>
  /// Activated gates; in backward the gradient of what the gates were computed from, [T·B, G]. The same memory as `z` without normalisation.
  let gates: MatrixView<S>
  /// Recurrent product of one step, [B, G].
  let r: MatrixView<S>
  /// Cells and outputs, [(T+1)·B, H]; the first B rows are the state before the first step.
  let c, h: MatrixView<S>
  /// Gradients carried from one step to the one before, [B, H].
  let dhNext, dc: MatrixView<S>
  /// Gradients of the peepholes, [3, H] in the order input, forget, output.
  let dPeephole: MatrixView<S>

  init(_ configuration: NetworkConfiguration, input: MatrixView<S>, B: Int, T: Int, training: Bool) {
    let (H, G) = (configuration.hiddenSize, configuration.gateSize)
    let isLSTM = configuration.cell == .lstm
    self.B = B
    self.input = input
    z = MatrixView(zeros: T * B, G)
    gates = !training || configuration.normalization.placement == .none ? z : MatrixView(zeros: T * B, G)
    r = MatrixView(zeros: B, G)
    c = isLSTM ? MatrixView(zeros: (T + 1) * B, H) : MatrixView(zeros: 0, H)
    h = MatrixView(zeros: (T + 1) * B, H)
    dhNext = MatrixView(zeros: training ? B : 0, H)
    dc = MatrixView(zeros: training && isLSTM ? B : 0, H)
    dPeephole = MatrixView(zeros: 3, H)
  }

  /// Rows of step `t`.
  func rows(_ t: Int) -> Range<Int> { t * B..<(t + 1) * B }

  /// The outputs of `steps` steps, [steps·B, H].
  func output(steps: Int) -> MatrixView<S> { h.rows(B..<(steps + 1) * B) }

  /// Sets the state before the first step to zero.
  func resetState() {
    h.rows(0..<B).fill(0)
    if c.rows > 0 { c.rows(0..<B).fill(0) }
  }

  /// Makes the state after `steps` steps the state before the first step of the next window.
  func carryState(steps: Int) {
    h.rows(0..<B).copy(from: h.rows(rows(steps)))
    if c.rows > 0 { c.rows(0..<B).copy(from: c.rows(rows(steps))) }
  }
}
