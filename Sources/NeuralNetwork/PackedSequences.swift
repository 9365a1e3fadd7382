/// Which rows of a shard's matrices belong to which time step, for sequences of any lengths.
///
/// Rows are time-major and without padding: step `t` has the sequences that are longer than `t`, in order of falling length, so the rows of a step are
/// always the first ones of the step before. A layer that computes on all rows computes on frames only.
public struct PackedSequences: Equatable, Sendable {
  /// Length of each sequence, falling.
  public let lengths: [Int]
  // First row of each step, and the number of all rows: T + 1 of them.
  private let starts: [Int]

  /// - lengths: falling; 1 or more each. There may be none.
  public init(lengths: [Int]) {
    precondition(zip(lengths, lengths.dropFirst()).allSatisfy { $0 >= $1 } && lengths.last ?? 1 > 0, "lengths that do not fall")
    self.lengths = lengths
    var starts = [0], active = lengths.count
    starts.reserveCapacity((lengths.first ?? 0) + 1)
    for t in 0..<(lengths.first ?? 0) {
      while lengths[active - 1] <= t { active -= 1 }
      starts.append(starts[t] + active)
    }
    self.starts = starts
  }

  /// `count` sequences of `steps` steps each.
  public init(count: Int, steps: Int) { self.init(lengths: steps == 0 ? [] : Array(repeating: steps, count: count)) }

  /// B, the number of sequences.
  public var count: Int { lengths.count }
  /// T, the length of the longest sequence; 0 without any.
  public var steps: Int { starts.count - 1 }
  /// N, all frames.
  public var frames: Int { starts[starts.count - 1] }

  /// The sequences that have step `t`: the first so many.
  public func active(_ t: Int) -> Int { t < steps ? starts[t + 1] - starts[t] : 0 }

  /// The rows of step `t`.
  public func rows(_ t: Int) -> Range<Int> { t < steps ? starts[t]..<starts[t + 1] : frames..<frames }

  /// The rows of some steps.
  public func rows(_ steps: Range<Int>) -> Range<Int> { starts[min(steps.lowerBound, self.steps)]..<starts[min(steps.upperBound, self.steps)] }

  /// The row of the last frame of sequence `b`; that of its first frame is `b`.
  public func lastRow(_ b: Int) -> Int { starts[lengths[b] - 1] + b }

  /// For each row the row of the same sequence that lies as far from its end as this one from its start. Twice applied, it changes nothing.
  /// - rows: [N], written.
  public func writeReversal(to rows: inout MutableSpan<Int32>) {
    precondition(rows.count >= frames, "rows for \(rows.count) of \(frames) frames")
    for t in 0..<steps {
      for b in 0..<active(t) { rows[starts[t] + b] = Int32(starts[lengths[b] - 1 - t] + b) }
    }
  }
}
