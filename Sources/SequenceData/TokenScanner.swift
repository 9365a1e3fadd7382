/// Cuts pieces of a text into tokens, checking that they are UTF-8.
///
/// It works on bytes: the pieces of a file pass through once, a token is a slice of a piece, and its hash is computed on the way.
package struct TokenScanner {
  /// Receives a token's bytes, their `TokenHash`, and the line (from 1) that the token is on.
  package typealias Body = (_ token: borrowing Span<UInt8>, _ hash: TokenHash, _ line: Int) throws(CorpusError) -> Void

  /// Named in errors.
  let source: String
  let unit: TextUnit
  /// The longest word allowed, in bytes.
  let longestToken: Int
  let newlines: NewlineReading
  /// The line that the next byte is on.
  private(set) var line = 1
  /// The place in the text of the next piece's first byte.
  private(set) var offset = 0
  /// Of what was scanned.
  private(set) var lineEnds = LineEnds()
  /// The place in the text behind the last carriage return.
  private var behindReturn = -1
  /// Scalars of the line at hand in the pieces before.
  private var scalarsBefore = 0

  private let endOfSentence = Array(SpecialToken.endOfSentence.utf8)

  package init(source: String, unit: TextUnit) { self.init(source: source, unit: unit, newlines: .token) }

  init(source: String, unit: TextUnit, longestToken: Int = 1 << 20, newlines: NewlineReading) {
    self.source = source
    self.unit = unit
    self.longestToken = longestToken
    self.newlines = newlines
  }

  /// Hands every token that is complete in `bytes` to `body`.
  /// - isLast: whether the text ends here. Otherwise a token that reaches the end of `bytes` may go on in the next piece.
  /// - Returns: the number of bytes done with; the next piece must begin with the others.
  /// - Throws: `CorpusError.byteOrderMark`, `.notUTF8`, `.binary`, `.invalidUTF8`, `.wordTooLong`, and what `body` throws.
  package mutating func scan(_ bytes: borrowing Span<UInt8>, isLast: Bool, _ body: Body) throws(CorpusError) -> Int {
    if offset == 0 {
      // One byte cannot be told from the start of a mark: wait for more.
      if bytes.count < 2 && !isLast { return 0 }
      if Self.beginsAsUTF16(bytes) { throw .notUTF8(file: source, encoding: "UTF-16") }
    }
    let consumed =
      switch unit {
      case .word: try scanWords(bytes, isLast: isLast, body)
      case .character: try scanCharacters(bytes, isLast: isLast, body)
      }
    scalarsBefore = column(in: bytes, at: consumed) - 1
    offset += consumed
    return consumed
  }

  /// The column, from 1 and in scalars, of byte `index` of a piece.
  private func column(in bytes: borrowing Span<UInt8>, at index: Int) -> Int {
    var scalars = 0
    for place in stride(from: index - 1, through: 0, by: -1) {
      if bytes[place] == 0x0A { return scalars + 1 }
      // Not a byte that goes on with a sequence.
      if bytes[place] & 0xC0 != 0x80 { scalars += 1 }
    }
    return scalarsBefore + scalars + 1
  }

  /// Counts the line end that a scalar at `place` in the text is, if any.
  private mutating func countLineEnd(_ scalar: UInt32, at place: Int) {
    switch scalar {
    case 0x0D:
      lineEnds.returns += 1
      behindReturn = place + 1
    case 0x0A where behindReturn == place:
      lineEnds.returns -= 1
      lineEnds.returnNewlines += 1
    case 0x0A: lineEnds.newlines += 1
    default: break
    }
  }

  private mutating func scanWords(_ bytes: borrowing Span<UInt8>, isLast: Bool, _ body: Body) throws(CorpusError) -> Int {
    let newlineHash = TokenHash(endOfSentence.span)
    let count = bytes.count
    var index = 0
    var start = 0  // of the word; equal to `index` between words
    var hash = TokenHash()
    while index < count {
      let byte = bytes[index]
      if byte > 0x20 && byte < 0x80 {
        hash.combine(byte)
        index += 1
        continue
      }
      let sequence = try sequence(in: bytes, at: index, isLast: isLast)
      guard case .scalar(let scalar, let length) = sequence else { return start }
      if UTF8Sequence.isWhiteSpace(scalar) {
        if start < index {
          try checkLength(start..<index)
          try body(bytes.extracting(start..<index), hash, line)
        }
        hash = TokenHash()
        countLineEnd(scalar, at: offset + index)
        if scalar == 0x0A {
          if newlines != .space { try body(endOfSentence.span, newlineHash, line) }
          line += 1
        }
        index += length
        start = index
      } else {
        for step in 0..<length { hash.combine(bytes[index + step]) }
        index += length
      }
    }
    // Also of a word that may go on, so that it is not collected without end.
    try checkLength(start..<count)
    guard isLast else { return start }
    if start < count { try body(bytes.extracting(start..<count), hash, line) }
    return count
  }

  private mutating func scanCharacters(
    _ bytes: borrowing Span<UInt8>, isLast: Bool, _ body: Body
  ) throws(CorpusError) -> Int {
    var index = 0
    while index < bytes.count {
      let sequence = try sequence(in: bytes, at: index, isLast: isLast)
      guard case .scalar(let scalar, let length) = sequence else { return index }
      if scalar == 0x0A && newlines == .tokenWithin && index + 1 == bytes.count {
        // Whether it ends the text is known when the text goes on or does not.
        if !isLast { return index }
        countLineEnd(scalar, at: offset + index)
        return index + 1
      }
      countLineEnd(scalar, at: offset + index)
      let token = bytes.extracting(index..<index + length)
      try body(token, TokenHash(token), line)
      if scalar == 0x0A { line += 1 }
      index += length
    }
    return index
  }

  private func checkLength(_ word: Range<Int>) throws(CorpusError) {
    if word.count > longestToken {
      throw .wordTooLong(file: source, line: line, offset: offset + word.lowerBound, limit: longestToken)
    }
  }

  /// The scalar at `index`, or `.incomplete` if it may go on in the next piece.
  private func sequence(
    in bytes: borrowing Span<UInt8>, at index: Int, isLast: Bool
  ) throws(CorpusError) -> UTF8Sequence {
    let sequence = UTF8Sequence.decode(bytes, at: index)
    switch sequence {
    case .scalar(0, _):
      throw .binary(file: source, line: line, offset: offset + index)
    case .scalar(InvisibleCharacter.byteOrderMark.value, _):
      throw .byteOrderMark(file: source, line: line, column: column(in: bytes, at: index))
    case .scalar:
      return sequence
    case .incomplete where !isLast:
      return sequence
    case .incomplete:
      throw invalid(bytes, index..<bytes.count)
    case .invalid(let length):
      throw invalid(bytes, index..<index + length)
    }
  }

  private func invalid(_ bytes: borrowing Span<UInt8>, _ range: Range<Int>) -> CorpusError {
    var found: [UInt8] = []
    for index in range { found.append(bytes[index]) }
    return .invalidUTF8(file: source, line: line, offset: offset + range.lowerBound, bytes: found)
  }

  /// Whether the byte-order mark of UTF-16 is there.
  private static func beginsAsUTF16(_ bytes: borrowing Span<UInt8>) -> Bool {
    bytes.count >= 2 && (bytes[0] == 0xFF && bytes[1] == 0xFE || bytes[0] == 0xFE && bytes[1] == 0xFF)
  }
}
