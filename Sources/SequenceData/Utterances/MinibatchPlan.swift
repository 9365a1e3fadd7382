import Tensors

/// Which utterances make which minibatch of an epoch; it depends on lengths, seed and epoch alone.
///
/// Shuffled minibatches hold utterances of similar length: lengths are jittered by up to a tenth, so that an utterance meets others in
/// every epoch, and cut in falling order. Minibatches then come in random order, and the one that is smaller, cut out at a random length,
/// comes last.
public struct MinibatchPlan: Sendable {
  /// Length of each utterance.
  public let frames: [Int]
  /// Utterances of a minibatch.
  public let batchSize: Int
  private let seed: UInt64
  private let shuffle: Bool
  private static let jitter = 0.1

  /// - frames: length of each utterance, at least one.
  /// - shuffle: whether to group by length and shuffle; otherwise the order of the utterances stays.
  public init(frames: [Int], batchSize: Int, seed: UInt64, shuffle: Bool) {
    precondition(!frames.isEmpty && batchSize >= 1, "a plan of nothing")
    self.frames = frames
    self.batchSize = batchSize
    self.seed = seed
    self.shuffle = shuffle
  }

  /// Minibatches of an epoch.
  public var count: Int { (frames.count + batchSize - 1) / batchSize }

  /// The utterances of each minibatch of `epoch`, in the order in which they are dealt out to shards: shuffled ones by falling length.
  public func minibatches(epoch: Int) -> [[Int]] {
    if !shuffle { return Self.cut(Array(frames.indices), sizes: (0..<count).map { min(batchSize, frames.count - $0 * batchSize) }) }
    var random = RandomStream(seed: seed, name: "minibatches.\(epoch)")
    let draws = VectorView<Double>(zeros: frames.count + count + 1)
    random.fillUniform(draws)
    let keys = frames.indices.map { Double(frames[$0]) * (1 + Self.jitter * (2 * draws[$0] - 1)) }
    let order = frames.indices.sorted { keys[$0] != keys[$1] ? keys[$0] > keys[$1] : $0 < $1 }
    var sizes = Array(repeating: batchSize, count: count)
    let rest = frames.count % batchSize
    let smaller = rest == 0 ? nil : Int(draws[frames.count] * Double(count))
    if let smaller { sizes[smaller] = rest }
    var minibatches = Self.cut(order, sizes: sizes).map(inFallingOrder)
    let last = smaller.map { minibatches.remove(at: $0) }
    // Fisher and Yates.
    for i in stride(from: minibatches.count - 1, to: 0, by: -1) {
      minibatches.swapAt(i, Int(draws[frames.count + 1 + i] * Double(i + 1)))
    }
    return minibatches + (last.map { [$0] } ?? [])
  }

  /// All utterances by falling length in minibatches of `batchSize`, for passes where the order does not matter.
  public func minibatchesByLength() -> [[Int]] {
    Self.cut(inFallingOrder(Array(frames.indices)), sizes: (0..<count).map { min(batchSize, frames.count - $0 * batchSize) })
  }

  /// Share of the rectangle [longest, utterances] that is empty.
  public static func padding(_ lengths: [Int]) -> Double {
    let area = lengths.count * (lengths.max() ?? 0)
    return area == 0 ? 0 : 1 - Double(lengths.reduce(0, +)) / Double(area)
  }

  private func inFallingOrder(_ utterances: [Int]) -> [Int] {
    utterances.sorted { frames[$0] != frames[$1] ? frames[$0] > frames[$1] : $0 < $1 }
  }

  private static func cut(_ order: [Int], sizes: [Int]) -> [[Int]] {
    var start = 0
    return sizes.map { size in
      defer { start += size }
      return Array(order[start..<start + size])
    }
  }
}
