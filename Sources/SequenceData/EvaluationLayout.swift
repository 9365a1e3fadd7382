// T steps in a window, N tokens, E runs.

/// How a text is cut for evaluation, which predicts every token but the first exactly once.
///
/// The positions `1 ..< N` are cut into `E` runs of consecutive positions whose lengths differ by at most one, the longer ones first. A run's first
/// input is the token before it. With more runs than positions the last runs are empty, and all their targets are `ignoredTarget`.
public struct EvaluationLayout: Sendable, Equatable {
  /// The target where a run has no further position.
  public static let ignoredTarget: Int32 = -1

  /// Tokens in the text, N.
  public let tokens: Int
  /// Runs, E.
  public let runs: Int
  /// Steps in a window, T; the last window may be shorter.
  public let unroll: Int

  /// - file: named in the error.
  /// - Throws: `CorpusError.tooShortForEvaluation` for fewer than two tokens.
  public init(tokens: Int, runs: Int, unroll: Int, file: String) throws(CorpusError) {
    precondition(runs >= 1 && unroll >= 1, "sizes are positive")
    guard tokens >= 2 else { throw .tooShortForEvaluation(file: file, tokens: tokens) }
    self.tokens = tokens
    self.runs = runs
    self.unroll = unroll
  }

  /// Positions that are predicted: N - 1.
  public var predictions: Int { tokens - 1 }

  /// The length of the first run, which is the longest.
  public var longestRun: Int { (predictions + runs - 1) / runs }

  /// Windows that cover the longest run.
  public var windows: Int { (longestRun + unroll - 1) / unroll }

  /// The positions in the text that a run predicts.
  public func positions(ofRun run: Int) -> Range<Int> {
    precondition((0..<runs).contains(run), "runs are numbered 0 ..< \(runs)")
    return start(run)..<start(run + 1)
  }

  /// The positions in the text that consecutive runs read or predict: theirs and the one before.
  public func heldPositions(ofRuns held: Range<Int>) -> Range<Int> {
    precondition(held.lowerBound >= 0 && held.upperBound <= runs, "runs are numbered 0 ..< \(runs)")
    guard !held.isEmpty else { return 0..<0 }
    return start(held.lowerBound) - 1..<start(held.upperBound)
  }

  /// The steps of a window: T, or what is left of the longest run in the last one.
  public func steps(inWindow window: Int) -> Int {
    precondition((0..<windows).contains(window), "there are \(windows) windows")
    return min(unroll, longestRun - window * unroll)
  }

  /// The positions that some runs predict in a window: the targets that are not `ignoredTarget`.
  public func predictions(inWindow window: Int, runs wanted: Range<Int>) -> Int {
    let steps = steps(inWindow: window)
    return wanted.reduce(0) { $0 + max(0, min(steps, positions(ofRun: $1).count - window * unroll)) }
  }

  /// The steps that some consecutive runs have in a window, falling; without those that have ended before it.
  public func lengths(inWindow window: Int, runs wanted: Range<Int>) -> [Int] {
    let steps = steps(inWindow: window)
    return wanted.map { max(0, min(steps, positions(ofRun: $0).count - window * unroll)) }.filter { $0 > 0 }
  }

  /// The first position of a run; of run E, the end of the text.
  private func start(_ run: Int) -> Int {
    let (short, longer) = predictions.quotientAndRemainder(dividingBy: runs)
    return 1 + run * short + min(run, longer)
  }
}

/// The consecutive runs of a text that one rank evaluates.
public struct EvaluationRuns: Sendable {
  public let layout: EvaluationLayout
  /// The runs that are held, by their global numbers.
  public let runs: Range<Int>
  /// The tokens at `layout.heldPositions(ofRuns: runs)`.
  private let tokens: [Int32]

  /// - tokens: the tokens at `layout.heldPositions(ofRuns: runs)`.
  public init(layout: EvaluationLayout, runs: Range<Int>, tokens: [Int32]) {
    precondition(tokens.count == layout.heldPositions(ofRuns: runs).count, "as many tokens as the runs read")
    self.layout = layout
    self.runs = runs
    self.tokens = tokens
  }

  /// Reads the given runs of a text.
  /// - Throws: as `TextFile.readTokens`.
  public init(
    reading file: TextFile, vocabulary: Vocabulary, layout: EvaluationLayout, runs: Range<Int>
  ) throws(CorpusError) {
    let positions = layout.heldPositions(ofRuns: runs)
    let tokens = try file.readTokens(in: [positions], vocabulary: vocabulary, expectedTokens: layout.tokens)
    self.init(layout: layout, runs: runs, tokens: tokens)
  }

  /// Fills one window of some of the runs held, without allocating.
  /// - window: in `0 ..< layout.windows`.
  /// - runs: global numbers, within `self.runs`.
  /// - inputs, targets: [steps, runs], time-major, `steps` those of the window; what lies beyond is left alone. Past a
  ///   run's end the input is 0 and the target `EvaluationLayout.ignoredTarget`.
  public func fill(
    window: Int, runs wanted: Range<Int>, inputs: inout MutableSpan<Int32>, targets: inout MutableSpan<Int32>
  ) {
    let steps = layout.steps(inWindow: window)
    let E = wanted.count
    precondition(
      wanted.lowerBound >= runs.lowerBound && wanted.upperBound <= runs.upperBound,
      "runs \(wanted) are not among \(runs)")
    precondition(inputs.count >= steps * E && targets.count >= steps * E, "room for [steps, runs]")
    guard E > 0 else { return }
    let held = layout.heldPositions(ofRuns: runs).lowerBound
    let source = tokens.span
    for e in 0..<E {
      let positions = layout.positions(ofRun: wanted.lowerBound + e)
      for t in 0..<steps {
        let position = positions.lowerBound + window * layout.unroll + t
        let isInside = position < positions.upperBound
        inputs[t * E + e] = isInside ? source[position - 1 - held] : 0
        targets[t * E + e] = isInside ? source[position - held] : EvaluationLayout.ignoredTarget
      }
    }
  }

  /// As above, into arrays.
  public func fill(window: Int, runs wanted: Range<Int>, inputs: inout [Int32], targets: inout [Int32]) {
    var inputSpan = inputs.mutableSpan
    var targetSpan = targets.mutableSpan
    fill(window: window, runs: wanted, inputs: &inputSpan, targets: &targetSpan)
  }
}
