import Tensors
import Testing

@Suite struct HalfPrecisionTests {
  /// What a format holds, written out from its definition: fraction bits, the least normal exponent and the largest number.
  struct Definition {
    let fraction: Int
    let least: Int
    let largest: Double

    init(_ format: HalfFormat) {
      switch format {
      case .float16: (fraction, least, largest) = (10, -14, 65504)
      case .bfloat16: (fraction, least, largest) = (7, -126, 0x1.FEp127)
      }
    }

    /// The nearest number, of two equally near ones that with an even last digit. Multiples of a power of two are exact in double precision.
    func nearest(_ x: Float) -> Float {
      if !x.isFinite || x == 0 { return x }
      let unit = Double(sign: .plus, exponent: max(Int(x.exponent), least) - fraction, significand: 1)
      let rounded = (Double(x) / unit).rounded(.toNearestOrEven) * unit
      return abs(rounded) > largest ? Float(signOf: x, magnitudeOf: .infinity) : Float(signOf: x, magnitudeOf: Float(rounded))
    }

    /// What the bits mean.
    func value(_ bits: UInt16) -> Float {
      let field = Int(bits & 0x7FFF), exponent = field >> fraction, digits = field & ((1 << fraction) - 1)
      let top = (1 << (15 - fraction)) - 1
      let sign: Float = bits >> 15 == 1 ? -0.0 : 0
      if exponent == top { return digits == 0 ? Float(signOf: sign, magnitudeOf: .infinity) : .nan }
      let significand = Double(exponent == 0 ? digits : digits + 1 << fraction)
      let scale = Double(sign: .plus, exponent: least - fraction + max(exponent, 1) - 1, significand: 1)
      return Float(signOf: sign, magnitudeOf: Float(significand * scale))
    }
  }

  static let all = (0...UInt16.max).map { $0 }

  private func encoded(_ numbers: [Float], _ format: HalfFormat) -> [UInt16] {
    let bits = VectorView<UInt16>(zeros: numbers.count)
    bits.encode(VectorView(numbers), format)
    return bits.array
  }

  private func decoded(_ bits: [UInt16], _ format: HalfFormat) -> [Float] {
    let numbers = VectorView<Float>(zeros: bits.count)
    numbers.decode(VectorView(bits), format)
    return numbers.array
  }

  /// Index of the first number with another bit pattern; any NaN stands for any other.
  private func firstDifference(_ found: [Float], _ wanted: [Float]) -> Int? {
    found.indices.first { found[$0].bitPattern != wanted[$0].bitPattern && !(found[$0].isNaN && wanted[$0].isNaN) }
  }

  @Test(arguments: HalfFormat.allCases) func everyNumberDecodes(_ format: HalfFormat) {
    let definition = Definition(format)
    let found = decoded(Self.all, format)
    #expect(firstDifference(found, Self.all.map(definition.value)) == nil)
    #expect(found.count { $0.isNaN } == 2 * ((1 << definition.fraction) - 1))
  }

  /// Every number of the format comes back; a NaN keeps sign and upper bits and becomes quiet.
  @Test(arguments: HalfFormat.allCases) func everyNumberEncodes(_ format: HalfFormat) {
    let quiet = UInt16(1) << (Definition(format).fraction - 1)
    let numbers = decoded(Self.all, format), bits = encoded(numbers, format)
    #expect(Self.all.indices.allSatisfy { bits[$0] == (numbers[$0].isNaN ? Self.all[$0] | quiet : Self.all[$0]) })
  }

  /// Around every number and every middle between two: there alone does rounding change.
  @Test(arguments: HalfFormat.allCases) func roundsToNearestEven(_ format: HalfFormat) {
    let definition = Definition(format), step = UInt32(1) << 13
    var numbers: [Float] = []
    for bits in Self.all {
      let x = definition.value(bits)
      if !x.isFinite { continue }
      // Beyond the largest number the next would be one unit further.
      let unit = Double(sign: .plus, exponent: max(x == 0 ? definition.least : Int(x.exponent), definition.least), significand: 1)
      let middle = Float(Double(abs(x)) + unit / Double(2 << definition.fraction))
      for y in [abs(x), middle] {
        for near in [y.nextDown, y, y.nextUp] { numbers.append(Float(signOf: x, magnitudeOf: near)) }
      }
    }
    numbers += [.infinity, -.infinity, .greatestFiniteMagnitude, .leastNonzeroMagnitude, .leastNormalMagnitude, 65519.996, 65520]
    // And evenly over all bit patterns.
    numbers += stride(from: UInt32(0), through: .max - step, by: Int(step) * 4 / 7).map { Float(bitPattern: $0) }
    let wanted = numbers.map(definition.nearest)
    let rounded = VectorView<Float>(zeros: numbers.count), place = VectorView(numbers)
    rounded.round(place, to: format)
    place.round(place, to: format)
    for found in [rounded.array, place.array, decoded(encoded(numbers, format), format)] {
      let index = firstDifference(found, wanted)
      #expect(index == nil, "\(index.map { "\(numbers[$0]) became \(found[$0]) instead of \(wanted[$0])" } ?? "")")
    }
  }

  @Test func whatIsTooLargeBecomesInfinite() {
    #expect(encoded([65519.996, 65520, -65520, 1e30], .float16) == [0x7BFF, 0x7C00, 0xFC00, 0x7C00])
    let largest = Float(bitPattern: 0x7F7F_0000), middle = Float(bitPattern: 0x7F7F_8000)
    #expect(encoded([largest, middle.nextDown, middle, .greatestFiniteMagnitude], .bfloat16) == [0x7F7F, 0x7F7F, 0x7F80, 0x7F80])
    // The least payload of a NaN does not make it an infinity.
    let nan = Float(bitPattern: 0xFF80_0001)
    for format in HalfFormat.allCases { #expect(decoded(encoded([nan], format), format)[0].isNaN) }
  }

  /// Sums of single and of encoded numbers are the same, whatever the length.
  @Test(arguments: HalfFormat.allCases, [0, 1, 7, 16, 33, 20_000]) func sums(_ format: HalfFormat, _ n: Int) {
    let definition = Definition(format)
    var random = TestRandom(3)
    // All magnitudes, infinities and a few NaN among them.
    let a = (0..<n).map { _ in Float(bitPattern: UInt32(truncatingIfNeeded: random.next())) }
    let b = (0..<n).map { i in random.index(2) == 0 ? Float(random.value()) * a[i] : Float(bitPattern: UInt32(truncatingIfNeeded: random.next())) }
    let wanted = zip(a, b).map { definition.nearest(definition.nearest($0) + definition.nearest($1)) }
    let sum = VectorView(a), bits = VectorView(encoded(a, format))
    sum.add(VectorView(b), rounding: format)
    bits.addEncoded(VectorView(encoded(b, format)), format)
    #expect(firstDifference(sum.array, wanted) == nil)
    #expect(firstDifference(decoded(bits.array, format), wanted) == nil)
  }
}
