/// A hash of bytes, one at a time (FNV-1a, 64 bits), so that it can be computed while a token's end is looked for.
package struct TokenHash: Equatable {
  private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

  init() {}

  init(_ bytes: borrowing Span<UInt8>) {
    for index in bytes.indices { combine(bytes[index]) }
  }

  mutating func combine(_ byte: UInt8) {
    value = (value ^ UInt64(byte)) &* 0x100_0000_01B3
  }
}

/// Distinct byte strings numbered from 0 in the order of their insertion, found by their bytes.
///
/// Not a dictionary of `String`: strings that are canonically equivalent are equal there, but are different tokens.
struct TokenTable: Sendable {
  /// All strings, one after the other.
  private var bytes: [UInt8] = []
  /// Where each string ends in `bytes`.
  private var ends: [Int] = []
  private var hashes: [UInt64] = []
  /// Open addressing with linear probing: the number of a string, or -1. The count is a power of two, at most half full.
  private var slots = [Int32](repeating: -1, count: 1024)

  var count: Int { ends.count }

  /// The bytes of string `id` among `storage`.
  private func range(_ id: Int) -> Range<Int> {
    (id == 0 ? 0 : ends[id - 1])..<ends[id]
  }

  /// The bytes of string `id`.
  subscript(id: Int) -> ArraySlice<UInt8> { bytes[range(id)] }

  /// The number of a string, or nil.
  func find(_ token: borrowing Span<UInt8>, _ hash: TokenHash) -> Int? {
    let id = slots[slot(of: token, hash)]
    return id < 0 ? nil : Int(id)
  }

  /// The number of a string, which is new if the string is.
  mutating func insert(_ token: borrowing Span<UInt8>, _ hash: TokenHash) -> Int {
    let place = slot(of: token, hash)
    if slots[place] >= 0 { return Int(slots[place]) }
    let id = ends.count
    precondition(id < Int(Int32.max), "more than 2³¹ - 2 distinct tokens")
    for index in token.indices { bytes.append(token[index]) }
    ends.append(bytes.count)
    hashes.append(hash.value)
    slots[place] = Int32(id)
    if 2 * ends.count > slots.count { grow() }
    return id
  }

  /// The slot that holds the string, or the free one where it belongs.
  private func slot(of token: borrowing Span<UInt8>, _ hash: TokenHash) -> Int {
    let mask = slots.count - 1
    var place = Self.home(hash.value, mask)
    while true {
      let id = Int(slots[place])
      if id < 0 || (hashes[id] == hash.value && isEqual(id, token)) { return place }
      place = (place + 1) & mask
    }
  }

  private func isEqual(_ id: Int, _ token: borrowing Span<UInt8>) -> Bool {
    let range = range(id)
    guard range.count == token.count else { return false }
    for index in token.indices where bytes[range.lowerBound + index] != token[index] { return false }
    return true
  }

  private mutating func grow() {
    slots = [Int32](repeating: -1, count: 2 * slots.count)
    let mask = slots.count - 1
    for id in hashes.indices {
      var place = Self.home(hashes[id], mask)
      while slots[place] >= 0 { place = (place + 1) & mask }
      slots[place] = Int32(id)
    }
  }

  /// FNV mixes its low bits worst: fold the high ones in.
  private static func home(_ hash: UInt64, _ mask: Int) -> Int {
    Int(truncatingIfNeeded: hash ^ (hash >> 29)) & mask
  }
}

extension TokenTable: Equatable {
  /// Equal if they hold the same strings in the same order.
  static func == (left: TokenTable, right: TokenTable) -> Bool {
    left.ends == right.ends && left.bytes == right.bytes
  }
}
