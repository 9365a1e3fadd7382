import CKernels
import COpenBLAS

extension Float: Scalar {
  public static var typeName: String { "F32" }

  @unsafe
  public static func scale(_ n: Int, _ a: UnsafeMutablePointer<Float>, _ s: Float) {
    unsafe lockstep_scale_f32(n, a, s)
  }
  @unsafe
  public static func add(_ n: Int, _ out: UnsafeMutablePointer<Float>, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>,
    _ squares: UnsafeMutablePointer<Double>?) {
    unsafe lockstep_add_f32(n, out, a, b, squares)
  }
  @unsafe
  public static func squares(_ n: Int, _ a: UnsafePointer<Float>, _ squares: UnsafeMutablePointer<Double>) {
    unsafe lockstep_squares_f32(n, a, squares)
  }
  @unsafe
  public static func firstNotFinite(_ n: Int, _ a: UnsafePointer<Float>) -> Int {
    unsafe lockstep_first_not_finite_f32(n, a)
  }
  @unsafe
  public static func columnSums(_ B: Int, _ F: Int, _ x: UnsafePointer<Float>, _ stride: Int,
    _ out: UnsafeMutablePointer<Float>, _ accumulate: Int32) {
    unsafe lockstep_column_sums_f32(B, F, x, stride, out, accumulate)
  }
  @unsafe
  public static func lstmForward(_ B: Int, _ H: Int, _ z: UnsafePointer<Float>, _ zScale: UnsafePointer<Float>?,
    _ r: UnsafePointer<Float>?, _ rScale: UnsafePointer<Float>?, _ shift: UnsafePointer<Float>, _ pI: UnsafePointer<Float>?,
    _ pF: UnsafePointer<Float>?, _ pO: UnsafePointer<Float>?, _ cPrevious: UnsafePointer<Float>,
    _ gates: UnsafeMutablePointer<Float>, _ c: UnsafeMutablePointer<Float>, _ h: UnsafeMutablePointer<Float>,
    _ hStride: Int) {
    unsafe lockstep_lstm_forward_f32(B, H, z, zScale, r, rScale, shift, pI, pF, pO, cPrevious, gates, c, h, hStride)
  }
  @unsafe
  public static func lstmBackward(_ B: Int, _ H: Int, _ gates: UnsafePointer<Float>, _ c: UnsafePointer<Float>,
    _ cPrevious: UnsafePointer<Float>, _ dhAbove: UnsafePointer<Float>, _ dhStride: Int, _ dhNext: UnsafePointer<Float>?,
    _ dc: UnsafeMutablePointer<Float>, _ pI: UnsafePointer<Float>?, _ pF: UnsafePointer<Float>?, _ pO: UnsafePointer<Float>?,
    _ dpI: UnsafeMutablePointer<Float>?, _ dpF: UnsafeMutablePointer<Float>?, _ dpO: UnsafeMutablePointer<Float>?,
    _ da: UnsafeMutablePointer<Float>) {
    unsafe lockstep_lstm_backward_f32(B, H, gates, c, cPrevious, dhAbove, dhStride, dhNext, dc, pI, pF, pO, dpI, dpF, dpO, da)
  }
  @unsafe
  public static func rnnForward(_ B: Int, _ H: Int, _ z: UnsafePointer<Float>, _ zScale: UnsafePointer<Float>?,
    _ r: UnsafePointer<Float>?, _ rScale: UnsafePointer<Float>?, _ shift: UnsafePointer<Float>,
    _ h: UnsafeMutablePointer<Float>, _ hStride: Int) {
    unsafe lockstep_rnn_forward_f32(B, H, z, zScale, r, rScale, shift, h, hStride)
  }
  @unsafe
  public static func rnnBackward(_ B: Int, _ H: Int, _ h: UnsafePointer<Float>, _ hStride: Int,
    _ dhAbove: UnsafePointer<Float>, _ dhStride: Int, _ dhNext: UnsafePointer<Float>?, _ da: UnsafeMutablePointer<Float>) {
    unsafe lockstep_rnn_backward_f32(B, H, h, hStride, dhAbove, dhStride, dhNext, da)
  }
  @unsafe
  public static func moments(_ B: Int, _ F: Int, _ x: UnsafePointer<Float>, _ mean: UnsafeMutablePointer<Float>,
    _ m2: UnsafeMutablePointer<Float>) {
    unsafe lockstep_moments_f32(B, F, x, mean, m2)
  }
  @unsafe
  public static func mergeMoments(_ F: Int, _ nA: Float, _ meanA: UnsafeMutablePointer<Float>,
    _ m2A: UnsafeMutablePointer<Float>, _ nB: Float, _ meanB: UnsafePointer<Float>, _ m2B: UnsafePointer<Float>) {
    unsafe lockstep_merge_moments_f32(F, nA, meanA, m2A, nB, meanB, m2B)
  }
  @unsafe
  public static func normalizationFold(_ F: Int, _ n: Float, _ epsilon: Float, _ mean: UnsafePointer<Float>,
    _ m2: UnsafePointer<Float>, _ gamma: UnsafePointer<Float>, _ beta: UnsafePointer<Float>?,
    _ rstd: UnsafeMutablePointer<Float>, _ scale: UnsafeMutablePointer<Float>, _ shift: UnsafeMutablePointer<Float>) {
    unsafe lockstep_normalization_fold_f32(F, n, epsilon, mean, m2, gamma, beta, rstd, scale, shift)
  }
  @unsafe
  public static func normalizationSums(_ B: Int, _ F: Int, _ dy: UnsafePointer<Float>, _ x: UnsafePointer<Float>,
    _ mean: UnsafePointer<Float>, _ rstd: UnsafePointer<Float>, _ sumDy: UnsafeMutablePointer<Float>,
    _ sumDyX: UnsafeMutablePointer<Float>) {
    unsafe lockstep_normalization_sums_f32(B, F, dy, x, mean, rstd, sumDy, sumDyX)
  }
  @unsafe
  public static func normalizationBackward(_ B: Int, _ F: Int, _ n: Float, _ dy: UnsafePointer<Float>,
    _ x: UnsafePointer<Float>, _ mean: UnsafePointer<Float>, _ rstd: UnsafePointer<Float>, _ scale: UnsafePointer<Float>,
    _ sumDy: UnsafePointer<Float>, _ sumDyX: UnsafePointer<Float>, _ dx: UnsafeMutablePointer<Float>) {
    unsafe lockstep_normalization_backward_f32(B, F, n, dy, x, mean, rstd, scale, sumDy, sumDyX, dx)
  }
  @unsafe
  public static func blend(_ n: Int, _ keep: Float, _ weight: Float, _ r: UnsafeMutablePointer<Float>,
    _ s: UnsafePointer<Float>) {
    unsafe lockstep_blend_f32(n, keep, weight, r, s)
  }
  @unsafe
  public static func logSoftmax(_ B: Int, _ V: Int, _ logits: UnsafeMutablePointer<Float>, _ bias: UnsafePointer<Float>) {
    unsafe lockstep_log_softmax_f32(B, V, logits, bias)
  }
  @unsafe
  public static func gatherRows(_ B: Int, _ E: Int, _ table: UnsafePointer<Float>, _ tableStride: Int,
    _ ids: UnsafePointer<Int32>, _ out: UnsafeMutablePointer<Float>, _ outStride: Int) {
    unsafe lockstep_gather_rows_f32(B, E, table, tableStride, ids, out, outStride)
  }
  @unsafe
  public static func addGatheredRows(_ B: Int, _ E: Int, _ table: UnsafePointer<Float>, _ ids: UnsafePointer<Int32>,
    _ out: UnsafeMutablePointer<Float>) {
    unsafe lockstep_add_gathered_rows_f32(B, E, table, ids, out)
  }
  @unsafe
  public static func scatterAddRows(_ B: Int, _ E: Int, _ table: UnsafeMutablePointer<Float>, _ slots: UnsafePointer<Int32>,
    _ x: UnsafePointer<Float>) {
    unsafe lockstep_scatter_add_rows_f32(B, E, table, slots, x)
  }
  @unsafe
  public static func dropout(_ B: Int, _ F: Int, _ x: UnsafePointer<Float>, _ out: UnsafeMutablePointer<Float>, _ p: Double,
    _ seed: UInt64, _ step: UInt32, _ layer: UInt32, _ examples: UnsafePointer<Int32>, _ time: UInt32) {
    unsafe lockstep_dropout_f32(B, F, x, out, p, seed, step, layer, examples, time)
  }
  @unsafe
  public static func sgd(_ n: Int, _ theta: UnsafeMutablePointer<Float>, _ g: UnsafePointer<Float>, _ s: Float, _ rate: Float) {
    unsafe lockstep_sgd_f32(n, theta, g, s, rate)
  }
  @unsafe
  public static func momentum(_ n: Int, _ theta: UnsafeMutablePointer<Float>, _ u: UnsafeMutablePointer<Float>,
    _ g: UnsafePointer<Float>, _ s: Float, _ rate: Float, _ momentum: Float) {
    unsafe lockstep_momentum_f32(n, theta, u, g, s, rate, momentum)
  }
  @unsafe
  public static func adam(_ n: Int, _ theta: UnsafeMutablePointer<Float>, _ m: UnsafeMutablePointer<Float>,
    _ v: UnsafeMutablePointer<Float>, _ g: UnsafePointer<Float>, _ s: Float, _ rate: Float, _ beta1: Double, _ beta2: Double,
    _ correction1: Float, _ correction2: Float, _ epsilon: Float) {
    unsafe lockstep_adam_f32(n, theta, m, v, g, s, rate, beta1, beta2, correction1, correction2, epsilon)
  }
  @unsafe
  public static func rmsprop(_ n: Int, _ theta: UnsafeMutablePointer<Float>, _ v: UnsafeMutablePointer<Float>,
    _ u: UnsafeMutablePointer<Float>, _ g: UnsafePointer<Float>, _ s: Float, _ rate: Float, _ momentum: Float,
    _ decay: Double, _ epsilon: Float) {
    unsafe lockstep_rmsprop_f32(n, theta, v, u, g, s, rate, momentum, decay, epsilon)
  }
  @unsafe
  public static func transpose(_ rows: Int, _ columns: Int, _ x: UnsafePointer<Float>, _ xRow: Int,
    _ out: UnsafeMutablePointer<Float>, _ outRow: Int) {
    unsafe lockstep_transpose_f32(rows, columns, x, xRow, out, outRow)
  }
  @unsafe
  public static func packedSize(_ N: Int, _ K: Int) -> Int {
    lockstep_packed_size_f32(N, K)
  }
  @unsafe
  public static func pack(_ N: Int, _ K: Int, _ W: UnsafePointer<Float>, _ strideN: Int, _ strideK: Int,
    _ packed: UnsafeMutablePointer<Float>) {
    unsafe lockstep_pack_f32(N, K, W, strideN, strideK, packed)
  }
  @unsafe
  public static func product(_ M: Int, _ N: Int, _ K: Int, _ A: UnsafePointer<Float>, _ aRow: Int, _ aColumn: Int,
    _ B: UnsafePointer<Float>, _ bRow: Int, _ C: UnsafeMutablePointer<Float>, _ cRow: Int, _ accumulate: Int32,
    _ upcoming: UnsafeRawPointer?, _ upcomingBytes: Int, _ other: UnsafeRawPointer?, _ otherBytes: Int,
    _ isReversed: Bool) {
    var hints = unsafe lockstep_hints(
      first: other, second: upcoming, first_bytes: otherBytes, second_bytes: upcomingBytes, is_reversed: isReversed ? 1 : 0)
    unsafe lockstep_product_f32(M, N, K, A, aRow, aColumn, B, bRow, C, cRow, accumulate, &hints)
  }
  @unsafe
  public static func packRounded(_ N: Int, _ K: Int, _ W: UnsafePointer<Float>, _ strideN: Int, _ strideK: Int,
    _ packed: UnsafeMutablePointer<UInt16>) {
    unsafe lockstep_pack_rounded_f32(N, K, W, strideN, strideK, packed)
  }
  @unsafe
  public static func productRounded(_ M: Int, _ N: Int, _ K: Int, _ A: UnsafePointer<Float>, _ aRow: Int, _ aColumn: Int,
    _ packed: UnsafePointer<UInt16>, _ C: UnsafeMutablePointer<Float>, _ cRow: Int, _ accumulate: Int32,
    _ upcoming: UnsafeRawPointer?, _ upcomingBytes: Int, _ other: UnsafeRawPointer?, _ otherBytes: Int,
    _ isReversed: Bool) {
    var hints = unsafe lockstep_hints(
      first: other, second: upcoming, first_bytes: otherBytes, second_bytes: upcomingBytes, is_reversed: isReversed ? 1 : 0)
    unsafe lockstep_product_rounded_f32(M, N, K, A, aRow, aColumn, packed, C, cRow, accumulate, &hints)
  }
  public static var isProductTuned: Bool { lockstep_product_is_tuned_f32() != 0 }
  @unsafe
  public static func softmaxBlock(_ V: Int, _ B: Int, _ x: UnsafeMutablePointer<Float>, _ bias: UnsafePointer<Float>, _ first: Int,
    _ targets: UnsafePointer<Int32>, _ maximum: UnsafeMutablePointer<Float>, _ sum: UnsafeMutablePointer<Float>,
    _ blockMaximum: UnsafeMutablePointer<Float>, _ targetLogit: UnsafeMutablePointer<Float>, _ wrong: UnsafeMutablePointer<Int32>) {
    unsafe lockstep_softmax_block_f32(V, B, x, bias, first, targets, maximum, sum, blockMaximum, targetLogit, wrong)
  }
  @unsafe
  public static func softmaxFactors(_ B: Int, _ targets: UnsafePointer<Int32>, _ blockMaximum: UnsafePointer<Float>,
    _ maximum: UnsafePointer<Float>, _ sum: UnsafePointer<Float>, _ gradientScale: Float, _ factors: UnsafeMutablePointer<Float>) {
    unsafe lockstep_softmax_factors_f32(B, targets, blockMaximum, maximum, sum, gradientScale, factors)
  }
  @unsafe
  public static func softmaxGradient(_ V: Int, _ B: Int, _ x: UnsafeMutablePointer<Float>, _ factors: UnsafePointer<Float>,
    _ first: Int, _ targets: UnsafePointer<Int32>, _ gradientScale: Float, _ rowSums: UnsafeMutablePointer<Float>,
    _ accumulate: Int32) {
    unsafe lockstep_softmax_gradient_f32(V, B, x, factors, first, targets, gradientScale, rowSums, accumulate)
  }
  @unsafe
  public static func gemm(
    _ transposeA: Bool, _ transposeB: Bool, _ m: Int, _ n: Int, _ k: Int, _ alpha: Float, _ a: UnsafePointer<Float>, _ lda: Int,
    _ b: UnsafePointer<Float>, _ ldb: Int, _ beta: Float, _ c: UnsafeMutablePointer<Float>, _ ldc: Int
  ) {
    unsafe cblas_sgemm(
      CblasRowMajor, transposeA ? CblasTrans : CblasNoTrans, transposeB ? CblasTrans : CblasNoTrans, Int32(m), Int32(n), Int32(k),
      alpha, a, Int32(lda), b, Int32(ldb), beta, c, Int32(ldc))
  }
}
