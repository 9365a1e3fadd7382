import CKernels
import CBLAS

/// A real number type that the kernels exist for: `Float` in training, `Double` in derivative checks.
public protocol Scalar: BinaryFloatingPoint, BitwiseCopyable, Sendable {
  /// The kernels for this type in a set.
  @unsafe static func kernels(of set: KernelSet) -> UnsafePointer<lockstep_kernels>
  /// This number in double precision, exactly.
  var double: Double { get }
  /// BLAS's product: C ← α op(A) op(B) + β C, row-major, M × N × K; `lda`, `ldb`, `ldc` are row strides.
  @unsafe static func gemm(
    _ transposeA: Bool, _ transposeB: Bool, _ m: Int, _ n: Int, _ k: Int, _ alpha: Self, _ a: UnsafePointer<Self>, _ lda: Int,
    _ b: UnsafePointer<Self>, _ ldb: Int, _ beta: Self, _ c: UnsafeMutablePointer<Self>, _ ldc: Int)
}

extension Scalar {
  /// The kernels in use. What each computes stands in `CKernels.h`; above this module only the checked operations on views are used.
  @unsafe static var kernels: UnsafePointer<lockstep_kernels> { unsafe kernels(of: .inUse) }
}

extension Float: Scalar {
  /// The set's kernels in single precision.
  @unsafe public static func kernels(of set: KernelSet) -> UnsafePointer<lockstep_kernels> { unsafe set.set.pointee.f32 }
  public var double: Double { Double(self) }

  @unsafe
  public static func gemm(
    _ transposeA: Bool, _ transposeB: Bool, _ m: Int, _ n: Int, _ k: Int, _ alpha: Float, _ a: UnsafePointer<Float>, _ lda: Int,
    _ b: UnsafePointer<Float>, _ ldb: Int, _ beta: Float, _ c: UnsafeMutablePointer<Float>, _ ldc: Int
  ) {
    unsafe cblas_sgemm(
      BLAS.rowMajor, BLAS.transpose(transposeA), BLAS.transpose(transposeB), BLAS.integer(m),
      BLAS.integer(n), BLAS.integer(k), alpha, a, BLAS.integer(lda), b, BLAS.integer(ldb), beta, c, BLAS.integer(ldc))
  }
}

extension Double: Scalar {
  /// The set's kernels in double precision.
  @unsafe public static func kernels(of set: KernelSet) -> UnsafePointer<lockstep_kernels> { unsafe set.set.pointee.f64 }
  public var double: Double { self }

  @unsafe
  public static func gemm(
    _ transposeA: Bool, _ transposeB: Bool, _ m: Int, _ n: Int, _ k: Int, _ alpha: Double, _ a: UnsafePointer<Double>, _ lda: Int,
    _ b: UnsafePointer<Double>, _ ldb: Int, _ beta: Double, _ c: UnsafeMutablePointer<Double>, _ ldc: Int
  ) {
    unsafe cblas_dgemm(
      BLAS.rowMajor, BLAS.transpose(transposeA), BLAS.transpose(transposeB), BLAS.integer(m),
      BLAS.integer(n), BLAS.integer(k), alpha, a, BLAS.integer(lda), b, BLAS.integer(ldb), beta, c, BLAS.integer(ldc))
  }
}
