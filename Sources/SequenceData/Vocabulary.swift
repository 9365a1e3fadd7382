import FoundationEssentials

/// When `<unk>` is a token of a vocabulary.
public enum UnknownTokens: String, CaseIterable, Sendable {
  /// Where there are more types than the vocabulary may have, or the text has it itself.
  case automatic
  /// Always: so that other texts may have types that the training text does not.
  case add
}

/// The tokens that a model knows, numbered from 0.
///
/// Tokens are compared byte by byte, never by canonical equivalence.
public struct Vocabulary: Sendable, Equatable {
  private let table: TokenTable
  /// The number of `<unk>`, if it is a token.
  public let unknownID: Int32?

  /// - table: every token, in order.
  private init(_ table: TokenTable) {
    self.table = table
    let unknown = Array(SpecialToken.unknown.utf8)
    unknownID = table.find(unknown.span, TokenHash(unknown.span)).map(Int32.init)
  }

  /// The vocabulary of a text: by falling count, tokens of the same count in byte order. Of more than `size` distinct tokens the most
  /// frequent are kept and the others become `<unk>`, which takes the last place unless it is among those kept; together they are `size`.
  /// - table, counts: the distinct tokens and how often each occurs, [types].
  /// - size: the largest number of tokens, at least 1.
  /// - unknown: whether `<unk>` is a token too where all distinct ones are kept; it is one more then.
  init(types table: TokenTable, counts: [Int], size: Int, unknown reading: UnknownTokens) {
    precondition(size >= 1, "a vocabulary holds at least one token")
    precondition(table.count == counts.count, "one count a type")
    let ranked = (0..<counts.count).sorted { left, right in
      if counts[left] != counts[right] { return counts[left] > counts[right] }
      return table[left].lexicographicallyPrecedes(table[right])
    }
    let unknown = Array(SpecialToken.unknown.utf8)
    var kept = ranked.prefix(size)
    let isFull = ranked.count > size, hasUnknown = kept.contains { table[$0].elementsEqual(unknown) }
    // `<unk>` may be a type that is too rare to be kept: then it takes the last place like one that is no type at all.
    let addsUnknown = !hasUnknown && (isFull || reading == .add)
    if addsUnknown && isFull { kept.removeLast() }
    var tokens = kept.map { Array(table[$0]) }
    if addsUnknown { tokens.append(unknown) }
    var ordered = TokenTable()
    for token in tokens { _ = ordered.insert(token.span, TokenHash(token.span)) }
    self.init(ordered)
  }

  /// A vocabulary of the given tokens in the given order.
  /// - Throws: `CorpusError.invalidVocabulary` if there is none, one is empty or one comes twice.
  public init(tokens: [String]) throws(CorpusError) {
    guard !tokens.isEmpty else { throw .invalidVocabulary(reason: "holds no token, expected at least one") }
    var table = TokenTable()
    for (id, token) in tokens.enumerated() {
      let bytes = Array(token.utf8)
      guard !bytes.isEmpty else { throw .invalidVocabulary(reason: "token \(id) is empty") }
      let found = table.insert(bytes.span, TokenHash(bytes.span))
      guard found == id else {
        throw .invalidVocabulary(reason: "token \(id) is \(token.debugDescription), as is token \(found)")
      }
    }
    self.init(table)
  }

  /// The number of tokens, `<unk>` among them.
  public var count: Int { table.count }

  /// The number of a token, or nil; `<unk>` does not stand in.
  public func id(of token: String) -> Int32? {
    let bytes = Array(token.utf8)
    return table.find(bytes.span, TokenHash(bytes.span)).map(Int32.init)
  }

  /// The number of a token, of `<unk>` if it is not known, or nil if that is no token either.
  func idOrUnknown(_ token: borrowing Span<UInt8>, _ hash: TokenHash) -> Int32? {
    if let id = table.find(token, hash) { return Int32(id) }
    return unknownID
  }

  /// Token `id`, which must be in `0 ..< count`.
  public func token(_ id: Int32) -> String {
    String(decoding: table[Int(id)], as: UTF8.self)
  }

  /// All tokens in order.
  public var tokens: [String] { (0..<Int32(count)).map(token) }
}

extension Vocabulary {
  /// The tokens as a JSON array of strings, in order: to be sent to other ranks, or kept beside a checkpoint.
  public func serialized() -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .withoutEscapingSlashes
    do {
      return Array(try encoder.encode(tokens))
    } catch {
      preconditionFailure("an array of strings is valid JSON: \(error)")
    }
  }

  /// The vocabulary that `serialized()` wrote.
  /// - Throws: `CorpusError.invalidVocabulary`.
  public init(serialized bytes: [UInt8]) throws(CorpusError) {
    let tokens: [String]
    do {
      tokens = try JSONDecoder().decode([String].self, from: Data(bytes))
    } catch {
      throw .invalidVocabulary(reason: "\(bytes.count) bytes that are no JSON array of strings")
    }
    try self.init(tokens: tokens)
  }
}
