/// What is wrong with a text, and where.
public struct CorpusError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The kinds of fault.
  public enum Problem: Equatable, Sendable {
    /// The file is missing or cannot be read; the system's words.
    case unreadable(String)
    case empty
    /// A byte of value 0, as no text has it.
    case binary
    /// Not UTF-8.
    case encoding
    /// A token that the vocabulary lacks, where it has no `<unk>` either.
    case unknownToken(String)
    /// Too few tokens for what is asked of them.
    case tooShort(String)
    /// A stored vocabulary that is none.
    case vocabulary(String)
  }

  public let problem: Problem
  /// The file; empty for text that is in none.
  public let file: String
  /// From 1; nil where no single line is to blame.
  public let line: Int?
  /// Bytes from the start of the file.
  public let offset: Int?

  public init(_ problem: Problem, file: String, line: Int? = nil, offset: Int? = nil) {
    self.problem = problem
    self.file = file
    self.line = line
    self.offset = offset
  }

  /// One line: `FILE:LINE: what is wrong; what is allowed`.
  public var description: String {
    let place = file + (line.map { ":\($0)" } ?? "") + (file.isEmpty && line == nil ? "" : ": ")
    let at = offset.map { " at byte \($0)" } ?? ""
    switch problem {
    case .unreadable(let reason): return place + "cannot read the text: \(reason)"
    case .empty: return place + "the text is empty; expected at least one token"
    case .binary: return place + "a zero byte\(at): a binary file; expected UTF-8 text"
    case .encoding: return place + "bytes that are not UTF-8\(at); expected UTF-8 text"
    case .unknownToken(let token):
      return place + "the token \"\(token)\" is not in the vocabulary of the training text, which has no <unk>"
    case .tooShort(let reason): return place + reason
    case .vocabulary(let reason): return place + "not a vocabulary: \(reason)"
    }
  }
}
