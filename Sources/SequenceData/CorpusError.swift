/// What can be wrong with a text, with a vocabulary that is read back, or with a text's length.
///
/// Lines count from 1, byte offsets from 0. The description is one line.
public enum CorpusError: Error, Equatable, Sendable {
  /// The file is missing or may not be read; `reason` is the system's.
  case cannotOpen(file: String, reason: String)
  /// A directory, pipe or device: a text is read more than once, and by every rank.
  case notARegularFile(file: String, found: String)
  /// Reading failed in the middle of the file; `reason` is the system's.
  case cannotRead(file: String, offset: Int, reason: String)
  /// Packed by gzip, and it cannot be unpacked.
  case cannotUnpack(file: String, reason: String)
  /// No bytes, or nothing but white space.
  case empty(file: String, bytes: Int)
  /// The three bytes EF BB BF, at the start or where texts were joined. They would become part of a word, and are not removed silently.
  /// The column counts Unicode scalars from 1.
  case byteOrderMark(file: String, line: Int, column: Int)
  /// The mark of another encoding at the start.
  case notUTF8(file: String, encoding: String)
  /// A NUL byte, which no text holds.
  case binary(file: String, line: Int, offset: Int)
  /// `bytes` (1 to 4 of them) begin no UTF-8 sequence, or end the file in the middle of one.
  case invalidUTF8(file: String, line: Int, offset: Int, bytes: [UInt8])
  /// A word of more than `limit` bytes: not a text with words between white space.
  case wordTooLong(file: String, line: Int, offset: Int, limit: Int)
  /// A token that the vocabulary of `types` tokens does not have, where it has no `<unk>` either.
  case unknownToken(file: String, line: Int, token: String, types: Int)
  /// The file holds another number of tokens than when it was counted.
  case changed(file: String, expected: Int, found: Int)
  /// Too few tokens for one window: `batch` streams need `unroll` + 1 tokens each.
  case tooShortForTraining(file: String, tokens: Int, batch: Int, unroll: Int)
  /// Too few tokens for one minibatch of `batch` pieces that begin at any of `unroll` offsets.
  case tooShortForShuffledWindows(file: String, tokens: Int, batch: Int, unroll: Int)
  /// Fewer than the two tokens that it takes to predict one.
  case tooShortForEvaluation(file: String, tokens: Int)
  /// Bytes that are no vocabulary as `Vocabulary.serialized()` writes it.
  case invalidVocabulary(reason: String)
}

extension CorpusError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .cannotOpen(let file, let reason):
      "\(file): cannot be opened: \(reason)\(remark(onPath: file))"
    case .notARegularFile(let file, let found):
      "\(file): is a \(found), expected a regular file"
    case .cannotRead(let file, let offset, let reason):
      "\(file): reading failed at byte \(offset): \(reason)"
    case .cannotUnpack(let file, let reason):
      "\(file): is packed by gzip and cannot be unpacked: \(reason)"
    case .empty(let file, let bytes):
      "\(file): holds no token (\(bytes) bytes), expected text"
    case .byteOrderMark(let file, let line, let column):
      "\(file):\(line): U+FEFF (byte-order mark, EF BB BF) in column \(column), expected UTF-8 without it: "
        + "sed -i 's/\\xEF\\xBB\\xBF//g' removes every one"
    case .notUTF8(let file, let encoding):
      "\(file): is \(encoding), expected UTF-8: iconv -f \(encoding) -t UTF-8 converts it"
    case .binary(let file, let line, let offset):
      "\(file):\(line): NUL at byte \(offset): a binary file, expected UTF-8 text"
    case .invalidUTF8(let file, let line, let offset, let bytes):
      "\(file):\(line): not UTF-8 at byte \(offset): found \(bytes.hexadecimal)"
    case .wordTooLong(let file, let line, let offset, let limit):
      "\(file):\(line): the word at byte \(offset) has more than \(limit) bytes, expected words between white space"
    case .unknownToken(let file, let line, let token, let types):
      "\(file):\(line): \(token.debugDescription) is not in the vocabulary, which has no <unk> because all \(types) types of the training text are "
        + "in it: data.unknown: add makes <unk> a type beside them, and data.vocabulary_size below \(types) in place of rare ones"
    case .changed(let file, let expected, let found):
      "\(file): has \(found) tokens, but \(expected) when it was counted: it changed in between, or hosts have different files"
    case .tooShortForTraining(let file, let tokens, let batch, let unroll):
      Self.tooShort(file: file, tokens: tokens, batch: batch, unroll: unroll)
    case .tooShortForShuffledWindows(let file, let tokens, let batch, let unroll):
      "\(file): \(tokens) tokens are too few for shuffled windows of \(unroll) unrolled steps with batch size \(batch), "
        + "which take at least \(unroll) × \(batch + 1) = \(unroll * (batch + 1))"
    case .tooShortForEvaluation(let file, let tokens):
      "\(file): \(tokens) tokens, expected at least 2 (the first one is never predicted)"
    case .invalidVocabulary(let reason):
      "vocabulary: \(reason)"
    }
  }

  private static func tooShort(file: String, tokens: Int, batch: Int, unroll: Int) -> String {
    var fits: [String] = []
    let largestBatch = tokens / (unroll + 1)
    if largestBatch >= 1 { fits.append("batch size \(largestBatch) with \(unroll) unrolled steps") }
    let largestUnroll = tokens / batch - 1
    if largestUnroll >= 1 { fits.append("\(largestUnroll) unrolled steps with batch size \(batch)") }
    let advice = fits.isEmpty ? "" : "; at most \(fits.joined(separator: ", or ")) would fit"
    return "\(file): \(tokens) tokens are too few for batch size \(batch) and \(unroll) unrolled steps, "
      + "which take at least \(batch) × \(unroll + 1) = \(batch * (unroll + 1))\(advice)"
  }
}
