/// A real number type that the kernels exist for: `Float` in training, `Double` in derivative checks.
///
/// The requirements are the kernels of `CKernels` and the product of OpenBLAS, one call each, on raw memory; what each computes stands in
/// `CKernels.h`. Everything above this protocol uses the checked operations on views instead.
public protocol Scalar: BinaryFloatingPoint, BitwiseCopyable, Sendable {
  /// The name of the type in files: `F32` or `F64`.
  static var typeName: String { get }

  @unsafe static func scale(_ n: Int, _ a: UnsafeMutablePointer<Self>, _ s: Self)
  @unsafe static func add(_ n: Int, _ out: UnsafeMutablePointer<Self>, _ a: UnsafePointer<Self>, _ b: UnsafePointer<Self>,
    _ squares: UnsafeMutablePointer<Double>?)
  @unsafe static func squares(_ n: Int, _ a: UnsafePointer<Self>, _ squares: UnsafeMutablePointer<Double>)
  @unsafe static func firstNotFinite(_ n: Int, _ a: UnsafePointer<Self>) -> Int
  @unsafe static func columnSums(_ B: Int, _ F: Int, _ x: UnsafePointer<Self>, _ stride: Int,
    _ out: UnsafeMutablePointer<Self>, _ accumulate: Int32)
  @unsafe static func lstmForward(_ B: Int, _ H: Int, _ z: UnsafePointer<Self>, _ zScale: UnsafePointer<Self>?,
    _ r: UnsafePointer<Self>?, _ rScale: UnsafePointer<Self>?, _ shift: UnsafePointer<Self>, _ pI: UnsafePointer<Self>?,
    _ pF: UnsafePointer<Self>?, _ pO: UnsafePointer<Self>?, _ cPrevious: UnsafePointer<Self>,
    _ gates: UnsafeMutablePointer<Self>, _ c: UnsafeMutablePointer<Self>, _ h: UnsafeMutablePointer<Self>, _ hStride: Int)
  @unsafe static func lstmBackward(_ B: Int, _ H: Int, _ gates: UnsafePointer<Self>, _ c: UnsafePointer<Self>,
    _ cPrevious: UnsafePointer<Self>, _ dhAbove: UnsafePointer<Self>, _ dhStride: Int, _ dhNext: UnsafePointer<Self>?,
    _ dc: UnsafeMutablePointer<Self>, _ pI: UnsafePointer<Self>?, _ pF: UnsafePointer<Self>?, _ pO: UnsafePointer<Self>?,
    _ dpI: UnsafeMutablePointer<Self>?, _ dpF: UnsafeMutablePointer<Self>?, _ dpO: UnsafeMutablePointer<Self>?,
    _ da: UnsafeMutablePointer<Self>)
  @unsafe static func rnnForward(_ B: Int, _ H: Int, _ z: UnsafePointer<Self>, _ zScale: UnsafePointer<Self>?,
    _ r: UnsafePointer<Self>?, _ rScale: UnsafePointer<Self>?, _ shift: UnsafePointer<Self>, _ h: UnsafeMutablePointer<Self>,
    _ hStride: Int)
  @unsafe static func rnnBackward(_ B: Int, _ H: Int, _ h: UnsafePointer<Self>, _ hStride: Int,
    _ dhAbove: UnsafePointer<Self>, _ dhStride: Int, _ dhNext: UnsafePointer<Self>?, _ da: UnsafeMutablePointer<Self>)
  @unsafe static func moments(_ B: Int, _ F: Int, _ x: UnsafePointer<Self>, _ mean: UnsafeMutablePointer<Self>,
    _ m2: UnsafeMutablePointer<Self>)
  @unsafe static func mergeMoments(_ F: Int, _ nA: Self, _ meanA: UnsafeMutablePointer<Self>,
    _ m2A: UnsafeMutablePointer<Self>, _ nB: Self, _ meanB: UnsafePointer<Self>, _ m2B: UnsafePointer<Self>)
  @unsafe static func normalizationFold(_ F: Int, _ n: Self, _ epsilon: Self, _ mean: UnsafePointer<Self>,
    _ m2: UnsafePointer<Self>, _ gamma: UnsafePointer<Self>, _ beta: UnsafePointer<Self>?,
    _ rstd: UnsafeMutablePointer<Self>, _ scale: UnsafeMutablePointer<Self>, _ shift: UnsafeMutablePointer<Self>)
  @unsafe static func normalizationSums(_ B: Int, _ F: Int, _ dy: UnsafePointer<Self>, _ x: UnsafePointer<Self>,
    _ mean: UnsafePointer<Self>, _ rstd: UnsafePointer<Self>, _ sumDy: UnsafeMutablePointer<Self>,
    _ sumDyX: UnsafeMutablePointer<Self>)
  @unsafe static func normalizationBackward(_ B: Int, _ F: Int, _ n: Self, _ dy: UnsafePointer<Self>,
    _ x: UnsafePointer<Self>, _ mean: UnsafePointer<Self>, _ rstd: UnsafePointer<Self>, _ scale: UnsafePointer<Self>,
    _ sumDy: UnsafePointer<Self>, _ sumDyX: UnsafePointer<Self>, _ dx: UnsafeMutablePointer<Self>)
  @unsafe static func blend(_ n: Int, _ keep: Self, _ weight: Self, _ r: UnsafeMutablePointer<Self>, _ s: UnsafePointer<Self>)
  @unsafe static func logSoftmax(_ B: Int, _ V: Int, _ logits: UnsafeMutablePointer<Self>, _ bias: UnsafePointer<Self>)
  @unsafe static func gatherRows(_ B: Int, _ E: Int, _ table: UnsafePointer<Self>, _ tableStride: Int,
    _ ids: UnsafePointer<Int32>, _ out: UnsafeMutablePointer<Self>, _ outStride: Int)
  @unsafe static func addGatheredRows(_ B: Int, _ E: Int, _ table: UnsafePointer<Self>, _ ids: UnsafePointer<Int32>,
    _ out: UnsafeMutablePointer<Self>)
  @unsafe static func scatterAddRows(_ B: Int, _ E: Int, _ table: UnsafeMutablePointer<Self>, _ slots: UnsafePointer<Int32>,
    _ x: UnsafePointer<Self>)
  @unsafe static func dropout(_ B: Int, _ F: Int, _ x: UnsafePointer<Self>, _ out: UnsafeMutablePointer<Self>, _ p: Double,
    _ seed: UInt64, _ step: UInt32, _ layer: UInt32, _ examples: UnsafePointer<Int32>, _ time: UInt32)
  @unsafe static func sgd(_ n: Int, _ theta: UnsafeMutablePointer<Self>, _ g: UnsafePointer<Self>, _ s: Self, _ rate: Self)
  @unsafe static func momentum(_ n: Int, _ theta: UnsafeMutablePointer<Self>, _ u: UnsafeMutablePointer<Self>,
    _ g: UnsafePointer<Self>, _ s: Self, _ rate: Self, _ momentum: Self)
  @unsafe static func adam(_ n: Int, _ theta: UnsafeMutablePointer<Self>, _ m: UnsafeMutablePointer<Self>,
    _ v: UnsafeMutablePointer<Self>, _ g: UnsafePointer<Self>, _ s: Self, _ rate: Self, _ beta1: Double, _ beta2: Double,
    _ correction1: Self, _ correction2: Self, _ epsilon: Self)
  @unsafe static func rmsprop(_ n: Int, _ theta: UnsafeMutablePointer<Self>, _ v: UnsafeMutablePointer<Self>,
    _ u: UnsafeMutablePointer<Self>, _ g: UnsafePointer<Self>, _ s: Self, _ rate: Self, _ momentum: Self, _ decay: Double,
    _ epsilon: Self)
  @unsafe static func transpose(_ rows: Int, _ columns: Int, _ x: UnsafePointer<Self>, _ xRow: Int,
    _ out: UnsafeMutablePointer<Self>, _ outRow: Int)
  @unsafe static func packedSize(_ N: Int, _ K: Int) -> Int
  @unsafe static func pack(_ N: Int, _ K: Int, _ W: UnsafePointer<Self>, _ strideN: Int, _ strideK: Int,
    _ packed: UnsafeMutablePointer<Self>)
  @unsafe static func product(_ M: Int, _ N: Int, _ K: Int, _ A: UnsafePointer<Self>, _ aRow: Int, _ aColumn: Int,
    _ B: UnsafePointer<Self>, _ bRow: Int, _ C: UnsafeMutablePointer<Self>, _ cRow: Int, _ accumulate: Int32,
    _ upcoming: UnsafeRawPointer?, _ upcomingBytes: Int, _ other: UnsafeRawPointer?, _ otherBytes: Int, _ isReversed: Bool)
  /// The same of a matrix that is packed in bfloat16.
  @unsafe static func packRounded(_ N: Int, _ K: Int, _ W: UnsafePointer<Self>, _ strideN: Int, _ strideK: Int,
    _ packed: UnsafeMutablePointer<UInt16>)
  @unsafe static func productRounded(_ M: Int, _ N: Int, _ K: Int, _ A: UnsafePointer<Self>, _ aRow: Int, _ aColumn: Int,
    _ packed: UnsafePointer<UInt16>, _ C: UnsafeMutablePointer<Self>, _ cRow: Int, _ accumulate: Int32,
    _ upcoming: UnsafeRawPointer?, _ upcomingBytes: Int, _ other: UnsafeRawPointer?, _ otherBytes: Int, _ isReversed: Bool)
  /// Whether `product` is faster than BLAS on this processor.
  static var isProductTuned: Bool { get }
  @unsafe static func softmaxBlock(_ V: Int, _ B: Int, _ x: UnsafeMutablePointer<Self>, _ bias: UnsafePointer<Self>, _ first: Int,
    _ targets: UnsafePointer<Int32>, _ maximum: UnsafeMutablePointer<Self>, _ sum: UnsafeMutablePointer<Self>,
    _ blockMaximum: UnsafeMutablePointer<Self>, _ targetLogit: UnsafeMutablePointer<Self>, _ wrong: UnsafeMutablePointer<Int32>)
  @unsafe static func softmaxFactors(_ B: Int, _ targets: UnsafePointer<Int32>, _ blockMaximum: UnsafePointer<Self>,
    _ maximum: UnsafePointer<Self>, _ sum: UnsafePointer<Self>, _ gradientScale: Self, _ factors: UnsafeMutablePointer<Self>)
  @unsafe static func softmaxGradient(_ V: Int, _ B: Int, _ x: UnsafeMutablePointer<Self>, _ factors: UnsafePointer<Self>,
    _ first: Int, _ targets: UnsafePointer<Int32>, _ gradientScale: Self, _ rowSums: UnsafeMutablePointer<Self>,
    _ accumulate: Int32)
  /// C ← α op(A) op(B) + β C, row-major, M × N × K; `lda`, `ldb`, `ldc` are row strides.
  @unsafe static func gemm(
    _ transposeA: Bool, _ transposeB: Bool, _ m: Int, _ n: Int, _ k: Int, _ alpha: Self, _ a: UnsafePointer<Self>, _ lda: Int,
    _ b: UnsafePointer<Self>, _ ldb: Int, _ beta: Self, _ c: UnsafeMutablePointer<Self>, _ ldc: Int)
}
