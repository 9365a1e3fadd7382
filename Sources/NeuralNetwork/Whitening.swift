import Tensors

//   a_t = W_x U (x_t − c) + W_h h_{t-1} + b,   U = (Σ̄ + εI)^(-1/2)
//
// Natural neural networks (Desjardins et al. 2015). Now and then Σ̄ and the mean m̄ of the input move towards those of a minibatch; W_x and
// b then change with U and c so that the layer computes the same function as before.

/// The whitening of one layer's input, I features.
public final class Whitening<S: Scalar> {
  /// U [I, I], symmetric.
  public let matrix: MatrixView<S>
  /// c [I].
  public let mean: VectorView<S>
  /// Σ̄ [I, I] and m̄ [I].
  public let averageCovariance: MatrixView<S>
  public let averageMean: VectorView<S>
  /// Whether there are averages yet.
  public var hasAverages = false
  // U for products, and −c with a scale of 1.
  private let packed: PackedMatrix<S>
  private let shift, one: VectorView<S>
  private let momentum: Double
  private let epsilon: Double
  // Frames, mean and sum of products of deviations of the estimate under way.
  private var count = 0
  private let newMean: VectorView<Double>
  private let newSquares: MatrixView<Double>

  /// U = I and c = 0.
  init(features I: Int, configuration: NormalizationConfiguration, library: ProductLibrary) {
    matrix = MatrixView(zeros: I, I)
    for i in 0..<I { matrix[i, i] = 1 }
    mean = VectorView(zeros: I)
    averageCovariance = MatrixView(zeros: I, I)
    averageMean = VectorView(zeros: I)
    packed = PackedMatrix(outputs: I, inputs: I, library: library)
    shift = VectorView(zeros: I)
    one = VectorView(zeros: I)
    one.fill(1)
    momentum = configuration.momentum
    epsilon = configuration.epsilon
    newMean = VectorView(zeros: I)
    newSquares = MatrixView(zeros: I, I)
  }

  private var features: Int { mean.count }

  /// Gets U and c ready for products, after they have changed.
  func prepare() {
    packed.pack(matrix.asIs)
    shift.copy(from: mean)
    shift.scale(by: -1)
  }

  /// `U (x − c)` of each row, [n, I]. The mean goes first: U may be large where x hardly varies.
  /// - centered: room for `x − c`, [n, I].
  func whiten(_ x: MatrixView<S>, centered: MatrixView<S>, into whitened: MatrixView<S>) {
    scaleAndShift(x, scale: one, shift: shift, out: centered)
    whitened.setProduct(centered.asIs, packed: packed)
  }

  /// The gradient of `x` from that of the whitened input, [n, I].
  func differentiate(_ dWhitened: MatrixView<S>, into dInput: MatrixView<S>) {
    // U is symmetric.
    dInput.setProduct(dWhitened.asIs, packed: packed)
  }

  // MARK: Estimates

  /// Begins an estimate.
  func beginEstimate() { count = 0 }

  /// Adds the frames of one minibatch of all shards.
  /// - inputs: what the layer reads, unpadded, [n, I] for each local shard.
  /// - frames: of all shards.
  /// - reducer: sums over all shards.
  func add(_ inputs: [MatrixView<S>], frames: Int, _ reducer: any StatisticsReducing<S>) throws {
    let I = features, sums = MatrixView<S>(zeros: inputs.count, I), squares = MatrixView<S>(zeros: inputs.count, I * I)
    let shift = VectorView<S>(zeros: I)
    for (i, x) in inputs.enumerated() { sums[i].columnSums(of: x, accumulate: false) }
    try reducer.combineSums(sums)
    shift.copy(from: sums[0])
    shift.scale(by: -1 / S(frames))
    for (i, x) in inputs.enumerated() {
      let centered = MatrixView<S>(zeros: x.rows, I)
      scaleAndShift(x, scale: one, shift: shift, out: centered)
      squares[i].matrix(rows: I, columns: I).setProduct(centered.transposed, centered.asIs)
    }
    try reducer.combineSums(squares)
    // (count, mean, M2) of what there was and of this, by Chan's update.
    let share = Double(frames) / Double(count + frames), all = squares[0].matrix(rows: I, columns: I)
    let delta = (0..<I).map { -Double(shift[$0]) - (count == 0 ? 0 : newMean[$0]) }
    for i in 0..<I {
      for j in 0..<I {
        newSquares[i, j] = count == 0 ? Double(all[i, j]) : newSquares[i, j] + Double(all[i, j]) + delta[i] * delta[j] * Double(count) * share
      }
    }
    for i in 0..<I { newMean[i] = count == 0 ? delta[i] : newMean[i] + delta[i] * share }
    count += frames
  }

  /// Ends the estimate: the averages move towards it. They are the same on every rank.
  func moveAverages() {
    precondition(count > 0, "an estimate without frames")
    let m = hasAverages ? momentum : 1
    for i in 0..<features {
      averageMean[i] = S((1 - m) * averageMean[i].double + m * newMean[i])
      for j in 0..<features {
        averageCovariance[i, j] = S((1 - m) * averageCovariance[i, j].double + m * newSquares[i, j] / Double(count))
      }
    }
    hasAverages = true
  }

  /// The new U by the averages, and what W_x is to be multiplied by, `U_old U⁻¹`; [2, I · I]. Its last bits are those of LAPACK, so one rank
  /// computes it for all.
  /// - Throws: `EigenError`.
  public func solve() throws(EigenError) -> MatrixView<Double> {
    let I = features, vectors = MatrixView<Double>(zeros: I, I), scaled = MatrixView<Double>(zeros: I, I)
    for i in 0..<I {
      // The average is symmetric but for rounding.
      for j in 0..<I { vectors[i, j] = (averageCovariance[i, j].double + averageCovariance[j, i].double) / 2 + (i == j ? epsilon : 0) }
    }
    let values = try vectors.decomposeSymmetric(), result = MatrixView<Double>(zeros: 2, I * I)
    // Rounding may leave a covariance with an eigenvalue below 0.
    func function(_ power: (Double) -> Double, into out: MatrixView<Double>) {
      scaled.copy(from: vectors)
      for j in 0..<I { scaled[j].scale(by: power(max(values[j], epsilon))) }
      out.setProduct(vectors.transposed, scaled.asIs)
    }
    let inverse = MatrixView<Double>(zeros: I, I), root = MatrixView<Double>(zeros: I, I), old = MatrixView<Double>(zeros: I, I)
    function({ 1 / $0.squareRoot() }, into: inverse)
    function({ $0.squareRoot() }, into: root)
    let new = result[0].matrix(rows: I, columns: I)
    for i in 0..<I {
      for j in 0..<I {
        new[i, j] = (inverse[i, j] + inverse[j, i]) / 2
        old[i, j] = matrix[i, j].double
      }
    }
    result[1].matrix(rows: I, columns: I).setProduct(old.asIs, root.asIs)
    return result
  }

  /// Takes over what `solve` found, and changes W_x [G, I] and b [G] so that the layer stays the same function.
  func apply(_ solution: MatrixView<Double>, weight: MatrixView<S>, bias: VectorView<S>) {
    let (G, I) = (weight.rows, features), old = MatrixView<Double>(zeros: G, I), new = MatrixView<Double>(zeros: G, I)
    let U = MatrixView<Double>(zeros: I, I), change = VectorView<Double>(zeros: I)
    for i in 0..<I {
      change[i] = averageMean[i].double - mean[i].double
      for j in 0..<I { U[i, j] = matrix[i, j].double }
    }
    for g in 0..<G { for i in 0..<I { old[g, i] = weight[g, i].double } }
    // b ← b + W_x U (c' − c), with what W_x and U were.
    let moved = MatrixView<Double>(zeros: I, 1), added = MatrixView<Double>(zeros: G, 1)
    moved.setProduct(U.asIs, change.matrix(rows: I, columns: 1).asIs)
    added.setProduct(old.asIs, moved.asIs)
    for g in 0..<G { bias[g] = S(bias[g].double + added[g, 0]) }
    new.setProduct(old.asIs, solution[1].matrix(rows: I, columns: I).asIs)
    for g in 0..<G { for i in 0..<I { weight[g, i] = S(new[g, i]) } }
    mean.copy(from: averageMean)
    for i in 0..<I { for j in 0..<I { matrix[i, j] = S(solution[0][i * I + j]) } }
  }
}

extension SequenceModel {
  /// The whitening of each layer and direction; none for other placements.
  public var whitenings: [(layer: RecurrentLayer<S>, whitening: Whitening<S>)] {
    layers.compactMap { layer in layer.whitening.map { (layer, $0) } }
  }

  /// Begins an estimate of the covariances of all layers' inputs.
  public func beginWhitening() { for (_, whitening) in whitenings { whitening.beginEstimate() } }

  /// Adds the minibatch that was passed forward in `workspace`.
  /// - globalReducer: sums over all shards.
  public func addToWhitening(_ workspace: ModelWorkspace<S>, _ pass: PassContext<S>, globalReducer: any StatisticsReducing<S>) throws {
    for (number, layer) in layers.enumerated() {
      let inputs = workspace.layers[number].map { $0.input.rows(0..<$0.sequences.frames) }
      try layer.whitening?.add(inputs, frames: pass.counts.total, globalReducer)
    }
  }

  /// Ends the estimate: the averages of every layer move.
  public func finishWhitening() { for (_, whitening) in whitenings { whitening.moveAverages() } }

  /// Gives a layer the whitening that `solve` found for it.
  /// - Returns: the places of the parameters that changed.
  public func whiten(_ layer: RecurrentLayer<S>, by solution: MatrixView<Double>) -> [Range<Int>] {
    layer.whitening?.apply(solution, weight: layer.inputWeight, bias: layer.bias)
    return [layer.places.inputWeight] + (layer.places.bias.map { [$0] } ?? [])
  }
}
