import Tensors
import Testing

@Suite struct DropoutTests {
  private func key(_ p: Double = 0.4, seed: UInt64 = 9, step: UInt32 = 2, layer: UInt32 = 1) -> DropoutKey {
    DropoutKey(probability: p, seed: seed, step: step, layer: layer)
  }

  private func mask(_ rows: Int, _ columns: Int, _ key: DropoutKey, time: Int = 3, first: Int32 = 0) -> [Float] {
    let x = MatrixView<Float>(zeros: rows, columns)
    x.fill(1)
    dropout(x, key: key, examples: VectorView((0..<Int32(rows)).map { first + $0 }), time: time, out: x)
    return x.vector.array
  }

  @Test(arguments: [0.0, 0.1, 0.5, 0.65, 0.9])
  func rateAndScale(_ p: Double) {
    let values = mask(100, 501, key(p)), kept = Double(values.filter { $0 != 0 }.count), n = Double(values.count)
    // Five standard deviations of a binomial count.
    #expect(abs(kept / n - (1 - p)) <= 5 * (p * (1 - p) / n).squareRoot())
    #expect(Set(values) == Set([p > 0 ? 0 : Float(1), Float(1 / (1 - p))]))
  }

  /// A row's mask depends on its global number, not on the rows that are computed with it.
  @Test func rowsMayBeSplitAnywhere() {
    let whole = mask(7, 30, key())
    for cut in 0...7 { #expect(mask(cut, 30, key()) + mask(7 - cut, 30, key(), first: Int32(cut)) == whole) }
    let five = mask(7, 5, key())
    // A unit's draw depends on its number, not on the width.
    for row in 0..<7 { #expect(Array(whole[row * 30..<row * 30 + 5]) == Array(five[row * 5..<row * 5 + 5])) }
  }

  @Test func masksDiffer() {
    let masks = [
      mask(1, 64, key()), mask(1, 64, key(seed: 10)), mask(1, 64, key(seed: 9 | 1 << 32)), mask(1, 64, key(step: 3)), mask(1, 64, key(layer: 2)),
      mask(1, 64, key(), first: 1), mask(1, 64, key(), time: 4),
    ]
    #expect(Set(masks).count == masks.count)
    // About half of two masks of probability a half agree; the same bits in another order would show as well.
    for (i, a) in masks.enumerated() {
      for b in masks[..<i] { #expect(zip(a, b).count { $0 == $1 } < 55) }
    }
  }

  @Test func gradientTakesTheSameMaskInBothPrecisions() {
    var random = TestRandom(12)
    let x = random.values(5 * 13), single = MatrixView<Float>(x, 5, 13), double = MatrixView<Double>(x, 5, 13), out = MatrixView<Double>(zeros: 5, 13)
    let examples = VectorView((0..<Int32(5)).map { $0 })
    dropout(single, key: key(0.25), examples: examples, time: 0, out: single)
    dropout(double, key: key(0.25), examples: examples, time: 0, out: out)
    #expect(double.doubles == x, "the input stays")
    for (a, b) in zip(single.doubles, out.doubles) { #expect(isClose(Float.self, a, b, size: 2, roundings: 2)) }
    #expect(out.doubles.contains(0))
  }

  /// The draw behind each unit, found by asking which probability just drops it: the published known answers of philox4x32-10.
  @Test func drawsAreThoseOfPhilox() {
    func expectDraw(_ word: UInt32, unit: Int, _ rest: (Double) -> DropoutKey, example: UInt32 = 0, time: Int) {
      let x = MatrixView<Float>(zeros: 1, unit + 1)
      for (probability, isKept) in [(Double(word) * 0x1p-32, true), ((Double(word) + 1) * 0x1p-32, false)] {
        x.fill(1)
        dropout(x, key: rest(probability), examples: VectorView([Int32(bitPattern: example)]), time: time, out: x)
        #expect((x[0, unit] != 0) == isKept, "unit \(unit)")
      }
    }
    for (unit, word) in Philox.knownAnswers[0].output.enumerated() {
      expectDraw(word, unit: unit, { key($0, seed: 0, step: 0, layer: 0) }, time: 0)
    }
    // The first words of π as counter and key: layer 0x24, units from 4 · 0x3f6a88 on, and so forth.
    let pi = Philox.knownAnswers[2], seed = UInt64(pi.key[0]) | UInt64(pi.key[1]) << 32
    expectDraw(
      pi.output[1], unit: 4 * 0x3f6a88 + 1, { key($0, seed: seed, step: pi.counter[3], layer: 0x24) },
      example: pi.counter[2], time: Int(pi.counter[1]))
  }
}
