import CBLAS

/// The BLAS library that the program is linked with: OpenBLAS, or another that has the interface of CBLAS.
public enum BLAS {
  /// Makes the library compute each product on the calling thread; the program's own threads share large products.
  public static func useOneThread() { lockstep_blas_use_one_thread() }

  /// The library with its version and options.
  public static var version: String { unsafe lockstep_blas_version().map { unsafe String(cString: $0) } ?? "unknown" }

  /// The processor type whose kernels run: part of what decides the bits of a product.
  public static var coreType: String { unsafe lockstep_blas_core().map { unsafe String(cString: $0) } ?? "unknown" }

  /// Whether the library's kernels lack fused multiply-add although the processor has it: an old OpenBLAS takes a processor that it
  /// does not know for one of twenty years ago.
  public static var isBelowProcessor: Bool {
    let lacking = [
      "Katmai", "Coppermine", "Northwood", "Prescott", "Banias", "Core2", "Penryn", "Dunnington", "Nehalem", "Athlon", "Opteron",
      "Opteron_SSE3", "Barcelona", "Bobcat", "Nano", "Atom", "Sandybridge", "Bulldozer",
    ]
    return KernelSet.available[0].isTuned && lacking.contains(coreType)
  }

  static var rowMajor: Int32 { Int32(lockstep_cblas_row_major) }
  static func transpose(_ isTransposed: Bool) -> Int32 { Int32(isTransposed ? lockstep_cblas_transposed : lockstep_cblas_as_is) }

  /// A dimension as the library takes it.
  static func integer(_ value: Int) -> Int32 {
    guard let number = Int32(exactly: value) else { preconditionFailure("a matrix of \(value) rows or columns is too large for BLAS") }
    return number
  }
}
