/// What stands at one place of a piece of UTF-8.
package enum UTF8Sequence: Equatable {
  /// A well-formed sequence of `length` bytes.
  case scalar(UInt32, length: Int)
  /// A sequence that the end of the piece cuts off, well-formed so far.
  case incomplete
  /// The first `length` bytes cannot begin, or go on with, a sequence.
  case invalid(length: Int)

  /// The sequence that begins at `index` (Unicode Standard, table 3-7: no surrogates, no overlong forms, nothing past U+10FFFF).
  package static func decode(_ bytes: borrowing Span<UInt8>, at index: Int) -> UTF8Sequence {
    let lead = bytes[index]
    if lead < 0x80 { return .scalar(UInt32(lead), length: 1) }
    let length: Int
    // The second byte alone has a range that depends on the first.
    var second: ClosedRange<UInt8> = 0x80...0xBF
    switch lead {
    case 0xC2...0xDF: length = 2
    case 0xE0: (length, second) = (3, 0xA0...0xBF)
    case 0xED: (length, second) = (3, 0x80...0x9F)
    case 0xE1...0xEF: length = 3
    case 0xF0: (length, second) = (4, 0x90...0xBF)
    case 0xF4: (length, second) = (4, 0x80...0x8F)
    case 0xF1...0xF3: length = 4
    default: return .invalid(length: 1)
    }
    var scalar = UInt32(lead) & (0x7F >> UInt32(length))
    for step in 1..<length {
      guard index + step < bytes.count else { return .incomplete }
      let byte = bytes[index + step]
      let allowed = step == 1 ? second : 0x80...0xBF
      guard allowed.contains(byte) else { return .invalid(length: step + 1) }
      scalar = scalar << 6 | UInt32(byte & 0x3F)
    }
    return .scalar(scalar, length: length)
  }

  /// Whether a scalar has Unicode's property White_Space (PropList.txt; the property is stable).
  package static func isWhiteSpace(_ scalar: UInt32) -> Bool {
    switch scalar {
    case 0x09...0x0D, 0x20, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000: true
    default: false
    }
  }
}
