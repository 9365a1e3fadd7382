/// Count, mean and sum of squared deviations of each feature, in double precision.
public struct FeatureMoments: Equatable, Sendable {
  public private(set) var count: Int
  /// [F].
  public private(set) var mean: [Double]
  /// [F].
  public private(set) var squares: [Double]

  /// Of no frames.
  public init(width: Int) {
    count = 0
    mean = Array(repeating: 0, count: width)
    squares = mean
  }

  /// Adds `frames` rows.
  mutating func add(_ values: Span<Float>, frames: Int) {
    let width = mean.count
    var other = FeatureMoments(width: width)
    other.count = frames
    Self.addMeans(of: values, frames: frames, to: &other.mean)
    Self.addSquares(of: values, frames: frames, around: other.mean, to: &other.squares)
    merge(other)
  }

  /// `mean += Σ_t x_t / frames`.
  private static func addMeans(of values: Span<Float>, frames: Int, to mean: inout [Double]) {
    // Spans of whole rows: the loops over features have no other checks and become vector code.
    var mean = mean.mutableSpan
    for t in 0..<frames {
      let row = values.extracting(t * mean.count..<(t + 1) * mean.count)
      for f in mean.indices { mean[f] += Double(row[f]) }
    }
    for f in mean.indices { mean[f] /= Double(frames) }
  }

  /// `squares += Σ_t (x_t − mean)²`.
  private static func addSquares(of values: Span<Float>, frames: Int, around mean: [Double], to squares: inout [Double]) {
    let mean = mean.span
    var squares = squares.mutableSpan
    for t in 0..<frames {
      let row = values.extracting(t * mean.count..<(t + 1) * mean.count)
      for f in squares.indices {
        let difference = Double(row[f]) - mean[f]
        squares[f] += difference * difference
      }
    }
  }

  /// Adds the frames of `other` (Chan et al.).
  public mutating func merge(_ other: FeatureMoments) {
    if other.count == 0 { return }
    let share = Double(other.count) / Double(count + other.count), weight = Double(count) * share
    for f in mean.indices {
      let difference = other.mean[f] - mean[f]
      mean[f] += difference * share
      squares[f] += other.squares[f] + difference * difference * weight
    }
    count += other.count
  }

  /// Mean and deviation of each column; the deviation of a constant one is 1.
  /// - deltas: the order of the differences among the columns, which are constant where the feature is that they are of.
  public func meanAndDeviation(deltas: Int) -> (mean: [Double], deviation: [Double]) {
    let features = mean.count / (1 + deltas)
    let deviation = mean.indices.map { isConstant($0 % features) || isConstant($0) ? 1 : variance($0).squareRoot() }
    return (mean, deviation)
  }

  /// The features, without their differences, that are constant.
  public func constantFeatures(deltas: Int) -> [Int] { (0..<mean.count / (1 + deltas)).filter(isConstant) }

  private func variance(_ column: Int) -> Double { squares[column] / Double(max(count, 1)) }

  /// Whether a column is constant, but for a deviation of a hundred-thousandth of its mean: a few frames that differ by the rounding of whoever
  /// wrote them would be blown up to a variance of 1, and other data to thousands.
  private func isConstant(_ column: Int) -> Bool {
    let variance = variance(column), mean = mean[column]
    return variance <= 1e-10 * mean * mean || variance <= 1e-30
  }

  /// The values in one list, `serializedCount(width:)` of them.
  public var serialized: [Double] { [Double(count)] + mean + squares }

  /// Numbers that moments of `width` features take when they are sent: the count, means and M2.
  public static func serializedCount(width: Int) -> Int { 1 + 2 * width }

  /// Reads them back.
  public init(serialized values: ArraySlice<Double>) {
    let width = (values.count - 1) / 2, first = values.startIndex
    count = Int(values[first])
    mean = Array(values[first + 1..<first + 1 + width])
    squares = Array(values[(first + 1 + width)...])
  }
}

/// What a look at every frame of a set of utterances finds: moments of the features, how often each label occurs, and whether all is well.
///
/// The set is cut into the same chunks for any number of readers, so that the result has the same bits.
public struct FeatureSurvey {
  /// Consecutive utterances of each chunk.
  public let chunks: [Range<Int>]
  private let source: any UtteranceSource
  private let deltas: Int
  private let classes: Int

  private static let mostChunks = 256

  /// - deltas: order of the deltas that are appended before moments are taken.
  /// - classes: labels are 0 ..< classes.
  public init(_ source: any UtteranceSource, deltas: Int, classes: Int) {
    self.source = source
    self.deltas = deltas
    self.classes = classes
    let n = source.frames.count, count = min(n, Self.mostChunks)
    chunks = (0..<count).map { $0 * n / count..<($0 + 1) * n / count }
  }

  /// The moments of chunk `number`; its labels are added to `labelCounts`, [classes].
  /// - Throws: what is wrong with the files, and `UtteranceError.labelOutOfRange`.
  public func moments(ofChunk number: Int, _ reader: any UtteranceReading, labelCounts: inout [Int]) throws -> FeatureMoments {
    let transform = FeatureTransform(deltas: deltas, normalizer: .none), width = transform.width(source.dimension)
    var moments = FeatureMoments(width: width), buffer = UtteranceBuffer()
    for utterance in chunks[number] {
      try buffer.read(utterance, source, reader, transform, classes: classes)
      let frames = source.frames[utterance]
      moments.add(buffer.values.span, frames: frames)
      for label in buffer.labels { labelCounts[Int(label)] += 1 }
      if let f = moments.squares.firstIndex(where: { !$0.isFinite }) {
        throw UtteranceError.notFinite(file: source.featureFile, key: source.key(utterance), feature: f)
      }
    }
    return moments
  }

  /// Moments of the whole set from those of all chunks, in their order.
  public static func merge(_ chunks: [FeatureMoments]) -> FeatureMoments {
    var moments = FeatureMoments(width: chunks[0].mean.count)
    for chunk in chunks { moments.merge(chunk) }
    return moments
  }
}
