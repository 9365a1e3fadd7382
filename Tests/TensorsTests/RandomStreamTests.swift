import Tensors
import Testing

/// Philox 4×32 with ten rounds, written from the paper (Salmon et al. 2011, §3.3), to hold the library against.
enum Philox {
  /// Counter, key and output from the file of known answers of Random123 1.09.
  static let knownAnswers: [(counter: [UInt32], key: [UInt32], output: [UInt32])] = [
    ([0, 0, 0, 0], [0, 0], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
    (
      [.max, .max, .max, .max], [.max, .max], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
    ),
    (
      [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0],
      [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
    ),
  ]

  static func block(_ counter: [UInt32], _ key: [UInt32]) -> [UInt32] {
    var c = counter, k = key
    for _ in 0..<10 {
      let a = UInt64(0xD251_1F53) * UInt64(c[0]), b = UInt64(0xCD9E_8D57) * UInt64(c[2])
      c = [UInt32(b >> 32) ^ c[1] ^ k[0], UInt32(truncatingIfNeeded: b), UInt32(a >> 32) ^ c[3] ^ k[1], UInt32(truncatingIfNeeded: a)]
      k = [k[0] &+ 0x9E37_79B9, k[1] &+ 0xBB67_AE85]
    }
    return c
  }
}

@Suite struct RandomStreamTests {
  private func uniform(_ n: Int, seed: UInt64 = 5, stream: UInt32 = 6) -> [Double] {
    var random = RandomStream(seed: seed, stream: stream)
    let values = VectorView<Double>(zeros: n)
    random.fillUniform(values)
    return values.array
  }

  @Test func knownAnswers() {
    for (counter, key, output) in Philox.knownAnswers { #expect(Philox.block(counter, key) == output) }
  }

  @Test func valuesAreThoseOfPhilox() {
    let seed: UInt64 = 0x299f_31d0_a409_3822, found = uniform(40, seed: seed, stream: 0x1319_8a2e)
    for i in 0..<40 {
      let words = Philox.block([UInt32(i / 2), 0, 0x1319_8a2e, .max], [0xa409_3822, 0x299f_31d0])
      let word = UInt64(words[2 * (i % 2)]) << 32 | UInt64(words[2 * (i % 2) + 1])
      #expect(found[i] == Double(word >> 11) * 0x1p-53)
    }
  }

  /// An even number of values at a time gives the same sequence; an odd one leaves out the last of a pair.
  @Test func piecesContinue() {
    let whole = uniform(100)
    var random = RandomStream(seed: 5, stream: 6)
    var pieces: [Double] = []
    for n in [2, 10, 0, 40, 48] {
      let piece = VectorView<Double>(zeros: n)
      random.fillUniform(piece)
      pieces += piece.array
    }
    #expect(pieces == whole)
    var odd = RandomStream(seed: 5, stream: 6)
    let three = VectorView<Double>(zeros: 3), next = VectorView<Double>(zeros: 1)
    odd.fillUniform(three)
    odd.fillUniform(next)
    #expect(three.array == Array(whole[..<3]) && next[0] == whole[4])
  }

  @Test func streamsAndSeedsDiffer() {
    let a = uniform(50), b = uniform(50, stream: 7), c = uniform(50, seed: 6), d = uniform(50, seed: 5 | 1 << 40)
    #expect(Set(a + b + c + d).count == 200)
  }

  @Test func uniformMoments() {
    let n = 200_000, v = uniform(n), mean = v.reduce(0, +) / Double(n)
    #expect(v.allSatisfy { $0 >= 0 && $0 < 1 })
    // Five standard errors of the mean (1/√12n) and of the variance (√(1/180n)); neighbours are uncorrelated.
    #expect(abs(mean - 0.5) < 5 / (12 * Double(n)).squareRoot())
    #expect(abs(v.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(n) - 1 / 12.0) < 5 / (180 * Double(n)).squareRoot())
    let covariance = zip(v, v.dropFirst()).reduce(0) { $0 + ($1.0 - 0.5) * ($1.1 - 0.5) } / Double(n)
    #expect(abs(covariance) < 5 / (12 * Double(n).squareRoot()))
  }

  @Test func normalMoments() {
    let n = 200_001
    var random = RandomStream(seed: 1, stream: 2)
    let values = VectorView<Double>(zeros: n)
    random.fillNormal(values)
    let v = values.array, moments = (1...4).map { k in v.reduce(0) { sum, x in sum + (0..<k).reduce(1) { p, _ in p * x } } / Double(n) }
    // Five standard errors: the k-th power has variance 1, 2, 15 and 96.
    for (moment, (wanted, variance)) in zip(moments, [(0.0, 1.0), (1, 2), (0, 15), (3, 96)]) {
      #expect(abs(moment - wanted) < 5 * (variance / Double(n)).squareRoot())
    }
    #expect(values.firstNotFinite == nil)
    let inside = Double(v.count { abs($0) < 1 }) / Double(n)
    #expect(abs(inside - 0.682_689_5) < 5 * (0.22 / Double(n)).squareRoot())
  }
}
