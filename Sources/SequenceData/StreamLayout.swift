/// How a training text of `tokens` tokens is cut into streams and windows: stream b is the tokens `b·L ..< (b+1)·L` with `L = N / B`, and
/// window w reads the steps `w·T ..< (w+1)·T` of every stream and predicts the token after each.
public struct StreamLayout: Equatable, Sendable {
  /// N.
  public let tokens: Int
  /// B.
  public let streams: Int
  /// T.
  public let steps: Int
  /// L, tokens of a stream.
  public var length: Int { tokens / streams }
  /// Windows of an epoch.
  public var windows: Int { (length - 1) / steps }

  /// - Throws: `CorpusError.Problem.tooShort` if there is not one window.
  public init(tokens: Int, streams: Int, steps: Int, file: String) throws(CorpusError) {
    precondition(streams >= 1 && steps >= 1, "streams and steps of at least 1")
    self.tokens = tokens
    self.streams = streams
    self.steps = steps
    if length < steps + 1 {
      let reason = "\(tokens) tokens are too few for \(streams) streams (batch_size) of a window of \(steps) steps (unroll_steps): "
        + "expected at least \(streams * (steps + 1))"
      throw CorpusError(.tooShort(reason), file: file)
    }
  }

  /// The positions in the text of consecutive streams.
  public func positions(ofStreams range: Range<Int>) -> Range<Int> { range.lowerBound * length..<range.upperBound * length }
}

/// The tokens of consecutive streams of a training text: all that a rank holds of it.
public struct TokenStreams: Sendable {
  public let layout: StreamLayout
  /// Global numbers of the streams held.
  public let streams: Range<Int>
  private let ids: [Int32]

  /// - ids: the tokens at `layout.positions(ofStreams: streams)`.
  public init(layout: StreamLayout, streams: Range<Int>, ids: [Int32]) {
    precondition(ids.count == streams.count * layout.length, "tokens of other streams")
    self.layout = layout
    self.streams = streams
    self.ids = ids
  }

  /// The token of stream `stream` (global number) at step `step` of window `window`; `step` may be T, the last target.
  @inlinable
  public func token(window: Int, step: Int, stream: Int) -> Int32 { at(stream, window * layout.steps + step) }

  @usableFromInline
  func at(_ stream: Int, _ position: Int) -> Int32 { ids[(stream - streams.lowerBound) * layout.length + position] }
}
