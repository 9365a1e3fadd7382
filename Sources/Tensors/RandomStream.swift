import CKernels
import Glibc

/// A sequence of random numbers that its seed and name decide, wherever and in whatever order they are drawn
/// (Philox 4×32-10, Salmon et al. 2011, from the Random123 library).
public struct RandomStream: Sendable {
  let seed: UInt64
  let stream: UInt32
  private var next: UInt64 = 0

  /// Stream number `stream` of `seed`, from its first value.
  public init(seed: UInt64, stream: UInt32) {
    self.seed = seed
    self.stream = stream
  }

  /// Stream `name` of `seed`, from its first value: the one whose number is the 32-bit FNV-1a hash of the name's bytes in UTF-8.
  ///
  /// Number `i` of the uniform ones is the upper 53 bits of a word of 64, times 2⁻⁵³. The word is v₂ⱼ · 2³² + v₂ⱼ₊₁ with `j = i mod 2`, of the
  /// Philox 4×32-10 block v₀…v₃ whose key is the seed (lower half, upper half) and whose counter is (lower and upper half of ⌊i / 2⌋, number of the stream,
  /// 2³² − 1).
  public init(seed: UInt64, name: String) {
    self.init(seed: seed, stream: Self.number(of: name))
  }

  /// The number of the stream with a name.
  public static func number(of name: String) -> UInt32 { name.utf8.reduce(2_166_136_261) { ($0 ^ UInt32($1)) &* 16_777_619 } }

  /// Goes to block `block` of the stream, from 0; a block has two numbers.
  public mutating func seek(toBlock block: UInt64) { next = 2 * block }

  /// Fills `values` with the next numbers, uniform in [0, 1) with 53 bits. A stream moves on by an even number of values.
  public mutating func fillUniform(_ values: VectorView<Double>) {
    unsafe lockstep_uniform(values.count, values.pointer, seed, stream, next)
    next += UInt64((values.count + 1) / 2 * 2)
  }

  /// Fills `values` with the next numbers of the standard normal distribution (Box & Muller 1958).
  public mutating func fillNormal(_ values: VectorView<Double>) {
    let even = values.count & ~1
    fillUniform(values[0..<even])
    for i in stride(from: 0, to: even, by: 2) { (values[i], values[i + 1]) = Self.normalPair(values[i], values[i + 1]) }
    if even < values.count {
      let last = VectorView<Double>(zeros: 2)
      fillUniform(last)
      values[even] = Self.normalPair(last[0], last[1]).0
    }
  }

  /// Two standard normal numbers from two uniform ones.
  private static func normalPair(_ u: Double, _ v: Double) -> (Double, Double) {
    let radius = (-2 * log(1 - u)).squareRoot(), angle = 2 * Double.pi * v
    return (radius * cos(angle), radius * sin(angle))
  }
}
