import Foundation

/// The tokens of a language model, numbered.
public struct Vocabulary: Sendable, Equatable {
  /// The token that stands for all that is not known.
  public static let unknown = "<unk>"
  /// The token at the end of each line of a text of words.
  public static let endOfSentence = "<eos>"

  private let table: TokenTable
  /// The number of `<unk>`, if it is a token.
  public let unknownID: Int32?

  /// Number of tokens, V.
  public var count: Int { table.count }

  /// The tokens in order, which must be distinct.
  public init(tokens: [String]) throws(CorpusError) {
    var table = TokenTable()
    for (i, token) in tokens.enumerated() {
      let bytes = Array(token.utf8)
      if table.add(bytes, 0..<bytes.count) != i { throw CorpusError(.vocabulary("\"\(token)\" stands twice in it"), file: "") }
    }
    self.init(table: table)
  }

  private init(table: TokenTable) {
    self.table = table
    let unknown = Array(Self.unknown.utf8)
    unknownID = table.number(of: unknown, 0..<unknown.count).map { Int32($0) }
  }

  /// The vocabulary of a training text, by falling count, then by byte order. With more types than `size` the most frequent are kept and the rest
  /// become `<unk>`, which takes the last place if it is not among them by itself.
  /// - Returns: the vocabulary, and the number of tokens of the text.
  public static func build(
    file: String, unit: TextUnit, size: Int
  ) throws(CorpusError) -> (vocabulary: Vocabulary, tokenCount: Int) {
    try build(TextScanner(file: file, unit: unit), size: size)
  }

  static func build(_ scanner: TextScanner, size: Int) throws(CorpusError) -> (vocabulary: Vocabulary, tokenCount: Int) {
    precondition(size >= 1, "a vocabulary without room")
    var seen = TokenTable(), counts: [Int] = [], total = 0
    try scanner.forEachToken { bytes, range, _ throws(CorpusError) in
      let number = seen.add(bytes, range)
      if number == counts.count { counts.append(0) }
      counts[number] += 1
      total += 1
    }
    if total == 0 { throw CorpusError(.empty, file: scanner.file) }
    let order = counts.indices.sorted { a, b in
      counts[a] != counts[b] ? counts[a] > counts[b] : seen[a].lexicographicallyPrecedes(seen[b])
    }
    var table = TokenTable()
    func add(_ numbers: ArraySlice<Int>) {
      for number in numbers {
        let bytes = Array(seen[number])
        _ = table.add(bytes, 0..<bytes.count)
      }
    }
    let unknown = Array(Self.unknown.utf8)
    if counts.count <= size {
      add(order[...])
    } else if let rank = order.firstIndex(where: { Array(seen[$0]) == unknown }), rank < size {
      add(order.prefix(size))
    } else {
      add(order.prefix(size - 1))
      _ = table.add(unknown, 0..<unknown.count)
    }
    return (Vocabulary(table: table), total)
  }

  /// The number of a token; nil if it is not known, `<unk>` or not.
  public func id(of token: String) -> Int32? {
    let bytes = Array(token.utf8)
    return table.number(of: bytes, 0..<bytes.count).map { Int32($0) }
  }

  /// The token of a number.
  public func token(_ id: Int32) -> String { String(decoding: table[Int(id)], as: UTF8.self) }

  /// The number of a token of a text, `<unk>`'s if it is not known; nil if that is not known either.
  func id(_ bytes: [UInt8], _ range: Range<Int>) -> Int32? {
    table.number(of: bytes, range).map { Int32($0) } ?? unknownID
  }

  public static func == (a: Vocabulary, b: Vocabulary) -> Bool {
    a.count == b.count && (0..<a.count).allSatisfy { a.table[$0] == b.table[$0] }
  }
}

extension Vocabulary {
  /// The tokens as a JSON array of strings: what lies beside a checkpoint, and what ranks send each other.
  public func serialized() -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.withoutEscapingSlashes]
    let tokens = (0..<count).map { token(Int32($0)) }
    guard let data = try? encoder.encode(tokens) else { preconditionFailure("strings that JSON cannot hold") }
    return Array(data)
  }

  /// Reads what `serialized` wrote.
  public init(serialized bytes: [UInt8]) throws(CorpusError) {
    guard let tokens = try? JSONDecoder().decode([String].self, from: Data(bytes)) else {
      throw CorpusError(.vocabulary("expected a JSON array of strings"), file: "")
    }
    try self.init(tokens: tokens)
  }

  /// The numbers of the tokens of a prompt: words between white space, or characters.
  /// - Throws: `CorpusError` for a token that is not known, where `<unk>` is not known either.
  public func encode(prompt: String, unit: TextUnit) throws(CorpusError) -> [Int32] {
    var ids: [Int32] = []
    func add(_ token: String) throws(CorpusError) {
      guard let id = id(of: token) ?? unknownID else { throw CorpusError(.unknownToken(token), file: "the prompt") }
      ids.append(id)
    }
    switch unit {
    case .character: for scalar in prompt.unicodeScalars { try add(String(scalar)) }
    case .word:
      for (i, line) in prompt.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
        if i > 0 { try add(Self.endOfSentence) }
        for word in line.unicodeScalars.split(whereSeparator: { $0.properties.isWhitespace }) { try add(String(word)) }
      }
    }
    return ids
  }

  /// Tokens as text: words with spaces between them and a new line for `<eos>`, characters as they are.
  public func decode(_ ids: [Int32], unit: TextUnit) -> String {
    var text = ""
    for id in ids {
      let token = token(id)
      if unit == .character {
        text += token
      } else if token == Self.endOfSentence {
        text += "\n"
      } else {
        text += (text.isEmpty || text.hasSuffix("\n") ? "" : " ") + token
      }
    }
    return text
  }
}
