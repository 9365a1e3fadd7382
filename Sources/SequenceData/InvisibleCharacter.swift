/// A character that looks like a space, or like nothing at all, and is read as neither.
package struct InvisibleCharacter: Equatable, Sendable {
  let scalar: Unicode.Scalar

  /// Nil for characters that are seen, and for the space, the tabulator and ends of lines of ASCII.
  package init?(_ scalar: Unicode.Scalar) {
    if scalar.isASCII { return nil }
    switch scalar.properties.generalCategory {
    case .spaceSeparator, .lineSeparator, .paragraphSeparator, .format, .control: self.scalar = scalar
    default: return nil
    }
  }

  /// The byte-order mark, which editors of other systems put before a text.
  static let byteOrderMark: Unicode.Scalar = "\u{FEFF}"

  /// Where the first one of a text is.
  /// - line, column: where to begin, from 1.
  /// - Returns: the character with its line and column, which counts Unicode scalars.
  package static func first(in text: String, line: Int = 1, column: Int = 1) -> (character: InvisibleCharacter, line: Int, column: Int)? {
    var place = (line: 1, column: 1)
    for scalar in text.unicodeScalars {
      if place >= (line, column), let character = InvisibleCharacter(scalar) { return (character, place.line, place.column) }
      place = scalar == "\n" ? (place.line + 1, 1) : (place.line, place.column + 1)
    }
    return nil
  }
}

extension InvisibleCharacter: CustomStringConvertible {
  /// `U+00A0 (no-break space)`.
  package var description: String {
    let digits = String(scalar.value, radix: 16, uppercase: true)
    // Unicode's name of U+FEFF is that of a use which it no longer has.
    let name = scalar == Self.byteOrderMark ? "byte-order mark" : scalar.properties.name?.lowercased()
    return "U+" + String(repeating: "0", count: max(0, 4 - digits.count)) + digits + (name.map { " (\($0))" } ?? "")
  }
}
