/// The utterances of one shard in one minibatch, packed: rows are time-major without padding, step `t` has those that are longer than
/// `t`, in order of falling length.
public struct UtteranceBatch: Equatable, Sendable {
  /// Length of each utterance, falling.
  public fileprivate(set) var lengths: [Int] = []
  /// Number of each utterance in the global minibatch, in the same order.
  public fileprivate(set) var examples: [Int] = []
  /// The utterances themselves, by their numbers in the source, in the same order.
  public fileprivate(set) var utterances: [Int] = []
  /// N, all frames.
  public var frames: Int { lengths.reduce(0, +) }
  /// [N, F].
  public fileprivate(set) var features: [Float] = []
  /// [N]; one an utterance, in the same order, where utterances have labels.
  public fileprivate(set) var labels: [Int32] = []

  /// A batch without utterances.
  public init() {}
}

/// One utterance as it is read, and as it is after the transform. The buffers grow to the longest.
struct UtteranceBuffer {
  private var stored: [Float] = []
  private(set) var values: [Float] = []
  private(set) var labels: [Int32] = []

  /// Reads an utterance and checks its labels.
  mutating func read(
    _ utterance: Int, _ source: any UtteranceSource, _ reader: any UtteranceReading, _ transform: FeatureTransform, classes: Int
  ) throws {
    let frames = source.frames[utterance]
    stored.resize(to: frames * source.dimension)
    labels.resize(to: source.labelled.count(frames: frames))
    try Self.read(utterance, reader, &stored, &labels)
    for t in labels.indices where labels[t] < 0 || Int(labels[t]) >= classes {
      throw UtteranceError.labelOutOfRange(
        file: source.labelFile, key: source.key(utterance), frame: source.labelled == .frames ? t : nil, label: Int(labels[t]), classes: classes)
    }
    transform.apply(stored, frames: frames, to: &values)
  }

  private static func read(
    _ utterance: Int, _ reader: any UtteranceReading, _ features: inout [Float], _ labels: inout [Int32]
  ) throws {
    var features = features.mutableSpan, labels = labels.mutableSpan
    try reader.read(utterance, features: &features, labels: &labels)
  }
}

extension Array where Element: Numeric {
  /// Makes the array `count` long; new elements are 0. Memory is kept.
  mutating func resize(to newCount: Int) {
    if newCount < count { removeLast(count - newCount) } else { append(contentsOf: repeatElement(0, count: newCount - count)) }
  }
}

/// Reads, transforms and packs utterances.
public struct UtteranceAssembler {
  private let source: any UtteranceSource
  private let reader: any UtteranceReading
  private let transform: FeatureTransform
  private let classes: Int
  private var buffer = UtteranceBuffer()

  /// - classes: labels are 0 ..< classes.
  public init(_ source: any UtteranceSource, transform: FeatureTransform, classes: Int) {
    self.source = source
    self.transform = transform
    self.classes = classes
    reader = source.makeReader()
  }

  /// Fills `batch`, whose buffers are used again.
  /// - members: number in the global minibatch and in the source of each utterance, in any order.
  /// - Throws: what is wrong with the files, and `UtteranceError.labelOutOfRange`.
  public mutating func fill(_ batch: inout UtteranceBatch, _ members: [(example: Int, utterance: Int)]) throws {
    let frames = source.frames, width = transform.width(source.dimension)
    let ordered = members.sorted {
      (frames[$0.utterance], $1.example) > (frames[$1.utterance], $0.example)
    }
    batch.lengths = ordered.map { frames[$0.utterance] }
    batch.examples = ordered.map(\.example)
    batch.utterances = ordered.map(\.utterance)
    let total = batch.frames
    batch.labels.resize(to: source.labelled == .frames ? total : ordered.count)
    batch.features.resize(to: total * width)
    let starts = Self.starts(batch.lengths)
    for (b, member) in ordered.enumerated() {
      try buffer.read(member.utterance, source, reader, transform, classes: classes)
      Self.scatter(buffer.values, starts, column: b, width: width, into: &batch.features)
      switch source.labelled {
      case .frames: Self.scatter(buffer.labels, starts, column: b, width: 1, into: &batch.labels)
      case .utterances: batch.labels[b] = buffer.labels[0]
      }
    }
  }

  /// Copies the rows of a sequence, of `width` values each, to the rows that it has in a packed batch.
  private static func scatter<T>(_ values: [T], _ starts: [Int], column b: Int, width: Int, into target: inout [T]) {
    let source = values.span, starts = starts.span
    var target = target.mutableSpan
    for t in 0..<source.count / width {
      let row = (starts[t] + b) * width
      for f in 0..<width { target[row + f] = source[t * width + f] }
    }
  }

  /// First row of each step.
  private static func starts(_ lengths: [Int]) -> [Int] {
    var starts: [Int] = [], row = 0, active = lengths.count
    for t in 0..<(lengths.first ?? 0) {
      while lengths[active - 1] <= t { active -= 1 }
      starts.append(row)
      row += active
    }
    return starts
  }
}
