/// How a text of N tokens is cut for evaluation: the positions `1 ..< N` into runs of consecutive positions whose lengths differ by at most one, the
/// longer ones first. Each run starts from zero state with the token before it, so every token but the first is predicted once.
public struct EvaluationLayout: Equatable, Sendable {
  /// N.
  public let tokens: Int
  /// Number of runs; at most one a prediction.
  public let runs: Int
  /// T of a window.
  public let steps: Int

  /// - streams: runs asked for; a text of fewer predictions has one run a prediction.
  /// - Throws: `CorpusError.Problem.tooShort` for fewer than two tokens.
  public init(tokens: Int, streams: Int, steps: Int, file: String) throws(CorpusError) {
    precondition(streams >= 1 && steps >= 1, "streams and steps of at least 1")
    if tokens < 2 {
      throw CorpusError(.tooShort("\(tokens) token is too few to evaluate on: expected at least 2"), file: file)
    }
    self.tokens = tokens
    self.steps = steps
    runs = min(streams, tokens - 1)
  }

  /// Tokens predicted.
  public var predictions: Int { tokens - 1 }
  /// Predictions of the longest run.
  public var longestRun: Int { (predictions + runs - 1) / runs }
  /// Windows of the pass.
  public var windows: Int { (longestRun + steps - 1) / steps }

  /// Steps of a window: T, or what is left in the last one.
  public func steps(ofWindow window: Int) -> Int { min(steps, longestRun - window * steps) }

  /// The positions that a run predicts.
  public func positions(ofRun run: Int) -> Range<Int> {
    let start = 1 + run * (predictions / runs) + min(run, predictions % runs)
    return start..<start + predictions / runs + (run < predictions % runs ? 1 : 0)
  }

  /// The positions in the text that consecutive runs read or predict.
  public func tokens(ofRuns range: Range<Int>) -> Range<Int> {
    if range.isEmpty { return 0..<0 }
    return positions(ofRun: range.lowerBound).lowerBound - 1..<positions(ofRun: range.upperBound - 1).upperBound
  }
}

/// The tokens of consecutive runs of a text for evaluation.
public struct EvaluationRuns: Sendable {
  public let layout: EvaluationLayout
  /// Global numbers of the runs held.
  public let runs: Range<Int>
  private let ids: [Int32]
  private let first: Int

  /// - ids: the tokens at `layout.tokens(ofRuns: runs)`.
  public init(layout: EvaluationLayout, runs: Range<Int>, ids: [Int32]) {
    let range = layout.tokens(ofRuns: runs)
    precondition(ids.count == range.count, "tokens of other runs")
    self.layout = layout
    self.runs = runs
    self.ids = ids
    first = range.lowerBound
  }

  /// What run `run` (global number) reads and predicts at step `step` of window `window`; the target is −1 past the run's end.
  public func token(window: Int, step: Int, run: Int) -> (input: Int32, target: Int32) {
    let positions = layout.positions(ofRun: run), position = positions.lowerBound + window * layout.steps + step
    if position >= positions.upperBound { return (ids[0], -1) }
    return (ids[position - 1 - first], ids[position - first])
  }
}
