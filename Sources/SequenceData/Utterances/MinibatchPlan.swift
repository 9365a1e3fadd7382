import Tensors

/// How large a minibatch may be.
public enum MinibatchLimit: Equatable, Sendable {
  /// So many utterances in every minibatch but one.
  case utterances(Int)
  /// At most so many frames together; a longer utterance is a minibatch by itself.
  case frames(Int)
}

/// Which utterances make which minibatch of an epoch; it depends on lengths, seed and epoch alone.
///
/// Shuffled minibatches hold utterances of similar length: lengths are jittered by up to a tenth, so that an utterance meets others in
/// every epoch, and cut in falling order. Minibatches then come in random order, and one that is smaller comes last: with a limit of
/// utterances it is cut out at a random length; with a limit of frames it has the longest ones and a random share of the frames, so that
/// the cuts behind it are at other places in every epoch.
public struct MinibatchPlan: Sendable {
  /// Length of each utterance.
  public let frames: [Int]
  public let limit: MinibatchLimit
  private let seed: UInt64
  private let shuffle: Bool
  private static let jitter = 0.1

  /// - frames: length of each utterance, at least one.
  /// - shuffle: whether to group by length and shuffle; otherwise the order of the utterances stays.
  public init(frames: [Int], limit: MinibatchLimit, seed: UInt64, shuffle: Bool) {
    precondition(!frames.isEmpty && limit.size >= 1, "a plan of nothing")
    self.frames = frames
    self.limit = limit
    self.seed = seed
    self.shuffle = shuffle
  }

  /// Bounds of the number of minibatches of an epoch; with a limit of frames the numbers of epochs differ.
  public var counts: ClosedRange<Int> {
    switch limit {
    case .utterances(let size):
      let count = (frames.count + size - 1) / size
      return count...count
    case .frames(let size):
      // Two neighbours have more frames than one may have, but for the first pair, where the first is cut short.
      let total = frames.reduce(0, +), largest = max(size, frames.max() ?? 0)
      return (total + largest - 1) / largest...min(frames.count, 2 * total / size + 2)
    }
  }

  /// The most utterances that a minibatch can have.
  public var mostUtterances: Int {
    switch limit {
    case .utterances(let size): return min(size, frames.count)
    case .frames: return Self.cut(frames.indices.sorted { frames[$0] < frames[$1] }, limit, frames)[0].count
    }
  }

  /// The utterances of each minibatch of `epoch`, in the order in which they are dealt out to shards: shuffled ones by falling length.
  public func minibatches(epoch: Int) -> [[Int]] {
    if !shuffle { return Self.cut(Array(frames.indices), limit, frames) }
    var random = RandomStream(seed: seed, name: "minibatches.\(epoch)")
    let draws = VectorView<Double>(zeros: frames.count + 1 + counts.upperBound)
    random.fillUniform(draws)
    let keys = frames.indices.map { Double(frames[$0]) * (1 + Self.jitter * (2 * draws[$0] - 1)) }
    let order = frames.indices.sorted { keys[$0] != keys[$1] ? keys[$0] > keys[$1] : $0 < $1 }
    var (minibatches, smaller) = cut(order, draw: draws[frames.count])
    minibatches = minibatches.map(inFallingOrder)
    let last = smaller.map { minibatches.remove(at: $0) }
    // Fisher and Yates.
    for i in stride(from: minibatches.count - 1, to: 0, by: -1) {
      minibatches.swapAt(i, Int(draws[frames.count + 1 + i] * Double(i + 1)))
    }
    return minibatches + (last.map { [$0] } ?? [])
  }

  /// Cuts jittered utterances into minibatches, one of which is smaller.
  /// - draw: a uniform number, which decides where or how large that one is.
  private func cut(_ order: [Int], draw: Double) -> (minibatches: [[Int]], smaller: Int?) {
    switch limit {
    case .utterances(let size):
      let count = counts.lowerBound, rest = order.count % size
      if rest == 0 { return (Self.cut(order, limit, frames), nil) }
      let smaller = Int(draw * Double(count)), start = smaller * size
      let minibatches = Self.cut(Array(order[..<start]), limit, frames) + [Array(order[start..<start + rest])]
      return (minibatches + Self.cut(Array(order[(start + rest)...]), limit, frames), smaller)
    case .frames(let size):
      let first = Self.cut(order, .frames(max(1, Int(draw * Double(size)))), frames)[0]
      return ([first] + Self.cut(Array(order[first.count...]), limit, frames), 0)
    }
  }

  /// All utterances by falling length in minibatches, for passes where the order does not matter.
  public func minibatchesByLength() -> [[Int]] { Self.cut(inFallingOrder(Array(frames.indices)), limit, frames) }

  /// Share of the rectangle [longest, utterances] that is empty.
  public static func padding(_ lengths: [Int]) -> Double {
    let area = lengths.count * (lengths.max() ?? 0)
    return area == 0 ? 0 : 1 - Double(lengths.reduce(0, +)) / Double(area)
  }

  private func inFallingOrder(_ utterances: [Int]) -> [Int] {
    utterances.sorted { frames[$0] != frames[$1] ? frames[$0] > frames[$1] : $0 < $1 }
  }

  /// Consecutive utterances, as many together as the limit allows.
  private static func cut(_ order: [Int], _ limit: MinibatchLimit, _ frames: [Int]) -> [[Int]] {
    var minibatches: [[Int]] = [], used = 0
    for utterance in order {
      let size = limit.size(ofFrames: frames[utterance])
      if minibatches.isEmpty || used + size > limit.size {
        minibatches.append([])
        used = 0
      }
      minibatches[minibatches.count - 1].append(utterance)
      used += size
    }
    return minibatches
  }
}

extension MinibatchLimit {
  fileprivate var size: Int {
    switch self {
    case .utterances(let size), .frames(let size): size
    }
  }

  /// What an utterance takes of it.
  fileprivate func size(ofFrames frames: Int) -> Int { self == .utterances(size) ? 1 : frames }
}
