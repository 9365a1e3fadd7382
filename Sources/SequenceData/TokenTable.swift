/// Numbers tokens by their bytes, in the order in which they were added; finds them again without allocating.
struct TokenTable {
  // All tokens, one after the other; token i is bytes[starts[i] ..< starts[i + 1]].
  private var bytes: [UInt8] = []
  private var starts = [0]
  // Open addressing: the number of a token, or −1. The size is a power of two.
  private var slots = [Int32](repeating: -1, count: 1 << 10)

  var count: Int { starts.count - 1 }

  /// The bytes of a token.
  subscript(number: Int) -> ArraySlice<UInt8> { bytes[starts[number]..<starts[number + 1]] }

  /// The number of a token, nil if it was not added.
  func number(of source: [UInt8], _ range: Range<Int>) -> Int? {
    let slot = find(source, range)
    return slots[slot] < 0 ? nil : Int(slots[slot])
  }

  /// The number of a token, which is added if it is new.
  mutating func add(_ source: [UInt8], _ range: Range<Int>) -> Int {
    let slot = find(source, range)
    if slots[slot] >= 0 { return Int(slots[slot]) }
    slots[slot] = Int32(count)
    bytes.append(contentsOf: source[range])
    starts.append(bytes.count)
    if 2 * count > slots.count { grow() }
    return count - 1
  }

  private mutating func grow() {
    let tokens = bytes
    slots = [Int32](repeating: -1, count: 2 * slots.count)
    for number in 0..<count { slots[find(tokens, starts[number]..<starts[number + 1])] = Int32(number) }
  }

  /// The slot that holds the token, or the free one where it belongs.
  private func find(_ source: [UInt8], _ range: Range<Int>) -> Int {
    // FNV-1a.
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for i in range { hash = (hash ^ UInt64(source[i])) &* 0x100_0000_01B3 }
    var slot = Int(truncatingIfNeeded: hash ^ hash >> 32) & (slots.count - 1)
    while slots[slot] >= 0, !isEqual(Int(slots[slot]), source, range) { slot = (slot + 1) & (slots.count - 1) }
    return slot
  }

  private func isEqual(_ number: Int, _ source: [UInt8], _ range: Range<Int>) -> Bool {
    let start = starts[number]
    if starts[number + 1] - start != range.count { return false }
    for i in 0..<range.count where bytes[start + i] != source[range.lowerBound + i] { return false }
    return true
  }
}
