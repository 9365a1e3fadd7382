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
  /// The line that the next byte is on.
  private(set) var line = 1
  /// The place in the text of the next piece's first byte.
  private(set) var offset = 0

  private let endOfSentence = Array(SpecialToken.endOfSentence.utf8)

  package init(source: String, unit: TextUnit, longestToken: Int = 1 << 20) {
    self.source = source
    self.unit = unit
    self.longestToken = longestToken
  }

  /// Hands every token that is complete in `bytes` to `body`.
  /// - isLast: whether the text ends here. Otherwise a token that reaches the end of `bytes` may go on in the next piece.
  /// - Returns: the number of bytes done with; the next piece must begin with the others.
  /// - Throws: `CorpusError.byteOrderMark`, `.binary`, `.invalidUTF8`, `.wordTooLong`, and what `body` throws.
  package mutating func scan(_ bytes: borrowing Span<UInt8>, isLast: Bool, _ body: Body) throws(CorpusError) -> Int {
    if offset == 0 {
      if Self.beginsWithMark(bytes) { throw .byteOrderMark(file: source) }
      // Two or fewer bytes cannot be told from the start of a mark: wait for more.
      if bytes.count < 3 && !isLast { return 0 }
    }
    let consumed =
      switch unit {
      case .word: try scanWords(bytes, isLast: isLast, body)
      case .character: try scanCharacters(bytes, isLast: isLast, body)
      }
    offset += consumed
    return consumed
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
        if scalar == 0x0A {
          try body(endOfSentence.span, newlineHash, line)
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

  private static func beginsWithMark(_ bytes: borrowing Span<UInt8>) -> Bool {
    bytes.count >= 3 && bytes[0] == 0xEF && bytes[1] == 0xBB && bytes[2] == 0xBF
  }
}
