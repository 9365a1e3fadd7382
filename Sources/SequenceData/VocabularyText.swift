extension Vocabulary {
  /// The tokens of a text that is at hand (a prompt, say), cut as a file's would be.
  /// - source: what an error calls the text.
  /// - Returns: the numbers of its tokens, [tokens]; none for an empty text.
  /// - Throws: `CorpusError.unknownToken` where there is no `<unk>`, `.binary`, `.byteOrderMark`.
  public func encode(_ text: String, unit: TextUnit, source: String) throws(CorpusError) -> [Int32] {
    let bytes = Array(text.utf8)
    var scanner = TokenScanner(source: source, unit: unit, newlines: newlines(unit))
    var ids: [Int32] = []
    _ = try scanner.scan(bytes.span, isLast: true) { (token, hash, line) throws(CorpusError) in
      guard let id = idOrUnknown(token, hash) else {
        throw .unknownToken(file: source, line: line, token: String(copying: token), types: count)
      }
      ids.append(id)
    }
    return ids
  }

  /// The text of a sequence of tokens: words with a space between them and `<eos>` as a newline, or characters as they are.
  public func decode(_ ids: [Int32], unit: TextUnit) -> String {
    var decoder = TokenDecoder(vocabulary: self, unit: unit)
    return ids.map { decoder.text(of: $0) }.joined()
  }
}

/// Turns tokens into text one at a time, as they are generated.
public struct TokenDecoder: Sendable {
  private let vocabulary: Vocabulary
  private let unit: TextUnit
  private var isAtLineStart = true

  /// A decoder at the start of a text.
  public init(vocabulary: Vocabulary, unit: TextUnit) {
    self.vocabulary = vocabulary
    self.unit = unit
  }

  /// What the next token adds to the text, with the space before it if it needs one.
  public mutating func text(of id: Int32) -> String {
    let token = vocabulary.token(id)
    guard unit == .word else { return token }
    if token == SpecialToken.endOfSentence {
      isAtLineStart = true
      return "\n"
    }
    defer { isAtLineStart = false }
    return isAtLineStart ? token : " " + token
  }
}
