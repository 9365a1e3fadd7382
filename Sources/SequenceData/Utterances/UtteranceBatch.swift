/// The utterances of one shard in one minibatch, packed: rows are time-major without padding, step `t` has those that are longer than `t`, in order of
/// falling length.
public struct UtteranceBatch: Equatable, Sendable {
  /// Length of each utterance, falling.
  public fileprivate(set) var lengths: [Int] = []
  /// Number of each utterance in the global minibatch, in the same order.
  public fileprivate(set) var examples: [Int] = []
  /// The utterances themselves, by their numbers in the source, in the same order.
  public fileprivate(set) var utterances: [Int] = []
  /// N, all frames. Buffers may be longer.
  public var frames: Int { lengths.reduce(0, +) }
  /// [N, F].
  public fileprivate(set) var features: [Float] = []
  /// [N].
  public fileprivate(set) var labels: [Int32] = []

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
    let frames = source.frames[utterance], count = frames * source.dimension
    if stored.count < count { stored = Array(repeating: 0, count: count) }
    if labels.count < frames { labels = Array(repeating: 0, count: frames) }
    var storedSpan = stored.mutableSpan, labelSpan = labels.mutableSpan
    var features = storedSpan.extracting(0..<count), classesOfFrames = labelSpan.extracting(0..<frames)
    try reader.read(utterance, features: &features, labels: &classesOfFrames)
    for t in 0..<frames where classesOfFrames[t] < 0 || Int(classesOfFrames[t]) >= classes {
      throw UtteranceError.labelOutOfRange(
        file: source.labelFile, key: source.key(utterance), frame: t, label: Int(classesOfFrames[t]), classes: classes)
    }
    transform.apply(stored.span.extracting(0..<count), frames: frames, to: &values)
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
    if batch.labels.count < total {
      batch.labels = Array(repeating: 0, count: total)
      batch.features = Array(repeating: 0, count: total * width)
    }
    let starts = Self.starts(batch.lengths)
    for (b, member) in ordered.enumerated() {
      try buffer.read(member.utterance, source, reader, transform, classes: classes)
      var features = batch.features.mutableSpan, labels = batch.labels.mutableSpan
      let values = buffer.values.span
      for t in 0..<batch.lengths[b] {
        let row = starts[t] + b
        labels[row] = buffer.labels[t]
        for f in 0..<width { features[row * width + f] = values[t * width + f] }
      }
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
