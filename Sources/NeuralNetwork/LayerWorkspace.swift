import Tensors

/// Where layers' buffers come from: each has memory of its own, or all of them have the same, of which a layer takes the buffers in turn.
final class LayerMemory<S: Scalar> {
  private let isShared: Bool
  private var buffers: [VectorView<S>] = []
  private var next = 0

  init(isShared: Bool) { self.isShared = isShared }

  /// A layer begins to take its buffers.
  func begin() { next = 0 }

  /// A buffer [rows, columns]: zeros if it is not shared.
  func matrix(_ rows: Int, _ columns: Int) -> MatrixView<S> {
    if !isShared { return MatrixView(zeros: rows, columns) }
    defer { next += 1 }
    let count = rows * columns
    if next == buffers.count { buffers.append(VectorView(zeros: count)) }
    if buffers[next].count < count { buffers[next] = VectorView(zeros: count) }
    return buffers[next][0..<count].matrix(rows: rows, columns: columns)
  }
}

/// The activations of one recurrent layer of one direction on one shard. N frames, B sequences, I inputs, H cells, G gate rows. Rows
/// follow `PackedSequences`, in the direction's own order of time.
///
/// In backward, gradients take the place of the values that they belong to, so buffers have a name for each of both:
/// `dPreactivation` lies in `gates`, `dInputProduct` in `inputProduct`, `dRecurrentProduct` where the layer's terms put it.
final class LayerWorkspace<S: Scalar> {
  /// The most sequences that fit.
  let B: Int
  /// The sequences of the minibatch under way.
  var sequences = PackedSequences(lengths: [])
  /// What the layer reads, [N, I]: after dropout, where there is any.
  let input: MatrixView<S>
  /// The same without its mean, and whitened, [N, I]; without rows where it is not.
  let centeredInput, whitenedInput: MatrixView<S>
  /// `W_x x_t`, [N, G], or the sum with `W_h h_{t-1}` where nothing wants the two apart; standardised in place by layer normalisation.
  let inputProduct: MatrixView<S>
  /// Activated gates, [N, G]. The same memory as `inputProduct` where backward does not need that.
  let gates: MatrixView<S>
  /// `W_h h_{t-1}` where it is wanted apart: [N, G] where backward needs it, else [B, G] for one step. Standardised in place like
  /// `inputProduct`.
  private let recurrentProduct: MatrixView<S>
  private let keepsRecurrentProduct: Bool
  /// Cells, [B + N, H]; the first B rows are the state before the first step.
  let c: MatrixView<S>
  /// Outputs, [N, H]; rows may have gaps between them.
  let h: MatrixView<S>
  /// Outputs before they are normalised, [N, H]; `h` where they are not.
  let rawOutput: MatrixView<S>
  /// Cells or outputs, standardised by layer normalisation, [N, H].
  private let standardizedState: MatrixView<S>
  /// Outputs of the step before, [N, H]: row for row what the recurrent product reads. The first rows are the state before the first step.
  let hPrevious: MatrixView<S>
  /// Whether `hPrevious` is `h` seen one step later, as sequences of equal lengths allow.
  private let sharesOutputs: Bool
  /// Gradients carried from one step to the one before, [B, H]; after backward, those of the state before the first step.
  let dhNext, dc: MatrixView<S>
  /// Gradient of one step's outputs from above, where it has to be collected, [B, H].
  let dhAbove: MatrixView<S>
  /// Gradient of one step's cells or outputs as they are normalised, [B, H].
  let dState: MatrixView<S>
  /// Gradient of one step's recurrent product after its normalisation, [B, G], where that differs from `dPreactivation`.
  private let dNormalizedRecurrent: MatrixView<S>
  /// Gradients of the peepholes, [3, H] in the order input, forget, output.
  let dPeephole: MatrixView<S>
  /// The learned state before the first step of a sequence, [H] each; nil for zero.
  private let initialHidden, initialCell: VectorView<S>?
  /// Whether the minibatch under way begins with that state, and not with one carried over.
  var beginsWithInitialState = false
  /// Noise on one sequence's initial state, [H] and one more where that is odd.
  private let noise: VectorView<Double>
  /// Where the gradient of the recurrent product lies.
  private let recurrentGradient: RecurrentGradient

  private enum RecurrentGradient { case gates, inputProduct, recurrentProduct }

  /// - input: [frames, I], shared with what computes it.
  /// - output: where outputs go, [frames, H], rows may have gaps; nil for memory of its own.
  /// - frames: the most frames that fit; B times the most steps for sequences of equal lengths.
  /// - memory: what buffers come from.
  /// - isUniform: whether all sequences of a minibatch have equal lengths and there are always B of them.
  init(
    _ layer: RecurrentLayer<S>, input: MatrixView<S>, output: MatrixView<S>?, B: Int, frames N: Int, isUniform: Bool, training: Bool,
    memory: LayerMemory<S>
  ) {
    let c = layer.configuration, (H, G) = (c.hiddenSize, c.gateSize), shape = c.cell.shape
    let hasTerm = { (place: NormalizationSite.Place) in layer.terms.contains { $0.site.place == place } }
    let isLayerNormalized = c.normalization.method == .layer, hasState = hasTerm(.cell) || hasTerm(.output)
    self.B = B
    self.input = input
    centeredInput = memory.matrix(layer.whitening == nil ? 0 : N, input.columns)
    whitenedInput = memory.matrix(layer.whitening == nil ? 0 : N, input.columns)
    inputProduct = memory.matrix(N, G)
    gates = training && (hasTerm(.inputProduct) || hasTerm(.sum)) ? memory.matrix(N, G) : inputProduct
    keepsRecurrentProduct = training && (hasTerm(.recurrentProduct) || shape.readsProductsApart)
    recurrentProduct = memory.matrix(layer.sumsProducts ? 0 : keepsRecurrentProduct ? max(B, N) : B, G)
    self.c = memory.matrix(shape.hasCell ? B + N : 0, H)
    sharesOutputs = isUniform && output == nil
    if sharesOutputs {
      let states = memory.matrix(B + N, H)
      hPrevious = states.rows(0..<N)
      h = states.rows(B..<B + N)
    } else {
      hPrevious = memory.matrix(max(B, N), H)
      h = output ?? memory.matrix(N, H)
    }
    rawOutput = hasTerm(.output) ? memory.matrix(N, H) : h
    standardizedState = memory.matrix(isLayerNormalized && hasState ? N : 0, H)
    dhNext = memory.matrix(training ? B : 0, H)
    dc = memory.matrix(training && shape.hasCell ? B : 0, H)
    dhAbove = memory.matrix(training && output == nil && !isUniform ? B : 0, H)
    dState = memory.matrix(training && hasState ? B : 0, H)
    dNormalizedRecurrent = memory.matrix(training && shape.readsProductsApart && hasTerm(.recurrentProduct) ? B : 0, G)
    dPeephole = memory.matrix(3, H)
    initialHidden = layer.initialHidden
    initialCell = layer.initialCell
    noise = VectorView(zeros: c.initialStateNoise > 0 ? (H + 1) & ~1 : 0)
    recurrentGradient =
      hasTerm(.recurrentProduct) || shape.readsProductsApart ? .recurrentProduct : hasTerm(.sum) ? .inputProduct : .gates
  }

  // MARK: Views of some rows

  /// What W_x multiplies, [N, I].
  var factor: MatrixView<S> { whitenedInput.rows > 0 ? whitenedInput : input }

  /// The rows of the recurrent product, where it is apart.
  func recurrentProduct(_ rows: Range<Int>) -> MatrixView<S> {
    recurrentProduct.rows(keepsRecurrentProduct ? rows : 0..<rows.count)
  }

  /// What is normalised at `place`.
  func values(_ place: NormalizationSite.Place, _ rows: Range<Int>) -> MatrixView<S> {
    switch place {
    case .inputProduct, .sum: inputProduct.rows(rows)
    case .recurrentProduct: recurrentProduct(rows)
    case .cell: c.rows(B + rows.lowerBound..<B + rows.upperBound)
    case .output: rawOutput.rows(rows)
    }
  }

  /// Where layer normalisation puts it: states are needed as they are, too.
  func standardized(_ place: NormalizationSite.Place, _ rows: Range<Int>) -> MatrixView<S> {
    switch place {
    case .inputProduct, .sum, .recurrentProduct: values(place, rows)
    case .cell, .output: standardizedState.rows(rows)
    }
  }

  /// The gradient of what is normalised at `place`, after its normalisation.
  func dNormalized(_ place: NormalizationSite.Place, _ rows: Range<Int>) -> MatrixView<S> {
    switch place {
    case .inputProduct, .sum: dPreactivation(rows)
    case .recurrentProduct: dNormalizedRecurrent.rows > 0 ? dNormalizedRecurrent.rows(0..<rows.count) : dPreactivation(rows)
    case .cell, .output: dState.rows(0..<rows.count)
    }
  }

  /// The same before it.
  func dValues(_ place: NormalizationSite.Place, _ rows: Range<Int>) -> MatrixView<S> {
    switch place {
    case .inputProduct, .sum: dInputProduct(rows)
    case .recurrentProduct: recurrentProduct(rows)
    case .cell, .output: dState.rows(0..<rows.count)
    }
  }

  /// The gradient of what the gates were computed from, [rows, G].
  func dPreactivation(_ rows: Range<Int>) -> MatrixView<S> { gates.rows(rows) }

  /// The gradient of `W_x x`, [rows, G].
  func dInputProduct(_ rows: Range<Int>) -> MatrixView<S> { inputProduct.rows(rows) }

  /// The gradient of `W_h h`, [rows, G].
  func dRecurrentProduct(_ rows: Range<Int>) -> MatrixView<S> {
    switch recurrentGradient {
    case .gates: gates.rows(rows)
    case .inputProduct: inputProduct.rows(rows)
    case .recurrentProduct: recurrentProduct(rows)
    }
  }

  /// The cells after step `t`.
  func cells(_ t: Int) -> MatrixView<S> { c.rows > 0 ? values(.cell, sequences.rows(t)) : c }

  /// The cells before step `t` of the sequences that have it.
  func cellsBefore(_ t: Int) -> MatrixView<S> {
    if c.rows == 0 { return c }
    let first = t == 0 ? 0 : B + sequences.rows(t - 1).lowerBound
    return c.rows(first..<first + sequences.active(t))
  }

  // MARK: States

  /// Hands the outputs of step `t` on to step `t + 1`.
  func passOutputsOn(_ t: Int) {
    let next = sequences.rows(t + 1), first = sequences.rows(t).lowerBound
    if sharesOutputs || next.isEmpty { return }
    hPrevious.rows(next).copy(from: h.rows(first..<first + next.count))
  }

  /// Makes the initial state the state before the first step.
  func resetState() {
    func reset(_ state: MatrixView<S>, _ initial: VectorView<S>?) {
      guard let initial else { return state.fill(0) }
      for row in 0..<state.rows { state[row].copy(from: initial) }
    }
    beginsWithInitialState = true
    reset(hPrevious.rows(0..<B), initialHidden)
    if c.rows > 0 { reset(c.rows(0..<B), initialCell) }
  }

  /// Adds normal noise to the output before the first step of every sequence that begins.
  /// - examples: global number of each sequence, [B].
  /// - stream: what its numbers are drawn from.
  func addNoise(deviation: Double, _ key: NoiseKey, examples: VectorView<Int32>, stream: RandomStream) {
    var stream = stream
    for b in 0..<sequences.count {
      stream.seek(toBlock: key.firstBlock(sequence: Int(examples[b])))
      stream.fillNormal(noise)
      let state = hPrevious[b]
      for unit in 0..<state.count { state[unit] += S(deviation * noise[unit]) }
    }
  }

  /// Makes the state after the last step the state before the first step of the next window, for sequences of equal lengths.
  func carryState() {
    beginsWithInitialState = false
    let last = sequences.rows(sequences.steps - 1)
    hPrevious.rows(0..<last.count).copy(from: h.rows(last))
    if c.rows > 0 { c.rows(0..<last.count).copy(from: cells(sequences.steps - 1)) }
  }
}
