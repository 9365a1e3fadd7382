import CKernels

/// A format of 16 bits in which numbers are sent, but not computed with.
public enum HalfFormat: String, CaseIterable, Sendable {
  /// IEEE 754 binary16: 11 significant bits, to 65504, down to 2⁻²⁴.
  case float16
  /// The upper half of single precision: 8 significant bits, the range of single precision.
  case bfloat16

  @unsafe var kernels: UnsafePointer<lockstep_half_kernels> {
    let set = KernelSet.inUse
    return switch self {
    case .float16: unsafe set.set.pointee.float16
    case .bfloat16: unsafe set.set.pointee.bfloat16
    }
  }
}

// Rounding is to nearest, ties to even; what is too large for the format becomes infinite, and a NaN stays one. n elements.

extension VectorView where Element == Float {
  /// `self[i] = other[i]`, rounded to the format; `other` may be this very memory.
  public func round(_ other: VectorView, to format: HalfFormat) {
    precondition(other.count == count, "rounding of \(other.count) elements into \(count)")
    unsafe format.kernels.pointee.round(count, other.pointer, pointer)
  }

  /// `self[i] += other[i]` in single precision, with both summands and the sum rounded to the format.
  public func add(_ other: VectorView, rounding format: HalfFormat) {
    precondition(other.count == count, "a sum of \(count) and \(other.count) elements")
    unsafe format.kernels.pointee.add_rounded(count, pointer, other.pointer)
  }

  /// The numbers that `encoded` stands for, exactly.
  public func decode(_ encoded: VectorView<UInt16>, _ format: HalfFormat) {
    precondition(encoded.count == count, "\(encoded.count) encoded numbers into \(count) elements")
    unsafe format.kernels.pointee.decode(count, encoded.pointer, pointer)
  }
}

extension VectorView where Element == UInt16 {
  /// The bits of `numbers` in the format, rounded.
  public func encode(_ numbers: VectorView<Float>, _ format: HalfFormat) {
    precondition(numbers.count == count, "\(numbers.count) numbers into \(count) elements")
    unsafe format.kernels.pointee.encode(count, numbers.pointer, pointer)
  }

  /// `self[i] += other[i]` of encoded numbers: the bits of `add(_:rounding:)`.
  public func addEncoded(_ other: VectorView, _ format: HalfFormat) {
    precondition(other.count == count, "a sum of \(count) and \(other.count) elements")
    unsafe format.kernels.pointee.add_encoded(count, pointer, other.pointer)
  }
}
