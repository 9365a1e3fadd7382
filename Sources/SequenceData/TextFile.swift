/// How much a text holds.
public struct TextStatistics: Sendable, Equatable {
  /// Tokens, `<eos>` among them.
  public let tokens: Int
  /// Distinct tokens.
  public let types: Int
  /// Tokens that are `<unk>` in the vocabulary made from the text, or in the text itself.
  public let unknown: Int

  package init(tokens: Int, types: Int, unknown: Int) {
    self.tokens = tokens
    self.types = types
    self.unknown = unknown
  }
}

/// How long a text is, and how its lines end.
public struct TextExtent: Sendable, Equatable {
  /// Tokens, `<eos>` among them.
  public var tokens: Int
  public var lineEnds: LineEnds
}

/// A text on disk as a sequence of tokens, in one file or in several that follow each other; gzip may have packed them.
///
/// A file is read in pieces: only what is asked for is held. It is UTF-8 without byte-order marks and without NUL. A newline is `\n`; in words
/// the `\r` of `\r\n` is white space, in characters it is a token. A last line without newline gets no `<eos>`, and to a vocabulary without `<eos>`,
/// as that of a text of one line, newlines are white space. No word reaches from one file into the next.
public struct TextFile: Sendable {
  public let paths: [String]
  public let unit: TextUnit
  /// Bytes read at a time.
  let chunkSize: Int
  /// The longest word, in bytes.
  let longestToken: Int

  /// Its files in words, for messages.
  public var path: String { names(of: paths) }

  /// The text in the files at `paths`; nothing is read yet.
  public init(paths: [String], unit: TextUnit) {
    self.init(paths: paths, unit: unit, chunkSize: 1 << 20)
  }

  /// The text at `path`; nothing is read yet.
  public init(path: String, unit: TextUnit) {
    self.init(paths: [path], unit: unit)
  }

  /// Small sizes put the borders of pieces inside words and scalars.
  package init(path: String, unit: TextUnit, chunkSize: Int, longestToken: Int = 1 << 20) {
    self.init(paths: [path], unit: unit, chunkSize: chunkSize, longestToken: longestToken)
  }

  package init(paths: [String], unit: TextUnit, chunkSize: Int, longestToken: Int = 1 << 20) {
    precondition(chunkSize >= 1 && longestToken >= 1, "sizes are positive")
    self.paths = paths
    self.unit = unit
    self.chunkSize = chunkSize
    self.longestToken = longestToken
  }

  /// Makes the vocabulary of the text, in one pass.
  /// - size: the largest number of tokens in it, at least 1.
  /// - unknown: when `<unk>` is one of them; with `add` there may be one more.
  /// - Throws: every `CorpusError` that concerns a file by itself: missing, empty, binary, not UTF-8, and so on.
  public func buildVocabulary(
    size: Int, unknown reading: UnknownTokens = .automatic
  ) throws(CorpusError) -> (vocabulary: Vocabulary, statistics: TextStatistics, lineEnds: LineEnds) {
    var table = TokenTable()
    var counts: [Int] = []
    let lineEnds = try scan(newlines: .token) { (token, hash, _) throws(CorpusError) in
      let id = table.insert(token, hash)
      if id == counts.count { counts.append(0) }
      counts[id] += 1
    }
    let vocabulary = Vocabulary(types: table, counts: counts, size: size, unknown: reading)
    let ignored = vocabulary.newlines(unit) == .space ? Array(SpecialToken.endOfSentence.utf8) : nil
    var tokens = 0, unknown = 0
    for id in counts.indices {
      let token = Array(table[id])
      // Too rare to be kept: newlines are white space then.
      if token == ignored { continue }
      tokens += counts[id]
      let kept = vocabulary.idOrUnknown(token.span, TokenHash(token.span))
      if kept == vocabulary.unknownID { unknown += counts[id] }
    }
    return (vocabulary, TextStatistics(tokens: tokens, types: counts.count, unknown: unknown), lineEnds)
  }

  /// The number of tokens.
  /// - vocabulary: the one that they will be read with; nil counts every newline.
  /// - Throws: as `buildVocabulary`.
  public func extent(_ vocabulary: Vocabulary? = nil) throws(CorpusError) -> TextExtent {
    var count = 0
    let lineEnds = try scan(newlines: vocabulary?.newlines(unit) ?? .token) { (_, _, _) throws(CorpusError) in count += 1 }
    return TextExtent(tokens: count, lineEnds: lineEnds)
  }

  /// The number of tokens, each newline among them.
  /// - Throws: as `buildVocabulary`.
  package func countTokens() throws(CorpusError) -> Int { try extent().tokens }

  /// The tokens at the given positions, one range after the other. The whole text is checked all the same, so that
  /// ranks that hold different ranges find the same error.
  /// - ranges: ascending and disjoint, in tokens from the start of the text.
  /// - expectedTokens: the number of tokens in the text, counted before.
  /// - Throws: as `buildVocabulary`; `CorpusError.unknownToken` for a token that is not in a vocabulary without `<unk>`;
  ///   `.changed` for another number of tokens.
  public func readTokens(
    in ranges: [Range<Int>], vocabulary: Vocabulary, expectedTokens: Int
  ) throws(CorpusError) -> [Int32] {
    var previous = 0
    for range in ranges {
      precondition(range.lowerBound >= previous, "ranges ascend without overlap")
      previous = range.upperBound
    }
    precondition(previous <= expectedTokens, "ranges lie in the text")
    var collector = TokenCollector(ranges: ranges, vocabulary: vocabulary)
    for path in paths {
      collector.file = path
      _ = try scan(path, newlines: vocabulary.newlines(unit)) { (token, hash, line) throws(CorpusError) in try collector.take(token, hash, line) }
    }
    guard collector.position == expectedTokens else {
      throw .changed(file: path, expected: expectedTokens, found: collector.position)
    }
    return collector.kept
  }

  /// Hands every token of all files to `body`.
  private func scan(newlines: NewlineReading, _ body: TokenScanner.Body) throws(CorpusError) -> LineEnds {
    var lineEnds = LineEnds()
    for path in paths { lineEnds = lineEnds + (try scan(path, newlines: newlines, body)) }
    return lineEnds
  }

  /// Hands the bytes of all files to `body`, piece by piece.
  /// - Throws: `CorpusError.cannotOpen` and the like.
  public func forEachPiece(_ body: (Span<UInt8>) -> Void) throws(CorpusError) {
    var buffer = [UInt8](repeating: 0, count: chunkSize)
    for path in paths {
      var file = try FileReader(path: path)
      while true {
        let read = try file.read(into: &buffer, from: 0)
        if read == 0 { break }
        body(buffer.span.extracting(0..<read))
      }
    }
  }

  /// Hands every token of a file to `body`. A token that a piece cuts off is moved to the front, and the next piece read behind it.
  private func scan(_ path: String, newlines: NewlineReading, _ body: TokenScanner.Body) throws(CorpusError) -> LineEnds {
    var file = try FileReader(path: path)
    var scanner = TokenScanner(source: path, unit: unit, longestToken: longestToken, newlines: newlines)
    var buffer = [UInt8](repeating: 0, count: chunkSize)
    var filled = 0
    var tokens = 0
    while true {
      if filled == buffer.count { buffer.append(contentsOf: repeatElement(0, count: buffer.count)) }
      let read = try file.read(into: &buffer, from: filled)
      filled += read
      let done = try scanner.scan(buffer.span.extracting(0..<filled), isLast: read == 0) {
        (token, hash, line) throws(CorpusError) in
        tokens += 1
        try body(token, hash, line)
      }
      if read == 0 { break }
      filled -= done
      if done > 0 { for index in 0..<filled { buffer[index] = buffer[done + index] } }
    }
    guard tokens > 0 else { throw .empty(file: path, bytes: scanner.offset) }
    return scanner.lineEnds
  }
}

/// Looks tokens up and keeps those at the positions asked for.
///
/// A value that its one method changes in place: a closure that captured the arrays one by one would retain and release them at every token.
private struct TokenCollector {
  let ranges: [Range<Int>]
  let vocabulary: Vocabulary
  /// The one that is being read.
  var file = ""
  private(set) var kept: [Int32] = []
  /// Of the next token.
  private(set) var position = 0
  /// The range that the position is in or before.
  private var next = 0

  init(ranges: [Range<Int>], vocabulary: Vocabulary) {
    self.ranges = ranges
    self.vocabulary = vocabulary
    kept.reserveCapacity(ranges.reduce(0) { $0 + $1.count })
  }

  mutating func take(_ token: borrowing Span<UInt8>, _ hash: TokenHash, _ line: Int) throws(CorpusError) {
    guard let id = vocabulary.idOrUnknown(token, hash) else {
      throw .unknownToken(file: file, line: line, token: String(copying: token), types: vocabulary.count)
    }
    while next < ranges.count && position >= ranges[next].upperBound { next += 1 }
    if next < ranges.count && position >= ranges[next].lowerBound { kept.append(id) }
    position += 1
  }
}

extension String {
  /// The text of bytes that were checked to be UTF-8.
  init(copying bytes: borrowing Span<UInt8>) {
    var copy: [UInt8] = []
    for index in bytes.indices { copy.append(bytes[index]) }
    self.init(decoding: copy, as: UTF8.self)
  }
}
