import CKernels

// One time step of a recurrent cell and its derivative. B rows (sequences), H cells, G = 4H for an LSTM, 3H for a GRU, H for a plain cell.

/// What a step adds up before its nonlinearity: `zScale ⊙ z + rScale ⊙ r + shift + rShift`.
public struct Preactivation<S: Scalar> {
  /// Input product, [B, G].
  public var z: MatrixView<S>
  /// [G]; nil stands for 1.
  public var zScale: VectorView<S>?
  /// Recurrent product, [B, G]; nil where it is part of `z`.
  public var r: MatrixView<S>?
  /// [G]; nil stands for 1.
  public var rScale: VectorView<S>?
  /// [G], with `rScale` and for cells that read `r` apart; nil stands for 0.
  public var rShift: VectorView<S>?
  /// Bias, or the shift of normalisation, [G].
  public var shift: VectorView<S>

  /// `zScale ⊙ z + rScale ⊙ r + shift + rShift`; what is nil is left out.
  public init(
    z: MatrixView<S>, zScale: VectorView<S>? = nil, r: MatrixView<S>? = nil, rScale: VectorView<S>? = nil,
    rShift: VectorView<S>? = nil, shift: VectorView<S>
  ) {
    self.z = z
    self.zScale = zScale
    self.r = r
    self.rScale = rScale
    self.rShift = rShift
    self.shift = shift
  }

  /// - readsApart: whether the cell reads `r` and its shift by themselves.
  func check(rows: Int, features: Int, readsApart: Bool = false) {
    precondition(z.rows == rows && z.columns == features && z.isContiguous && shift.count == features, "z of another shape")
    precondition((zScale?.count ?? features) == features && (rScale?.count ?? features) == features, "scales of another length")
    precondition((r?.columns ?? features) == features && (r?.rows ?? rows) == rows && r?.isContiguous ?? true, "r of another shape")
    precondition((rShift?.count ?? features) == features && (rScale == nil || r != nil), "a scale without r")
    precondition((rShift != nil) == (readsApart || rScale != nil), "a shift of r without a scale, or a scale without a shift")
  }

  @unsafe var arguments: lockstep_preactivation {
    unsafe lockstep_preactivation(
      z: z.pointer, z_scale: zScale?.pointer, r: r?.pointer, r_scale: rScale?.pointer, r_shift: rShift?.pointer, shift: shift.pointer)
  }
}

/// Where the gradient of an LSTM's cell and output gate comes from.
public enum LSTMOutputGradient<S: Scalar> {
  /// The gradient of h from the layer above, [B, H], rows may have gaps, and from the next step, [B, H]; nil at the last.
  case output(above: MatrixView<S>, next: MatrixView<S>?)
  /// The gradient of c through its normalisation, [B, H]; `lstmOutputBackward` has written the output gate's part of `da`.
  case throughCell(MatrixView<S>)
}

/// Peephole weights or their gradients, [H] each; `input` and `forget` come together.
public struct Peepholes<S: Scalar> {
  /// Weights from the cell to the input and forget gates, of the step before.
  public var input, forget: VectorView<S>?
  /// Weights from the cell to the output gate, of the same step.
  public var output: VectorView<S>?

  /// None, the output gate's alone, or all three.
  public init(input: VectorView<S>? = nil, forget: VectorView<S>? = nil, output: VectorView<S>? = nil) {
    precondition((input == nil) == (forget == nil) && (input == nil || output != nil), "peepholes: none, output, or all")
    self.input = input
    self.forget = forget
    self.output = output
  }
}

/// `i, f, o = σ(…)`, `g = tanh(…)`, `c = f ⊙ c' + i ⊙ g`, `h = o ⊙ tanh(c)`.
/// - cPrevious, c: [B, H]. gates: [B, 4H] in the order i, f, g, o; may be `a.z`.
/// - h: [B, H], rows may have gaps; nil where `lstmOutput` makes it of the normalised cell, which both scales of `a` come with.
public func lstmForward<S: Scalar>(
  _ a: Preactivation<S>, peepholes p: Peepholes<S>, cPrevious: MatrixView<S>, gates: MatrixView<S>, c: MatrixView<S>,
  h: MatrixView<S>?
) {
  let (B, H) = (c.rows, c.columns)
  a.check(rows: B, features: 4 * H)
  precondition(cPrevious.rows == B && cPrevious.columns == H && cPrevious.isContiguous && c.isContiguous, "c of another shape")
  precondition(gates.rows == B && gates.columns == 4 * H && gates.isContiguous, "gates of another shape")
  precondition((h?.rows ?? B) == B && (h?.columns ?? H) == H, "h of another shape")
  precondition(h != nil || (a.zScale != nil && a.rScale != nil), "a normalised cell without normalised products")
  var step = unsafe lockstep_lstm_step(
    B: B, H: H, a: a.arguments, p_i: p.input?.pointer, p_f: p.forget?.pointer, p_o: p.output?.pointer,
    c_previous: cPrevious.pointer, gates: gates.pointer, c: c.pointer, h: h?.pointer, h_stride: h?.stride ?? 0)
  unsafe lockstep_lstm_forward(S.kernels, &step)
}

/// The derivative of `lstmForward`.
/// - dc: [B, H], gradient of `c` from the next step, replaced by that of `cPrevious`.
/// - dPeepholes: accumulates. da: [B, 4H], may be `gates`.
public func lstmBackward<S: Scalar>(
  gates: MatrixView<S>, c: MatrixView<S>, cPrevious: MatrixView<S>, dOutput: LSTMOutputGradient<S>, dc: MatrixView<S>,
  peepholes p: Peepholes<S>, dPeepholes dp: Peepholes<S>, da: MatrixView<S>
) {
  let (B, H) = (c.rows, c.columns)
  func check(_ matrix: MatrixView<S>) {
    precondition(matrix.rows == B && matrix.columns == H && matrix.isContiguous, "gradients of another shape")
  }
  precondition(gates.rows == B && gates.columns == 4 * H && gates.isContiguous, "gates of another shape")
  precondition(da.rows == B && da.columns == 4 * H && da.isContiguous, "da of another shape")
  check(dc)
  precondition((p.output == nil) == (dp.output == nil) && (p.input == nil) == (dp.input == nil), "peepholes without gradients")
  var derivative = unsafe lockstep_lstm_derivative(
    B: B, H: H, gates: gates.pointer, c: c.pointer, c_previous: cPrevious.pointer, dh_above: nil, dh_stride: 0, dh_next: nil,
    dc_output: nil, dc: dc.pointer, p_i: p.input?.pointer, p_f: p.forget?.pointer, p_o: p.output?.pointer,
    dp_i: dp.input?.pointer, dp_f: dp.forget?.pointer, dp_o: dp.output?.pointer, da: da.pointer)
  switch dOutput {
  case .output(let above, let next):
    precondition(above.rows == B && above.columns == H, "gradients of another shape")
    next.map(check)
    unsafe derivative.dh_above = UnsafeRawPointer(above.pointer)
    unsafe derivative.dh_stride = above.stride
    if let next { unsafe derivative.dh_next = UnsafeRawPointer(next.pointer) }
  case .throughCell(let dCell):
    check(dCell)
    unsafe derivative.dc_output = UnsafeRawPointer(dCell.pointer)
  }
  unsafe lockstep_lstm_backward(S.kernels, &derivative)
}

/// `h = o ⊙ tanh(scale ⊙ cell + shift)`: the output of an LSTM with a normalised cell.
/// - gates: [B, 4H]. cell: [B, H]. scale, shift: [H]. h: [B, H], rows may have gaps.
public func lstmOutput<S: Scalar>(
  gates: MatrixView<S>, cell: MatrixView<S>, scale: VectorView<S>, shift: VectorView<S>, h: MatrixView<S>
) {
  let (B, H) = (h.rows, h.columns)
  precondition(gates.rows == B && gates.columns == 4 * H && gates.isContiguous, "gates of another shape")
  precondition(cell.rows == B && cell.columns == H && cell.isContiguous && scale.count == H && shift.count == H,
    "cells of another shape")
  var step = unsafe lockstep_lstm_output_step(
    B: B, H: H, gates: gates.pointer, cell: cell.pointer, scale: scale.pointer, shift: shift.pointer, h: h.pointer, h_stride: h.stride)
  unsafe S.kernels.pointee.lstm_output(&step)
}

/// The derivative of `lstmOutput`: of the normalised cell, and of the output gate's preactivation.
/// - dhAbove: [B, H], rows may have gaps. dhNext: [B, H]; nil at the last step.
/// - dNormalized: [B, H], written. da: [B, 4H], of which the last block is written; may be `gates`.
public func lstmOutputBackward<S: Scalar>(
  gates: MatrixView<S>, cell: MatrixView<S>, scale: VectorView<S>, shift: VectorView<S>, dhAbove: MatrixView<S>,
  dhNext: MatrixView<S>?, dNormalized: MatrixView<S>, da: MatrixView<S>
) {
  let (B, H) = (cell.rows, cell.columns)
  precondition(gates.rows == B && gates.columns == 4 * H && gates.isContiguous && da.rows == B && da.columns == 4 * H
    && da.isContiguous, "gates of another shape")
  precondition(cell.isContiguous && scale.count == H && shift.count == H, "cells of another shape")
  precondition(dhAbove.rows == B && dhAbove.columns == H && dNormalized.rows == B && dNormalized.columns == H
    && dNormalized.isContiguous, "gradients of another shape")
  precondition(dhNext.map { $0.rows == B && $0.columns == H && $0.isContiguous } ?? true, "dhNext of another shape")
  var derivative = unsafe lockstep_lstm_output_derivative(
    B: B, H: H, gates: gates.pointer, cell: cell.pointer, scale: scale.pointer, shift: shift.pointer, dh_above: dhAbove.pointer,
    dh_stride: dhAbove.stride, dh_next: dhNext?.pointer, d_normalized: dNormalized.pointer, da: da.pointer)
  unsafe S.kernels.pointee.lstm_output_backward(&derivative)
}

/// `h = tanh(…)`, [B, H], rows may have gaps.
public func rnnForward<S: Scalar>(_ a: Preactivation<S>, h: MatrixView<S>) {
  a.check(rows: h.rows, features: h.columns)
  var step = unsafe lockstep_rnn_step(B: h.rows, H: h.columns, a: a.arguments, h: h.pointer, h_stride: h.stride)
  unsafe S.kernels.pointee.rnn_forward(&step)
}

/// The derivative of `rnnForward`: `da = (dhAbove + dhNext) ⊙ (1 − h²)`.
public func rnnBackward<S: Scalar>(
  h: MatrixView<S>, dhAbove: MatrixView<S>, dhNext: MatrixView<S>?, da: MatrixView<S>
) {
  let (B, H) = (h.rows, h.columns)
  precondition(dhAbove.rows == B && dhAbove.columns == H && da.rows == B && da.columns == H && da.isContiguous,
    "gradients of another shape")
  precondition(dhNext.map { $0.rows == B && $0.columns == H && $0.isContiguous } ?? true, "dhNext of another shape")
  var derivative = unsafe lockstep_rnn_derivative(
    B: B, H: H, h: h.pointer, h_stride: h.stride, dh_above: dhAbove.pointer, dh_stride: dhAbove.stride, dh_next: dhNext?.pointer,
    da: da.pointer)
  unsafe S.kernels.pointee.rnn_backward(&derivative)
}

/// With `u = zScale ⊙ z + shift` and `v = rScale ⊙ r + rShift`: `r, z = σ(u + v)`, `n = tanh(u_n + r ⊙ v_n)`,
/// `h = (1 − z) ⊙ n + z ⊙ h'` (Cho et al. 2014, in cuDNN's form).
/// - hPrevious, h: [B, H], rows may have gaps. gates: [B, 3H] in the order r, z, n; may be `a.z`.
public func gruForward<S: Scalar>(_ a: Preactivation<S>, hPrevious: MatrixView<S>, gates: MatrixView<S>, h: MatrixView<S>) {
  let (B, H) = (h.rows, h.columns)
  a.check(rows: B, features: 3 * H, readsApart: true)
  precondition(a.r != nil && hPrevious.rows == B && hPrevious.columns == H, "no recurrent product, or another shape")
  precondition(gates.rows == B && gates.columns == 3 * H && gates.isContiguous, "gates of another shape")
  var step = unsafe lockstep_gru_step(
    B: B, H: H, a: a.arguments, h_previous: hPrevious.pointer, h_previous_stride: hPrevious.stride, gates: gates.pointer,
    h: h.pointer, h_stride: h.stride)
  unsafe lockstep_gru_forward(S.kernels, &step)
}

/// The derivative of `gruForward`.
/// - dhAbove: [B, H], rows may have gaps. dhNext: [B, H]; nil at the last step.
/// - dhPrevious: [B, H], written: the gradient of `hPrevious` that does not go through `r`; may be `dhNext`.
/// - du, dv: [B, 3H], the gradients of `u` and `v`; may be `gates` and `a.r`.
public func gruBackward<S: Scalar>(
  _ a: Preactivation<S>, hPrevious: MatrixView<S>, gates: MatrixView<S>, dhAbove: MatrixView<S>, dhNext: MatrixView<S>?,
  dhPrevious: MatrixView<S>, du: MatrixView<S>, dv: MatrixView<S>
) {
  let (B, H) = (hPrevious.rows, hPrevious.columns)
  a.check(rows: B, features: 3 * H, readsApart: true)
  guard let r = a.r, let rShift = a.rShift else { preconditionFailure("no recurrent product") }
  func check(_ matrix: MatrixView<S>) {
    precondition(matrix.rows == B && matrix.columns == 3 * H && matrix.isContiguous, "gates of another shape")
  }
  check(gates)
  check(du)
  check(dv)
  precondition(dhAbove.rows == B && dhAbove.columns == H && dhPrevious.rows == B && dhPrevious.columns == H
    && dhPrevious.isContiguous, "gradients of another shape")
  precondition(dhNext.map { $0.rows == B && $0.columns == H && $0.isContiguous } ?? true, "dhNext of another shape")
  var derivative = unsafe lockstep_gru_derivative(
    B: B, H: H, gates: gates.pointer, r: r.pointer, r_scale: a.rScale?.pointer, r_shift: rShift.pointer,
    h_previous: hPrevious.pointer, h_previous_stride: hPrevious.stride, dh_above: dhAbove.pointer, dh_stride: dhAbove.stride,
    dh_next: dhNext?.pointer, dh_previous: dhPrevious.pointer, du: du.pointer, dv: dv.pointer)
  unsafe lockstep_gru_backward(S.kernels, &derivative)
}
