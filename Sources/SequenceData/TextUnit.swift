/// What one token of a text is.
public enum TextUnit: String, Sendable, CaseIterable {
  /// A run of characters between white space (Unicode's White_Space property); each newline is the word `<eos>`.
  case word
  /// A Unicode scalar: letters, spaces, newlines and carriage returns alike.
  case character
}

/// The two words that have a meaning of their own.
public enum SpecialToken {
  /// Stands for each newline of a text that is read as words.
  public static let endOfSentence = "<eos>"
  /// Stands for every token that is not in the vocabulary.
  public static let unknown = "<unk>"
}
