import Tensors

// T unrolled steps, B sequences of a minibatch (the global batch), N tokens.

/// How the training text is cut in every epoch anew into pieces that begin from the initial state: `training.windows: shuffled`.
///
/// An epoch `e` draws uniform numbers u₀, u₁, … in [0, 1), those of `RandomStream(seed: seed, name: "windows.\(e)")`, with `e` in decimal digits.
///
/// - The offset is `o = ⌊u₀ T⌋`, and there are `n = (N - 1 - o) / T` pieces (integer division).
/// - Piece `p` is `tokens[o + p·T ... o + (p+1)·T]`, of which the first `T` are read and the last `T` are to be predicted. Its last token is the first
///   of the next piece.
/// - `order` begins as 0, 1, …, n - 1. For `i` from n - 1 down to 1, `order[i]` and `order[⌊u₁₊ᵢ (i + 1)⌋]` are swapped (Fisher and Yates).
/// - Sequence `b` of minibatch `m` is piece `order[m·B + b]`. There are `n / B` minibatches; the pieces that are left over are not used.
///
/// Epoch 0 is the order in which population statistics are gathered.
public struct ShuffledLayout: Sendable, Equatable {
  /// Tokens in the text, N.
  public let tokens: Int
  /// Sequences of a minibatch, B: the global batch.
  public let batch: Int
  /// Steps of a piece, T.
  public let unroll: Int
  private let seed: UInt64

  /// - file: named in the error.
  /// - Throws: `CorpusError.tooShortForShuffledWindows` if there is not one minibatch at every offset.
  public init(tokens: Int, batch: Int, unroll: Int, seed: UInt64, file: String) throws(CorpusError) {
    precondition(tokens >= 0 && batch >= 1 && unroll >= 1, "sizes are positive")
    guard tokens / unroll > batch else {
      throw .tooShortForShuffledWindows(file: file, tokens: tokens, batch: batch, unroll: unroll)
    }
    self.tokens = tokens
    self.batch = batch
    self.unroll = unroll
    self.seed = seed
  }

  /// Minibatches of an epoch, at least 1: the offset decides between two numbers at most.
  public func minibatches(epoch: Int) -> Int { minibatches(offset: Int(draws(epoch: epoch, count: 1)[0] * Double(unroll))) }

  /// The most minibatches of any epoch, and the fewest.
  public var mostMinibatches: Int { minibatches(offset: 0) }
  public var fewestMinibatches: Int { minibatches(offset: unroll - 1) }

  private func minibatches(offset: Int) -> Int { pieces(offset: offset) / batch }

  private func pieces(offset: Int) -> Int { (tokens - 1 - offset) / unroll }

  /// The first token of each piece of an epoch that is used, in the order of its sequences, [minibatches · B].
  public func starts(epoch: Int) -> [Int] {
    let draws = draws(epoch: epoch, count: 1 + pieces(offset: 0)), offset = Int(draws[0] * Double(unroll))
    var starts = (0..<pieces(offset: offset)).map { offset + $0 * unroll }
    for i in stride(from: starts.count - 1, to: 0, by: -1) { starts.swapAt(i, Int(draws[1 + i] * Double(i + 1))) }
    starts.removeLast(starts.count % batch)
    return starts
  }

  private func draws(epoch: Int, count: Int) -> VectorView<Double> {
    var random = RandomStream(seed: seed, name: "windows.\(epoch)")
    let draws = VectorView<Double>(zeros: count)
    random.fillUniform(draws)
    return draws
  }
}

/// A training text whose pieces come in another order in each epoch. Every rank holds all of it: any piece may become any rank's.
public struct ShuffledWindows: Sendable {
  public let layout: ShuffledLayout
  private let tokens: [Int32]
  private var epoch: Int?
  private var starts: [Int] = []

  /// - tokens: all N tokens of the text.
  public init(layout: ShuffledLayout, tokens: [Int32]) {
    precondition(tokens.count == layout.tokens, "as many tokens as the text has")
    self.layout = layout
    self.tokens = tokens
  }

  /// Reads a text.
  /// - Throws: as `TextFile.readTokens`.
  public init(reading file: TextFile, vocabulary: Vocabulary, layout: ShuffledLayout) throws(CorpusError) {
    self.init(
      layout: layout,
      tokens: try file.readTokens(in: [0..<layout.tokens], vocabulary: vocabulary, expectedTokens: layout.tokens))
  }

  /// Puts the pieces into the order of `epoch`, unless that is the one they have.
  public mutating func begin(epoch: Int) {
    if self.epoch == epoch { return }
    self.epoch = epoch
    starts = layout.starts(epoch: epoch)
  }

  /// Minibatches of `epoch`.
  public func minibatches(epoch: Int) -> Int {
    self.epoch == epoch ? starts.count / layout.batch : layout.minibatches(epoch: epoch)
  }

  /// Fills some sequences of a minibatch of the epoch that was begun last, without allocating.
  /// - sequences: their numbers in the global minibatch.
  /// - inputs, targets: [T, sequences], time-major; what lies beyond is left alone.
  public func fill(
    minibatch: Int, sequences: Range<Int>, inputs: inout MutableSpan<Int32>, targets: inout MutableSpan<Int32>
  ) {
    let T = layout.unroll, B = sequences.count
    precondition(sequences.lowerBound >= 0 && sequences.upperBound <= layout.batch, "sequences are numbered 0 ..< \(layout.batch)")
    precondition(minibatch >= 0 && (minibatch + 1) * layout.batch <= starts.count, "a minibatch after the last one")
    precondition(inputs.count >= T * B && targets.count >= T * B, "room for [T, sequences]")
    let source = tokens.span, starts = starts.span
    for b in 0..<B {
      let first = starts[minibatch * layout.batch + sequences.lowerBound + b]
      for t in 0..<T {
        inputs[t * B + b] = source[first + t]
        targets[t * B + b] = source[first + t + 1]
      }
    }
  }
}
