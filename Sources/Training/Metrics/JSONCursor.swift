/// A reader of JSON text (RFC 8259), byte by byte and strict: duplicate keys and bytes after the end are left to the caller to refuse.
///
/// Foundation's reader loses the order of keys, accepts a key twice, and turns integers into doubles; the files here need all three.
package struct JSONCursor {
  /// Where and why a text is not JSON, or not the JSON that was expected.
  package struct Failure: Error, Equatable, Sendable {
    /// Byte offset in the text.
    package let offset: Int
    /// What was expected.
    package let message: String
  }

  /// A number as it stands in the text.
  package struct Number {
    /// The digits.
    package let text: String
    /// Whether there is neither fraction nor exponent.
    package let isInteger: Bool
  }

  private let bytes: [UInt8]
  private(set) package var offset = 0

  /// Starts at the first of `bytes`.
  package init(_ bytes: [UInt8]) { self.bytes = bytes }

  /// Whether all bytes are read.
  package var isAtEnd: Bool { offset == bytes.count }

  /// The next byte that is not white space, or nil at the end. White space is passed over.
  package mutating func peek() -> UInt8? {
    while offset < bytes.count {
      switch bytes[offset] {
      case 0x20, 0x09, 0x0A, 0x0D: offset += 1
      default: return bytes[offset]
      }
    }
    return nil
  }

  /// A failure at the present place.
  package func failure(_ message: String) -> Failure { Failure(offset: offset, message: message) }

  /// Passes over `character`, which must come next.
  package mutating func expect(_ character: Unicode.Scalar) throws(Failure) {
    guard peek() == UInt8(ascii: character) else { throw failure("expected \"\(character)\"") }
    offset += 1
  }

  /// Passes over `character` if it comes next.
  package mutating func skip(_ character: Unicode.Scalar) -> Bool {
    guard peek() == UInt8(ascii: character) else { return false }
    offset += 1
    return true
  }

  /// Passes over a word such as `null`, if it comes next.
  package mutating func skip(word: StaticString) -> Bool {
    let text = Array("\(word)".utf8)
    guard peek() != nil, bytes[offset...].starts(with: text) else { return false }
    offset += text.count
    return true
  }

  /// Reads a string.
  package mutating func string() throws(Failure) -> String {
    guard peek() == UInt8(ascii: "\"") else { throw failure("expected a string") }
    offset += 1
    var content: [UInt8] = []
    while offset < bytes.count {
      // A run without quotes, escapes and control characters is taken whole.
      let start = offset
      while offset < bytes.count, bytes[offset] >= 0x20, bytes[offset] != 0x22, bytes[offset] != 0x5C { offset += 1 }
      content += bytes[start..<offset]
      guard offset < bytes.count else { break }
      switch bytes[offset] {
      case 0x22:
        offset += 1
        guard let text = String(validating: content, as: UTF8.self) else { throw failure("a string is not UTF-8") }
        return text
      case 0x5C:
        content += Array(String(Character(try escape())).utf8)
      default: throw failure("a control character in a string")
      }
    }
    throw failure("a string without end")
  }

  private mutating func escape() throws(Failure) -> Unicode.Scalar {
    offset += 1
    guard offset < bytes.count else { throw failure("a string without end") }
    let letter = bytes[offset]
    offset += 1
    switch letter {
    case UInt8(ascii: "\""): return "\""
    case UInt8(ascii: "\\"): return "\\"
    case UInt8(ascii: "/"): return "/"
    case UInt8(ascii: "b"): return "\u{8}"
    case UInt8(ascii: "f"): return "\u{C}"
    case UInt8(ascii: "n"): return "\n"
    case UInt8(ascii: "r"): return "\r"
    case UInt8(ascii: "t"): return "\t"
    case UInt8(ascii: "u"): return try unicodeEscape()
    default: throw failure("an unknown escape in a string")
    }
  }

  private mutating func unicodeEscape() throws(Failure) -> Unicode.Scalar {
    let first = try fourDigits()
    if let scalar = Unicode.Scalar(first) { return scalar }
    guard first < 0xDC00, bytes[offset...].starts(with: [0x5C, UInt8(ascii: "u")]) else {
      throw failure("half of a surrogate pair")
    }
    offset += 2
    let second = try fourDigits()
    guard (0xDC00...0xDFFF).contains(second),
      let scalar = Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00))
    else { throw failure("half of a surrogate pair") }
    return scalar
  }

  private mutating func fourDigits() throws(Failure) -> UInt32 {
    guard offset + 4 <= bytes.count else { throw failure("a string without end") }
    var value: UInt32 = 0
    for byte in bytes[offset..<offset + 4] {
      guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue else { throw failure("expected four hexadecimal digits") }
      value = value << 4 + UInt32(digit)
    }
    offset += 4
    return value
  }

  /// Reads a number.
  package mutating func number() throws(Failure) -> Number {
    guard peek() != nil else { throw failure("expected a number") }
    let start = offset
    var isInteger = true
    if byte == UInt8(ascii: "-") { offset += 1 }
    let leadingZero = byte == UInt8(ascii: "0")
    let whole = digits()
    if whole == 0 || (leadingZero && whole > 1) { throw failure("expected a number") }
    if byte == UInt8(ascii: ".") {
      isInteger = false
      offset += 1
      if digits() == 0 { throw failure("expected a digit after the point") }
    }
    if byte == UInt8(ascii: "e") || byte == UInt8(ascii: "E") {
      isInteger = false
      offset += 1
      if byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-") { offset += 1 }
      if digits() == 0 { throw failure("expected a digit of the exponent") }
    }
    return Number(text: String(decoding: bytes[start..<offset], as: UTF8.self), isInteger: isInteger)
  }

  /// The byte at the present place, white space or not.
  private var byte: UInt8? { offset < bytes.count ? bytes[offset] : nil }

  private mutating func digits() -> Int {
    let start = offset
    while let byte, (0x30...0x39).contains(byte) { offset += 1 }
    return offset - start
  }
}
