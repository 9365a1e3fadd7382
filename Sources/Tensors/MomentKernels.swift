import CKernels

// Means, variances and normalisation of features.
// B rows, F features; (n, mean, M2): count, mean and sum of squared deviations of each feature.

/// Mean and M2 of each column of `x` [B, F]; all zero for B = 0.
public func computeMoments<S: Scalar>(of x: MatrixView<S>, mean: VectorView<S>, squares: VectorView<S>) {
  precondition(x.isContiguous && mean.count == x.columns && squares.count == x.columns, "moments of another shape")
  unsafe S.kernels.pointee.moments(x.rows, x.columns, x.pointer, mean.pointer, squares.pointer)
}

/// Chan's pairwise update: `(count, mean, squares)` becomes the moments of both sets together, elementwise.
/// A count of 0 on either side leaves the other side's values exactly.
public func mergeMoments<S: Scalar>(
  count: Int, mean: VectorView<S>, squares: VectorView<S>, otherCount: Int, otherMean: VectorView<S>, otherSquares: VectorView<S>
) {
  let n = mean.count
  precondition(squares.count == n && otherMean.count == n && otherSquares.count == n, "moments of different lengths")
  unsafe S.kernels.pointee.merge_moments(
    n, Double(count), mean.pointer, squares.pointer, Double(otherCount), otherMean.pointer, otherSquares.pointer)
}

/// Folds normalisation into one scale and shift a feature: `γ/√(v+ε)` and `β − γ μ/√(v+ε)` (Ioffe & Szegedy 2015, alg. 1).
/// - mean, squares: [F]; `v = squares / count` is the biased variance.
/// - beta: nil where it is fixed to 0.
/// - rstd, scale, shift: [F], written.
public func foldNormalization<S: Scalar>(
  count: S, epsilon: S, mean: VectorView<S>, squares: VectorView<S>, gamma: VectorView<S>, beta: VectorView<S>?,
  rstd: VectorView<S>, scale: VectorView<S>, shift: VectorView<S>
) {
  let F = mean.count
  precondition(squares.count == F && gamma.count == F && rstd.count == F && scale.count == F && shift.count == F
    && (beta?.count ?? F) == F && count > 0, "normalisation of different lengths")
  var fold = unsafe lockstep_normalization(
    F: F, n: count.double, epsilon: epsilon.double, mean: mean.pointer, m2: squares.pointer, gamma: gamma.pointer,
    beta: beta?.pointer, rstd: rstd.pointer, scale: scale.pointer, shift: shift.pointer)
  unsafe S.kernels.pointee.normalization_fold(&fold)
}

/// The two sums that the derivative of normalisation needs: `Σ dy` and `Σ dy ⊙ x̂` over the rows, [F] each.
public func sumForNormalizationBackward<S: Scalar>(
  dy: MatrixView<S>, x: MatrixView<S>, mean: VectorView<S>, rstd: VectorView<S>, sum: VectorView<S>, sumWithX: VectorView<S>
) {
  let F = dy.columns
  precondition(dy.isContiguous && x.isContiguous && x.columns == F && x.rows == dy.rows, "matrices of different shapes")
  precondition(mean.count == F && rstd.count == F && sum.count == F && sumWithX.count == F, "features of different lengths")
  var sums = unsafe lockstep_normalization_derivative(
    B: dy.rows, F: F, n: 0, dy: dy.pointer, x: x.pointer, mean: mean.pointer, rstd: rstd.pointer, scale: nil, sum_dy: sum.pointer,
    sum_dy_x: sumWithX.pointer, dx: nil)
  unsafe S.kernels.pointee.normalization_sums(&sums)
}

/// `dx = scale ⊙ (dy − (sum + x̂ ⊙ sumWithX) / count)`: the derivative through mean and variance (Ioffe & Szegedy 2015, §3).
/// `dx` may be `dy` or `x`.
public func normalizationBackward<S: Scalar>(
  count: S, dy: MatrixView<S>, x: MatrixView<S>, mean: VectorView<S>, rstd: VectorView<S>, scale: VectorView<S>,
  sum: VectorView<S>, sumWithX: VectorView<S>, dx: MatrixView<S>
) {
  let F = dy.columns
  precondition(dy.isContiguous && x.isContiguous && dx.isContiguous, "matrices with gaps")
  precondition(x.columns == F && x.rows == dy.rows && dx.columns == F && dx.rows == dy.rows, "matrices of different shapes")
  precondition(mean.count == F && rstd.count == F && scale.count == F && sum.count == F && sumWithX.count == F,
    "features of different lengths")
  var derivative = unsafe lockstep_normalization_derivative(
    B: dy.rows, F: F, n: count.double, dy: dy.pointer, x: x.pointer, mean: mean.pointer, rstd: rstd.pointer, scale: scale.pointer,
    sum_dy: sum.pointer, sum_dy_x: sumWithX.pointer, dx: dx.pointer)
  unsafe lockstep_normalization_backward(S.kernels, &derivative)
}

/// `out = scale ⊙ x + shift`, [B, F]; rows of `out` may have gaps.
public func scaleAndShift<S: Scalar>(_ x: MatrixView<S>, scale: VectorView<S>, shift: VectorView<S>, out: MatrixView<S>) {
  precondition(x.isContiguous && out.rows == x.rows && out.columns == x.columns, "matrices of different shapes")
  precondition(scale.count == x.columns && shift.count == x.columns, "features of different lengths")
  var map = unsafe lockstep_affine_map(
    B: x.rows, F: x.columns, x: x.pointer, scale: scale.pointer, shift: shift.pointer, out: out.pointer, out_stride: out.stride)
  unsafe S.kernels.pointee.affine(&map)
}

/// `x̂ = (x − μ) / √(v + ε)` with mean and biased variance over the features of each row (Ba et al. 2016), [B, F].
/// - standardized: may be `x`. rstd: [B], receives `1 / √(v + ε)`; nil where no derivative follows.
public func standardizeRows<S: Scalar>(
  _ x: MatrixView<S>, epsilon: S, into standardized: MatrixView<S>, rstd: VectorView<S>?
) {
  precondition(x.isContiguous && standardized.isContiguous && standardized.rows == x.rows && standardized.columns == x.columns,
    "matrices of different shapes")
  precondition((rstd?.count ?? x.rows) == x.rows, "rstd of another length")
  var arguments = unsafe lockstep_standardization(
    B: x.rows, F: x.columns, epsilon: epsilon.double, x: x.pointer, x_hat: standardized.pointer, rstd: rstd?.pointer)
  unsafe lockstep_standardize(S.kernels, &arguments)
}

/// The derivative of layer normalisation: with `g = γ ⊙ dy`, `dx = rstd (g − mean(g) − x̂ mean(g ⊙ x̂))` in each row.
/// `dx` may be `dy` or `standardized`.
public func standardizationBackward<S: Scalar>(
  dy: MatrixView<S>, standardized: MatrixView<S>, rstd: VectorView<S>, gamma: VectorView<S>, dx: MatrixView<S>
) {
  let (B, F) = (dy.rows, dy.columns)
  precondition(dy.isContiguous && standardized.isContiguous && dx.isContiguous, "matrices with gaps")
  precondition(standardized.rows == B && standardized.columns == F && dx.rows == B && dx.columns == F && rstd.count == B
    && gamma.count == F, "matrices of different shapes")
  var arguments = unsafe lockstep_standardization_derivative(
    B: B, F: F, dy: dy.pointer, x_hat: standardized.pointer, rstd: rstd.pointer, gamma: gamma.pointer, dx: dx.pointer)
  unsafe lockstep_standardize_backward(S.kernels, &arguments)
}
