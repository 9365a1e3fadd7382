import CKernels
import COpenBLAS

extension Double: Scalar {
  public static var typeName: String { "F64" }

  @unsafe
  public static func scale(_ n: Int, _ a: UnsafeMutablePointer<Double>, _ s: Double) {
    unsafe lockstep_scale_f64(n, a, s)
  }
  @unsafe
  public static func add(_ n: Int, _ out: UnsafeMutablePointer<Double>, _ a: UnsafePointer<Double>, _ b: UnsafePointer<Double>,
    _ squares: UnsafeMutablePointer<Double>?) {
    unsafe lockstep_add_f64(n, out, a, b, squares)
  }
  @unsafe
  public static func squares(_ n: Int, _ a: UnsafePointer<Double>, _ squares: UnsafeMutablePointer<Double>) {
    unsafe lockstep_squares_f64(n, a, squares)
  }
  @unsafe
  public static func firstNotFinite(_ n: Int, _ a: UnsafePointer<Double>) -> Int {
    unsafe lockstep_first_not_finite_f64(n, a)
  }
  @unsafe
  public static func columnSums(_ B: Int, _ F: Int, _ x: UnsafePointer<Double>, _ stride: Int,
    _ out: UnsafeMutablePointer<Double>, _ accumulate: Int32) {
    unsafe lockstep_column_sums_f64(B, F, x, stride, out, accumulate)
  }
  @unsafe
  public static func lstmForward(_ B: Int, _ H: Int, _ z: UnsafePointer<Double>, _ zScale: UnsafePointer<Double>?,
    _ r: UnsafePointer<Double>?, _ rScale: UnsafePointer<Double>?, _ shift: UnsafePointer<Double>,
    _ pI: UnsafePointer<Double>?, _ pF: UnsafePointer<Double>?, _ pO: UnsafePointer<Double>?,
    _ cPrevious: UnsafePointer<Double>, _ gates: UnsafeMutablePointer<Double>, _ c: UnsafeMutablePointer<Double>,
    _ h: UnsafeMutablePointer<Double>, _ hStride: Int) {
    unsafe lockstep_lstm_forward_f64(B, H, z, zScale, r, rScale, shift, pI, pF, pO, cPrevious, gates, c, h, hStride)
  }
  @unsafe
  public static func lstmBackward(_ B: Int, _ H: Int, _ gates: UnsafePointer<Double>, _ c: UnsafePointer<Double>,
    _ cPrevious: UnsafePointer<Double>, _ dhAbove: UnsafePointer<Double>, _ dhStride: Int, _ dhNext: UnsafePointer<Double>?,
    _ dc: UnsafeMutablePointer<Double>, _ pI: UnsafePointer<Double>?, _ pF: UnsafePointer<Double>?,
    _ pO: UnsafePointer<Double>?, _ dpI: UnsafeMutablePointer<Double>?, _ dpF: UnsafeMutablePointer<Double>?,
    _ dpO: UnsafeMutablePointer<Double>?, _ da: UnsafeMutablePointer<Double>) {
    unsafe lockstep_lstm_backward_f64(B, H, gates, c, cPrevious, dhAbove, dhStride, dhNext, dc, pI, pF, pO, dpI, dpF, dpO, da)
  }
  @unsafe
  public static func rnnForward(_ B: Int, _ H: Int, _ z: UnsafePointer<Double>, _ zScale: UnsafePointer<Double>?,
    _ r: UnsafePointer<Double>?, _ rScale: UnsafePointer<Double>?, _ shift: UnsafePointer<Double>,
    _ h: UnsafeMutablePointer<Double>, _ hStride: Int) {
    unsafe lockstep_rnn_forward_f64(B, H, z, zScale, r, rScale, shift, h, hStride)
  }
  @unsafe
  public static func rnnBackward(_ B: Int, _ H: Int, _ h: UnsafePointer<Double>, _ hStride: Int,
    _ dhAbove: UnsafePointer<Double>, _ dhStride: Int, _ dhNext: UnsafePointer<Double>?, _ da: UnsafeMutablePointer<Double>) {
    unsafe lockstep_rnn_backward_f64(B, H, h, hStride, dhAbove, dhStride, dhNext, da)
  }
  @unsafe
  public static func moments(_ B: Int, _ F: Int, _ x: UnsafePointer<Double>, _ mean: UnsafeMutablePointer<Double>,
    _ m2: UnsafeMutablePointer<Double>) {
    unsafe lockstep_moments_f64(B, F, x, mean, m2)
  }
  @unsafe
  public static func mergeMoments(_ F: Int, _ nA: Double, _ meanA: UnsafeMutablePointer<Double>,
    _ m2A: UnsafeMutablePointer<Double>, _ nB: Double, _ meanB: UnsafePointer<Double>, _ m2B: UnsafePointer<Double>) {
    unsafe lockstep_merge_moments_f64(F, nA, meanA, m2A, nB, meanB, m2B)
  }
  @unsafe
  public static func normalizationFold(_ F: Int, _ n: Double, _ epsilon: Double, _ mean: UnsafePointer<Double>,
    _ m2: UnsafePointer<Double>, _ gamma: UnsafePointer<Double>, _ beta: UnsafePointer<Double>?,
    _ rstd: UnsafeMutablePointer<Double>, _ scale: UnsafeMutablePointer<Double>, _ shift: UnsafeMutablePointer<Double>) {
    unsafe lockstep_normalization_fold_f64(F, n, epsilon, mean, m2, gamma, beta, rstd, scale, shift)
  }
  @unsafe
  public static func normalizationSums(_ B: Int, _ F: Int, _ dy: UnsafePointer<Double>, _ x: UnsafePointer<Double>,
    _ mean: UnsafePointer<Double>, _ rstd: UnsafePointer<Double>, _ sumDy: UnsafeMutablePointer<Double>,
    _ sumDyX: UnsafeMutablePointer<Double>) {
    unsafe lockstep_normalization_sums_f64(B, F, dy, x, mean, rstd, sumDy, sumDyX)
  }
  @unsafe
  public static func normalizationBackward(_ B: Int, _ F: Int, _ n: Double, _ dy: UnsafePointer<Double>,
    _ x: UnsafePointer<Double>, _ mean: UnsafePointer<Double>, _ rstd: UnsafePointer<Double>, _ scale: UnsafePointer<Double>,
    _ sumDy: UnsafePointer<Double>, _ sumDyX: UnsafePointer<Double>, _ dx: UnsafeMutablePointer<Double>) {
    unsafe lockstep_normalization_backward_f64(B, F, n, dy, x, mean, rstd, scale, sumDy, sumDyX, dx)
  }
  @unsafe
  public static func blend(_ n: Int, _ keep: Double, _ weight: Double, _ r: UnsafeMutablePointer<Double>,
    _ s: UnsafePointer<Double>) {
    unsafe lockstep_blend_f64(n, keep, weight, r, s)
  }
  @unsafe
  public static func logSoftmax(_ B: Int, _ V: Int, _ logits: UnsafeMutablePointer<Double>, _ bias: UnsafePointer<Double>) {
    unsafe lockstep_log_softmax_f64(B, V, logits, bias)
  }
  @unsafe
  public static func gatherRows(_ B: Int, _ E: Int, _ table: UnsafePointer<Double>, _ tableStride: Int,
    _ ids: UnsafePointer<Int32>, _ out: UnsafeMutablePointer<Double>, _ outStride: Int) {
    unsafe lockstep_gather_rows_f64(B, E, table, tableStride, ids, out, outStride)
  }
  @unsafe
  public static func addGatheredRows(_ B: Int, _ E: Int, _ table: UnsafePointer<Double>, _ ids: UnsafePointer<Int32>,
    _ out: UnsafeMutablePointer<Double>) {
    unsafe lockstep_add_gathered_rows_f64(B, E, table, ids, out)
  }
  @unsafe
  public static func scatterAddRows(_ B: Int, _ E: Int, _ table: UnsafeMutablePointer<Double>, _ slots: UnsafePointer<Int32>,
    _ x: UnsafePointer<Double>) {
    unsafe lockstep_scatter_add_rows_f64(B, E, table, slots, x)
  }
  @unsafe
  public static func dropout(_ B: Int, _ F: Int, _ x: UnsafePointer<Double>, _ out: UnsafeMutablePointer<Double>,
    _ p: Double, _ seed: UInt64, _ step: UInt32, _ layer: UInt32, _ examples: UnsafePointer<Int32>, _ time: UInt32) {
    unsafe lockstep_dropout_f64(B, F, x, out, p, seed, step, layer, examples, time)
  }
  @unsafe
  public static func sgd(_ n: Int, _ theta: UnsafeMutablePointer<Double>, _ g: UnsafePointer<Double>, _ s: Double,
    _ rate: Double) {
    unsafe lockstep_sgd_f64(n, theta, g, s, rate)
  }
  @unsafe
  public static func momentum(_ n: Int, _ theta: UnsafeMutablePointer<Double>, _ u: UnsafeMutablePointer<Double>,
    _ g: UnsafePointer<Double>, _ s: Double, _ rate: Double, _ momentum: Double) {
    unsafe lockstep_momentum_f64(n, theta, u, g, s, rate, momentum)
  }
  @unsafe
  public static func adam(_ n: Int, _ theta: UnsafeMutablePointer<Double>, _ m: UnsafeMutablePointer<Double>,
    _ v: UnsafeMutablePointer<Double>, _ g: UnsafePointer<Double>, _ s: Double, _ rate: Double, _ beta1: Double,
    _ beta2: Double, _ correction1: Double, _ correction2: Double, _ epsilon: Double) {
    unsafe lockstep_adam_f64(n, theta, m, v, g, s, rate, beta1, beta2, correction1, correction2, epsilon)
  }
  @unsafe
  public static func rmsprop(_ n: Int, _ theta: UnsafeMutablePointer<Double>, _ v: UnsafeMutablePointer<Double>,
    _ u: UnsafeMutablePointer<Double>, _ g: UnsafePointer<Double>, _ s: Double, _ rate: Double, _ momentum: Double,
    _ decay: Double, _ epsilon: Double) {
    unsafe lockstep_rmsprop_f64(n, theta, v, u, g, s, rate, momentum, decay, epsilon)
  }
  @unsafe
  public static func transpose(_ rows: Int, _ columns: Int, _ x: UnsafePointer<Double>, _ xRow: Int,
    _ out: UnsafeMutablePointer<Double>, _ outRow: Int) {
    unsafe lockstep_transpose_f64(rows, columns, x, xRow, out, outRow)
  }
  @unsafe
  public static func packedSize(_ N: Int, _ K: Int) -> Int {
    lockstep_packed_size_f64(N, K)
  }
  @unsafe
  public static func pack(_ N: Int, _ K: Int, _ W: UnsafePointer<Double>, _ strideN: Int, _ strideK: Int,
    _ packed: UnsafeMutablePointer<Double>) {
    unsafe lockstep_pack_f64(N, K, W, strideN, strideK, packed)
  }
  @unsafe
  public static func product(_ M: Int, _ N: Int, _ K: Int, _ A: UnsafePointer<Double>, _ aRow: Int, _ aColumn: Int,
    _ B: UnsafePointer<Double>, _ bRow: Int, _ C: UnsafeMutablePointer<Double>, _ cRow: Int, _ accumulate: Int32,
    _ upcoming: UnsafeRawPointer?, _ upcomingBytes: Int, _ other: UnsafeRawPointer?, _ otherBytes: Int,
    _ isReversed: Bool) {
    var hints = unsafe lockstep_hints(
      first: other, second: upcoming, first_bytes: otherBytes, second_bytes: upcomingBytes, is_reversed: isReversed ? 1 : 0)
    unsafe lockstep_product_f64(M, N, K, A, aRow, aColumn, B, bRow, C, cRow, accumulate, &hints)
  }
  @unsafe
  public static func packRounded(_ N: Int, _ K: Int, _ W: UnsafePointer<Double>, _ strideN: Int, _ strideK: Int,
    _ packed: UnsafeMutablePointer<UInt16>) {
    unsafe lockstep_pack_rounded_f64(N, K, W, strideN, strideK, packed)
  }
  @unsafe
  public static func productRounded(_ M: Int, _ N: Int, _ K: Int, _ A: UnsafePointer<Double>, _ aRow: Int, _ aColumn: Int,
    _ packed: UnsafePointer<UInt16>, _ C: UnsafeMutablePointer<Double>, _ cRow: Int, _ accumulate: Int32,
    _ upcoming: UnsafeRawPointer?, _ upcomingBytes: Int, _ other: UnsafeRawPointer?, _ otherBytes: Int,
    _ isReversed: Bool) {
    var hints = unsafe lockstep_hints(
      first: other, second: upcoming, first_bytes: otherBytes, second_bytes: upcomingBytes, is_reversed: isReversed ? 1 : 0)
    unsafe lockstep_product_rounded_f64(M, N, K, A, aRow, aColumn, packed, C, cRow, accumulate, &hints)
  }
  public static var isProductTuned: Bool { lockstep_product_is_tuned_f64() != 0 }
  @unsafe
  public static func softmaxBlock(_ V: Int, _ B: Int, _ x: UnsafeMutablePointer<Double>, _ bias: UnsafePointer<Double>, _ first: Int,
    _ targets: UnsafePointer<Int32>, _ maximum: UnsafeMutablePointer<Double>, _ sum: UnsafeMutablePointer<Double>,
    _ blockMaximum: UnsafeMutablePointer<Double>, _ targetLogit: UnsafeMutablePointer<Double>, _ wrong: UnsafeMutablePointer<Int32>) {
    unsafe lockstep_softmax_block_f64(V, B, x, bias, first, targets, maximum, sum, blockMaximum, targetLogit, wrong)
  }
  @unsafe
  public static func softmaxFactors(_ B: Int, _ targets: UnsafePointer<Int32>, _ blockMaximum: UnsafePointer<Double>,
    _ maximum: UnsafePointer<Double>, _ sum: UnsafePointer<Double>, _ gradientScale: Double, _ factors: UnsafeMutablePointer<Double>) {
    unsafe lockstep_softmax_factors_f64(B, targets, blockMaximum, maximum, sum, gradientScale, factors)
  }
  @unsafe
  public static func softmaxGradient(_ V: Int, _ B: Int, _ x: UnsafeMutablePointer<Double>, _ factors: UnsafePointer<Double>,
    _ first: Int, _ targets: UnsafePointer<Int32>, _ gradientScale: Double, _ rowSums: UnsafeMutablePointer<Double>,
    _ accumulate: Int32) {
    unsafe lockstep_softmax_gradient_f64(V, B, x, factors, first, targets, gradientScale, rowSums, accumulate)
  }
  @unsafe
  public static func gemm(
    _ transposeA: Bool, _ transposeB: Bool, _ m: Int, _ n: Int, _ k: Int, _ alpha: Double, _ a: UnsafePointer<Double>, _ lda: Int,
    _ b: UnsafePointer<Double>, _ ldb: Int, _ beta: Double, _ c: UnsafeMutablePointer<Double>, _ ldc: Int
  ) {
    unsafe cblas_dgemm(
      CblasRowMajor, transposeA ? CblasTrans : CblasNoTrans, transposeB ? CblasTrans : CblasNoTrans, Int32(m), Int32(n), Int32(k),
      alpha, a, Int32(lda), b, Int32(ldb), beta, c, Int32(ldc))
  }
}
