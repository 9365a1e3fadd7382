import Tensors

/// How a forward pass treats normalisation and dropout.
public enum Mode: Equatable, Sendable {
  /// Statistics of the minibatch, running averages updated, dropout with the masks of minibatch `step` of a run with `seed`.
  case training(step: UInt32, seed: UInt64)
  /// Statistics of the minibatch, added to the population's; no dropout.
  case population
  /// Fixed statistics, no dropout.
  case evaluation
  /// Statistics of the minibatch, the fixed ones where there are none; nothing is updated, no dropout.
  case batchEvaluation

  var usesBatchStatistics: Bool { self != .evaluation }
}

/// What decides the noise on initial states, beside layer, direction, sequence and unit: the same on every rank count.
public struct NoiseKey: Equatable, Sendable {
  /// What a pass is for. Passes for different ends have different noise.
  public enum Purpose: UInt64, Sendable { case training, population, evaluation }

  /// Seed of the run.
  public var seed: UInt64
  public var purpose: Purpose
  /// Number of the minibatch, from 0.
  public var minibatch: Int
  /// The noise of one minibatch.
  public init(seed: UInt64, purpose: Purpose, minibatch: Int) {
    self.seed = seed
    self.purpose = purpose
    self.minibatch = minibatch
  }

  /// Where the numbers of a sequence begin in the stream of a layer: 2¹⁵ blocks of two numbers each are enough for 65,536 cells,
  /// 2²⁰ sequences are the most of a minibatch, and minibatches count modulo 2²⁶.
  func firstBlock(sequence: Int) -> UInt64 {
    purpose.rawValue << 61 | UInt64(minibatch & (1 << 26 - 1)) << 35 | UInt64(sequence & (1 << 20 - 1)) << 15
  }
}

/// What a pass over one minibatch needs beside activations.
public struct PassContext<S: Scalar> {
  public var mode: Mode
  /// T: steps of the longest sequence of all ranks.
  public var steps: Int
  /// In evaluation, the place in a window of the first step: frame-wise statistics count from it.
  public var firstStep = 0
  /// Frames of every shard, step and group.
  public var counts: FrameCounts
  public var groups: ShardGroups
  public var reducer: any StatisticsReducing<S>
  /// What decides the noise on initial states; nil for none.
  public var initialNoise: NoiseKey?
  /// Number of the first minibatch of the update, which decides the masks of recurrent weights; nil where that is the pass's own.
  public var firstMinibatch: UInt32?
  public var timer: PhaseTimer

  /// A pass of `steps` steps over shards with the frames `counts`.
  public init(
    mode: Mode, steps: Int, counts: FrameCounts, groups: ShardGroups, reducer: any StatisticsReducing<S>, timer: PhaseTimer
  ) {
    self.mode = mode
    self.steps = steps
    self.counts = counts
    self.groups = groups
    self.reducer = reducer
    self.timer = timer
  }
}

/// One recurrent layer of one direction: views of its parameters, and its normalised terms.
public final class RecurrentLayer<S: Scalar> {
  let configuration: NetworkConfiguration
  /// Number of the layer from 0, the lowest.
  public let index: Int
  public let direction: Direction
  /// The beginning of its tensors' names, as `lstm.0.forward.`.
  public let prefix: String
  /// What a trace says of its passes.
  let forwardPlace, backwardPlace: Trace.Place
  /// Where its tensors lie in the flat parameters, and so in gradients.
  let places: Places
  /// W_x [G, I] and W_h [G, H].
  let inputWeight, recurrentWeight: MatrixView<S>
  /// W_x and W_h for the products of forward passes, and the transpose of W_h for their derivative; packed when the weights have changed,
  /// those of W_h in the format that the configuration asks for.
  let packedInput, packedRecurrent, packedTransposed: PackedMatrix<S>
  /// b [G]; zero where normalisation has a β in its place.
  let bias: VectorView<S>
  private let hiddenBias: VectorView<S>?
  /// W_h under the mask of the update under way, [G, H]; nil without recurrent dropout.
  private let maskedRecurrentWeight: MatrixView<S>?
  /// Numbers of the rows of W_h, [G], by which masks count; empty without recurrent dropout.
  private let recurrentRows: VectorView<Int32>
  /// What is added to the recurrent product of cells that read it apart, [G]: the hidden bias for the last gate, else zero.
  let recurrentShift: VectorView<S>?
  let peepholes: Peepholes<S>
  /// The learned state before the first step of a sequence, [H] each.
  let initialHidden, initialCell: VectorView<S>?
  /// The random stream of the noise on its initial state.
  let noiseStream: UInt32
  /// Of the placement `whitened-input`.
  public let whitening: Whitening<S>?
  /// What is normalised, in the order of `NormalizationSite.sites`.
  public let terms: [NormalizedTerm<S>]
  /// The number in `terms` of what is normalised at each place.
  let inputTerm, recurrentTerm, sumTerm, cellTerm, outputTerm: Int?

  /// The ranges of a layer's tensors; nil where it has none of the kind.
  struct Places {
    let inputWeight, recurrentWeight: Range<Int>
    let bias, hiddenBias, peephole, initialHidden, initialCell: Range<Int>?
    /// Of each term.
    let gammas: [Range<Int>]
    let betas: [Range<Int>?]
  }

  init(
    _ configuration: NetworkConfiguration, index: Int, _ direction: Direction, layout: ParameterLayout, parameters: VectorView<S>
  ) {
    let prefix = ParameterLayout.prefix(configuration, layer: index, direction)
    func place(_ name: String) -> Range<Int>? { layout.optionalTensor(prefix + name)?.range }
    let sites = NormalizationSite.sites(of: configuration)
    let places = Places(
      inputWeight: layout.tensor(prefix + "input_weight").range, recurrentWeight: layout.tensor(prefix + "recurrent_weight").range,
      bias: place("bias"), hiddenBias: place("hidden_bias"), peephole: place("peephole"), initialHidden: place("initial_hidden"),
      initialCell: place("initial_cell"),
      gammas: sites.map { layout.tensor(prefix + $0.name + ".gamma").range }, betas: sites.map { place($0.name + ".beta") })
    let (G, I) = (configuration.gateSize, configuration.inputSize(ofLayer: index))
    self.places = places
    self.configuration = configuration
    self.index = index
    self.direction = direction
    self.prefix = prefix
    forwardPlace = Trace.Place(String(prefix.dropLast()), pass: "forward")
    backwardPlace = Trace.Place(String(prefix.dropLast()), pass: "backward")
    inputWeight = parameters[places.inputWeight].matrix(rows: G, columns: I)
    recurrentWeight = parameters[places.recurrentWeight].matrix(rows: G, columns: configuration.hiddenSize)
    let (H, format, library) = (configuration.hiddenSize, configuration.recurrentWeights, configuration.products)
    packedInput = PackedMatrix(outputs: G, inputs: I, library: library)
    packedRecurrent = PackedMatrix(outputs: G, inputs: H, format: format, library: library)
    packedTransposed = PackedMatrix(outputs: H, inputs: G, format: format, library: library)
    let bias = places.bias.map { parameters[$0] } ?? VectorView(zeros: G)
    self.bias = bias
    hiddenBias = places.hiddenBias.map { parameters[$0] }
    let hasMasks = configuration.recurrentDropout > 0
    maskedRecurrentWeight = hasMasks ? MatrixView(zeros: G, H) : nil
    recurrentRows = VectorView(hasMasks ? (0..<Int32(G)).map { $0 } : [])
    let recurrentShift = hiddenBias.map { _ in VectorView<S>(zeros: G) }
    self.recurrentShift = recurrentShift
    peepholes = Self.peepholes(configuration, in: places.peephole.map { parameters[$0] })
    initialHidden = places.initialHidden.map { parameters[$0] }
    initialCell = places.initialCell.map { parameters[$0] }
    noiseStream = RandomStream.number(of: prefix + "initial_noise")
    whitening = configuration.normalization.placement == .whitenedInput
      ? Whitening(features: I, configuration: configuration.normalization, library: library) : nil
    terms = sites.indices.map { number in
      // What is added is β; biases join the products that have none.
      let site = sites[number], shift: VectorView<S>
      switch (site.place, places.betas[number]) {
      case (_, let beta?): shift = parameters[beta]
      case (.inputProduct, nil): shift = bias
      case (.recurrentProduct, nil): shift = recurrentShift ?? VectorView(zeros: G)
      case (.sum, nil), (.cell, nil), (.output, nil): shift = VectorView(zeros: site.features)
      }
      return NormalizedTerm(
        site: site, configuration: configuration.normalization, steps: configuration.steps,
        gamma: parameters[places.gammas[number]], shift: shift)
    }
    func term(_ place: NormalizationSite.Place) -> Int? { sites.firstIndex { $0.place == place } }
    inputTerm = term(.inputProduct)
    recurrentTerm = term(.recurrentProduct)
    sumTerm = term(.sum)
    cellTerm = term(.cell)
    outputTerm = term(.output)
  }

  /// The parts of a peephole tensor [H] or [3, H].
  static func peepholes(_ c: NetworkConfiguration, in values: VectorView<S>?) -> Peepholes<S> {
    let H = c.hiddenSize
    guard let values else { return Peepholes() }
    if c.peepholes == .output { return Peepholes(output: values) }
    return Peepholes(input: values[0..<H], forget: values[H..<2 * H], output: values[2 * H..<3 * H])
  }

  /// Packs the weights for forward passes, after they have changed.
  /// - mask: what W_h is dropped by in training.
  func packWeights(mask: DropoutKey? = nil) {
    whitening?.prepare()
    packedInput.pack(inputWeight.asIs)
    packedRecurrent.pack(recurrentWeight(under: mask).asIs)
    if let hiddenBias, let recurrentShift { recurrentShift[recurrentShift.count - hiddenBias.count..<recurrentShift.count].copy(from: hiddenBias) }
  }

  // MARK: Recurrent dropout

  /// The mask of W_h in a pass, if it has one: one for all minibatches of an update.
  func recurrentMask(_ pass: PassContext<S>) -> DropoutKey? {
    guard case .training(let step, let seed) = pass.mode, configuration.recurrentDropout > 0 else { return nil }
    // Connections upwards have the numbers up to that of the output layer.
    let connection = configuration.layers + 1 + 2 * index + (direction == .forward ? 0 : 1)
    return DropoutKey(
      probability: configuration.recurrentDropout, seed: seed, step: pass.firstMinibatch ?? step, layer: UInt32(connection))
  }

  /// W_h as products with it read it.
  func recurrentWeight(under mask: DropoutKey?) -> MatrixView<S> {
    guard let mask, let masked = maskedRecurrentWeight else { return recurrentWeight }
    dropout(recurrentWeight, key: mask, examples: recurrentRows, time: 0, out: masked)
    return masked
  }

  /// Makes the gradient of some rows of the masked W_h that of W_h.
  func differentiateMask(_ mask: DropoutKey, _ gradient: MatrixView<S>, rows: Range<Int>) {
    dropout(gradient, key: mask, examples: recurrentRows[rows], time: 0, out: gradient)
  }

  /// Whether `W_h h` is added to `W_x x` as it is, so that there is one product of both.
  var sumsProducts: Bool { !configuration.cell.shape.readsProductsApart && inputTerm == nil && recurrentTerm == nil }

  // MARK: The cell

  func forwardCell(_ step: CellStep<S>) {
    switch configuration.cell {
    case .lstm: LSTMCell.forward(step)
    case .rnn: PlainCell.forward(step)
    case .gru: GRUCell.forward(step)
    }
  }

  func emitCell(_ step: CellStep<S>, _ cell: NormalizedCell<S>) {
    switch configuration.cell {
    case .lstm: LSTMCell.emit(step, cell)
    case .rnn: PlainCell.emit(step, cell)
    case .gru: GRUCell.emit(step, cell)
    }
  }

  func differentiateEmit(_ step: CellStep<S>, _ cell: NormalizedCell<S>, _ gradients: CellGradients<S>) {
    switch configuration.cell {
    case .lstm: LSTMCell.differentiateEmit(step, cell, gradients)
    case .rnn: PlainCell.differentiateEmit(step, cell, gradients)
    case .gru: GRUCell.differentiateEmit(step, cell, gradients)
    }
  }

  func backwardCell(_ step: CellStep<S>, _ gradients: CellGradients<S>) {
    switch configuration.cell {
    case .lstm: LSTMCell.backward(step, gradients)
    case .rnn: PlainCell.backward(step, gradients)
    case .gru: GRUCell.backward(step, gradients)
    }
  }

  /// What step `t` of a shard reads and writes, with normalisation as scales and shifts.
  func step(_ w: LayerWorkspace<S>, shard i: Int, _ t: Int, _ memory: [TermWorkspace<S>], _ pass: PassContext<S>) -> CellStep<S> {
    let rows = w.sequences.rows(t)
    var a = Preactivation(z: w.inputProduct.rows(rows), shift: bias)
    if let number = inputTerm ?? sumTerm { (a.zScale, a.shift) = scaleAndShift(number, i, t, memory, pass) }
    if !sumsProducts { (a.r, a.rShift) = (w.recurrentProduct(rows), recurrentShift) }
    if let number = recurrentTerm {
      let normalized = scaleAndShift(number, i, t, memory, pass)
      (a.rScale, a.rShift) = (normalized.scale, normalized.shift)
    }
    return CellStep(
      preactivation: a, peepholes: peepholes, gates: w.gates.rows(rows), cPrevious: w.cellsBefore(t), c: w.cells(t),
      hPrevious: w.hPrevious.rows(rows), h: w.rawOutput.rows(rows), normalizesCell: cellTerm != nil)
  }

  /// The normalised cell of step `t` of a shard.
  func normalizedCell(
    _ number: Int, _ w: LayerWorkspace<S>, shard i: Int, _ t: Int, _ memory: [TermWorkspace<S>], _ pass: PassContext<S>
  ) -> NormalizedCell<S> {
    let normalized = scaleAndShift(number, i, t, memory, pass), rows = w.sequences.rows(t)
    return NormalizedCell(values: normalizedValues(number, w, rows), scale: normalized.scale, shift: normalized.shift)
  }

  /// Normalisation of a term in step `t` as a scale and a shift of `normalizedValues`.
  func scaleAndShift(
    _ number: Int, _ shard: Int, _ t: Int, _ memory: [TermWorkspace<S>], _ pass: PassContext<S>
  ) -> (scale: VectorView<S>, shift: VectorView<S>) {
    terms[number].scaleAndShift(memory.isEmpty ? nil : memory[number], shard: shard, step: t, pass)
  }

  /// What the scale and shift of a term apply to.
  func normalizedValues(_ number: Int, _ w: LayerWorkspace<S>, _ rows: Range<Int>) -> MatrixView<S> {
    let term = terms[number]
    return term.batch == nil ? w.standardized(term.site.place, rows) : w.values(term.site.place, rows)
  }
}
