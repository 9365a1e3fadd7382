// T unrolled steps, B streams (the global batch), N tokens, L tokens a stream.

/// How the training text is cut into streams and windows.
///
/// `N` tokens make `B` streams of `L = N / B` (the tail is dropped): stream `b` is `tokens[b·L ..< (b+1)·L]`. Window `w` of an epoch takes the inputs
/// `[w·T ..< (w+1)·T]` of every stream and targets one later.
public struct StreamLayout: Sendable, Equatable {
  /// Tokens in the text, N.
  public let tokens: Int
  /// Streams, B: the global batch.
  public let batch: Int
  /// Steps in a window, T.
  public let unroll: Int

  /// - file: named in the error.
  /// - Throws: `CorpusError.tooShortForTraining` if there is not one window.
  public init(tokens: Int, batch: Int, unroll: Int, file: String) throws(CorpusError) {
    precondition(tokens >= 0 && batch >= 1 && unroll >= 1, "sizes are positive")
    guard tokens / batch > unroll else {
      throw .tooShortForTraining(file: file, tokens: tokens, batch: batch, unroll: unroll)
    }
    self.tokens = tokens
    self.batch = batch
    self.unroll = unroll
  }

  /// Tokens in a stream, L.
  public var streamLength: Int { tokens / batch }

  /// Windows in an epoch, at least 1.
  public var windowsPerEpoch: Int { (streamLength - 1) / unroll }

  /// The positions in the text of consecutive streams.
  public func positions(ofStreams streams: Range<Int>) -> Range<Int> {
    precondition(streams.lowerBound >= 0 && streams.upperBound <= batch, "streams are numbered 0 ..< \(batch)")
    return streams.lowerBound * streamLength..<streams.upperBound * streamLength
  }

  /// The streams of one shard, `[s·B/S ..< (s+1)·B/S)`. The shard count S divides B.
  public func streams(ofShard shard: Int, of shards: Int) -> Range<Int> {
    precondition(shards >= 1 && batch.isMultiple(of: shards), "\(shards) shards do not divide the batch of \(batch)")
    precondition((0..<shards).contains(shard), "shards are numbered 0 ..< \(shards)")
    return shard * batch / shards..<(shard + 1) * batch / shards
  }
}

/// The consecutive streams of the training text that one rank holds.
public struct TokenStreams: Sendable {
  public let layout: StreamLayout
  /// The streams that are held, by their global numbers.
  public let streams: Range<Int>
  /// One stream after the other, [streams, L].
  private let tokens: [Int32]

  /// - tokens: the tokens at `layout.positions(ofStreams: streams)`.
  public init(layout: StreamLayout, streams: Range<Int>, tokens: [Int32]) {
    precondition(tokens.count == layout.positions(ofStreams: streams).count, "as many tokens as the streams hold")
    self.layout = layout
    self.streams = streams
    self.tokens = tokens
  }

  /// Reads the given streams of a text.
  /// - Throws: as `TextFile.readTokens`.
  public init(
    reading file: TextFile, vocabulary: Vocabulary, layout: StreamLayout, streams: Range<Int>
  ) throws(CorpusError) {
    let positions = layout.positions(ofStreams: streams)
    let tokens = try file.readTokens(in: [positions], vocabulary: vocabulary, expectedTokens: layout.tokens)
    self.init(layout: layout, streams: streams, tokens: tokens)
  }

  /// Fills one window of some of the streams held, without allocating.
  /// - window: in `0 ..< layout.windowsPerEpoch`.
  /// - streams: global numbers, within `self.streams`.
  /// - inputs, targets: [T, streams], time-major; what lies beyond is left alone.
  public func fill(
    window: Int, streams wanted: Range<Int>, inputs: inout MutableSpan<Int32>, targets: inout MutableSpan<Int32>
  ) {
    let T = layout.unroll
    let B = wanted.count
    let L = layout.streamLength
    precondition((0..<layout.windowsPerEpoch).contains(window), "an epoch has \(layout.windowsPerEpoch) windows")
    precondition(
      wanted.lowerBound >= streams.lowerBound && wanted.upperBound <= streams.upperBound,
      "streams \(wanted) are not among \(streams)")
    precondition(inputs.count >= T * B && targets.count >= T * B, "room for [T, streams]")
    let source = tokens.span
    for b in 0..<B {
      let first = (wanted.lowerBound - streams.lowerBound + b) * L + window * T
      for t in 0..<T {
        inputs[t * B + b] = source[first + t]
        targets[t * B + b] = source[first + t + 1]
      }
    }
  }

  /// As above, into arrays.
  public func fill(window: Int, streams wanted: Range<Int>, inputs: inout [Int32], targets: inout [Int32]) {
    var inputSpan = inputs.mutableSpan
    var targetSpan = targets.mutableSpan
    fill(window: window, streams: wanted, inputs: &inputSpan, targets: &targetSpan)
  }
}
