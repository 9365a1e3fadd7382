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

  /// Fills `values` with the next numbers, uniform in [0, 1) with 53 bits. A stream moves on by an even number of values.
  public mutating func fillUniform(_ values: VectorView<Double>) {
    unsafe lockstep_uniform(values.count, values.pointer, seed, stream, next)
    next += UInt64((values.count + 1) / 2 * 2)
  }

  /// Fills `values` with the next numbers of the standard normal distribution (Box & Muller 1958).
  public mutating func fillNormal(_ values: VectorView<Double>) {
    let pairs = (values.count + 1) / 2
    let uniform = VectorView<Double>(zeros: 2 * pairs)
    fillUniform(uniform)
    for i in 0..<pairs {
      let radius = (-2 * log(1 - uniform[2 * i])).squareRoot(), angle = 2 * Double.pi * uniform[2 * i + 1]
      values[2 * i] = radius * cos(angle)
      if 2 * i + 1 < values.count { values[2 * i + 1] = radius * sin(angle) }
    }
  }
}
