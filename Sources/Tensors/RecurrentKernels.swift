import CKernels

// One time step of a recurrent cell and its derivative. B rows (sequences), H cells, G = 4H for an LSTM and H for a plain cell.

/// What a step adds up before its nonlinearity: `zScale ⊙ z + rScale ⊙ r + shift`.
public struct Preactivation<S: Scalar> {
  /// Input product, [B, G].
  public var z: MatrixView<S>
  /// [G]; nil stands for 1.
  public var zScale: VectorView<S>?
  /// Recurrent product, [B, G]; nil where it is part of `z`.
  public var r: MatrixView<S>?
  /// [G]; nil stands for 1.
  public var rScale: VectorView<S>?
  /// Bias, or the shift of normalisation, [G].
  public var shift: VectorView<S>

  /// `zScale ⊙ z + rScale ⊙ r + shift`; what is nil is left out.
  public init(
    z: MatrixView<S>, zScale: VectorView<S>? = nil, r: MatrixView<S>? = nil, rScale: VectorView<S>? = nil, shift: VectorView<S>
  ) {
    self.z = z
    self.zScale = zScale
    self.r = r
    self.rScale = rScale
    self.shift = shift
  }

  func check(rows: Int, features: Int) {
    precondition(z.rows == rows && z.columns == features && z.isContiguous && shift.count == features, "z of another shape")
    precondition((zScale?.count ?? features) == features && (rScale?.count ?? features) == features, "scales of another length")
    precondition((r?.columns ?? features) == features && (r?.rows ?? rows) == rows && r?.isContiguous ?? true, "r of another shape")
  }
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
/// - cPrevious, c: [B, H]. gates: [B, 4H] in the order i, f, g, o; may be `a.z`. h: [B, H], rows may have gaps.
public func lstmForward<S: Scalar>(
  _ a: Preactivation<S>, peepholes p: Peepholes<S>, cPrevious: MatrixView<S>, gates: MatrixView<S>, c: MatrixView<S>,
  h: MatrixView<S>
) {
  let (B, H) = (c.rows, c.columns)
  a.check(rows: B, features: 4 * H)
  precondition(cPrevious.rows == B && cPrevious.columns == H && cPrevious.isContiguous && c.isContiguous, "c of another shape")
  precondition(gates.rows == B && gates.columns == 4 * H && gates.isContiguous, "gates of another shape")
  precondition(h.rows == B && h.columns == H, "h of another shape")
  var step = unsafe lockstep_lstm_step(
    B: B, H: H, z: a.z.pointer, z_scale: a.zScale?.pointer, r: a.r?.pointer, r_scale: a.rScale?.pointer, shift: a.shift.pointer,
    p_i: p.input?.pointer, p_f: p.forget?.pointer, p_o: p.output?.pointer, c_previous: cPrevious.pointer, gates: gates.pointer,
    c: c.pointer, h: h.pointer, h_stride: h.stride)
  unsafe lockstep_lstm_forward(S.kernels, &step)
}

/// The derivative of `lstmForward`.
/// - dhAbove: gradient of h from the layer above, [B, H], rows may have gaps. dhNext: from the next step, [B, H]; nil at the last.
/// - dc: [B, H], gradient of `c` from the next step, replaced by that of `cPrevious`.
/// - dPeepholes: accumulates. da: [B, 4H], may be `gates`.
public func lstmBackward<S: Scalar>(
  gates: MatrixView<S>, c: MatrixView<S>, cPrevious: MatrixView<S>, dhAbove: MatrixView<S>, dhNext: MatrixView<S>?,
  dc: MatrixView<S>, peepholes p: Peepholes<S>, dPeepholes dp: Peepholes<S>, da: MatrixView<S>
) {
  let (B, H) = (c.rows, c.columns)
  precondition(gates.rows == B && gates.columns == 4 * H && gates.isContiguous, "gates of another shape")
  precondition(da.rows == B && da.columns == 4 * H && da.isContiguous, "da of another shape")
  precondition(dhAbove.rows == B && dhAbove.columns == H && dc.rows == B && dc.columns == H && dc.isContiguous,
    "gradients of another shape")
  precondition(dhNext.map { $0.rows == B && $0.columns == H && $0.isContiguous } ?? true, "dhNext of another shape")
  precondition((p.output == nil) == (dp.output == nil) && (p.input == nil) == (dp.input == nil), "peepholes without gradients")
  var derivative = unsafe lockstep_lstm_derivative(
    B: B, H: H, gates: gates.pointer, c: c.pointer, c_previous: cPrevious.pointer, dh_above: dhAbove.pointer,
    dh_stride: dhAbove.stride, dh_next: dhNext?.pointer, dc: dc.pointer, p_i: p.input?.pointer, p_f: p.forget?.pointer,
    p_o: p.output?.pointer, dp_i: dp.input?.pointer, dp_f: dp.forget?.pointer, dp_o: dp.output?.pointer, da: da.pointer)
  unsafe lockstep_lstm_backward(S.kernels, &derivative)
}

/// `h = tanh(…)`, [B, H], rows may have gaps.
public func rnnForward<S: Scalar>(_ a: Preactivation<S>, h: MatrixView<S>) {
  a.check(rows: h.rows, features: h.columns)
  var step = unsafe lockstep_rnn_step(
    B: h.rows, H: h.columns, z: a.z.pointer, z_scale: a.zScale?.pointer, r: a.r?.pointer, r_scale: a.rScale?.pointer,
    shift: a.shift.pointer, h: h.pointer, h_stride: h.stride)
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
