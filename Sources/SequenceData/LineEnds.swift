/// How the lines of a text end.
public struct LineEnds: Sendable, Equatable {
  /// LF alone.
  public internal(set) var newlines = 0
  /// CR LF.
  public internal(set) var returnNewlines = 0
  /// CR alone, which ends no line here.
  public internal(set) var returns = 0

  /// No line ends yet.
  init() {}

  /// Those of both.
  static func + (left: LineEnds, right: LineEnds) -> LineEnds {
    var sum = left
    sum.newlines += right.newlines
    sum.returnNewlines += right.returnNewlines
    sum.returns += right.returns
    return sum
  }

  /// What a reader of the text should know; nil where all lines end as they should.
  /// - unit: in characters CR is a token.
  public func remark(_ unit: TextUnit) -> String? {
    let kinds = [("LF", newlines), ("CR LF", returnNewlines), ("CR", returns)].filter { $0.1 > 0 }
    if kinds.isEmpty { return "no line end: it is read as one line" + (unit == .word ? ", without \(SpecialToken.endOfSentence)" : "") }
    if newlines + returnNewlines == 0 {
      return "CR alone in \(returns) places and no LF: it is read as one line; tr '\\r' '\\n' makes lines of it"
    }
    if kinds.count > 1 {
      return "line ends of several kinds (\(kinds.map { "\($0.1) × \($0.0)" }.joined(separator: ", "))), and LF alone ends a line"
    }
    return unit == .character && returnNewlines > 0 ? "line ends CR LF, and CR is a character like others; tr -d '\\r' removes it" : nil
  }
}

/// What a newline of a text is.
enum NewlineReading: Sendable {
  /// A token: `<eos>` among words.
  case token
  /// White space between words.
  case space
  /// A token, but for one that ends the text.
  case tokenWithin
}

extension Vocabulary {
  /// What a newline is to a model with this vocabulary: one that was trained on a text without lines reads others without them too.
  func newlines(_ unit: TextUnit) -> NewlineReading {
    switch unit {
    case .word: id(of: SpecialToken.endOfSentence) == nil ? .space : .token
    case .character: id(of: "\n") == nil && unknownID == nil ? .tokenWithin : .token
    }
  }
}
