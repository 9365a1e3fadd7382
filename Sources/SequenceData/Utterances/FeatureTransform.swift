/// Appends deltas to features and normalises them.
public struct FeatureTransform: Equatable, Sendable {
  /// Order of the differences: 0, 1 or 2.
  public var deltas: Int
  public var normalizer: FeatureNormalizer

  /// Deltas first, then normalisation of all columns.
  public init(deltas: Int, normalizer: FeatureNormalizer) {
    precondition((0...2).contains(deltas), "deltas of order 0, 1 or 2")
    self.deltas = deltas
    self.normalizer = normalizer
  }

  /// Columns for features of `dimension` columns: those, their Δ, and their ΔΔ.
  public func width(_ dimension: Int) -> Int { dimension * (1 + deltas) }

  /// What Kaldi's `add-deltas` convolves with, for a window of 2: slopes of a straight line through five frames, and the same done twice.
  private static let filters: [[Float]] = [
    [1],
    [-2, -1, 0, 1, 2].map { $0 / 10 },
    [4, 4, 1, -4, -10, -4, 1, 4, 4].map { $0 / 100 },
  ]

  /// Writes the transform of `frames` rows of `features` to `result`, `width` values a row.
  func apply(_ features: [Float], frames: Int, to result: inout [Float]) {
    let features = features.span, dimension = features.count / frames, width = width(dimension)
    result.resize(to: frames * width)
    var span = result.mutableSpan
    for t in 0..<frames {
      for f in 0..<dimension { span[t * width + f] = features[t * dimension + f] }
    }
    for order in 1..<1 + deltas {
      let filter = Self.filters[order], reach = filter.count / 2
      for t in 0..<frames {
        let target = t * width + order * dimension
        for f in 0..<dimension { span[target + f] = 0 }
        for j in -reach...reach where filter[j + reach] != 0 {
          // Frames past the edges are the edges.
          let source = min(max(t + j, 0), frames - 1) * dimension, weight = filter[j + reach]
          for f in 0..<dimension { span[target + f] += weight * features[source + f] }
        }
      }
    }
    normalizer.apply(&span, frames: frames, width: width, deltas: deltas)
  }
}

/// How features are brought to mean 0 and variance 1.
public enum FeatureNormalizer: Equatable, Sendable {
  case none
  /// Each utterance by itself.
  case utterance
  /// By mean and deviation of all frames, one of each a feature.
  case global(mean: [Float], deviation: [Float])

  /// - deltas: the order of the differences among the `width` columns.
  func apply(_ values: inout MutableSpan<Float>, frames: Int, width: Int, deltas: Int) {
    switch self {
    case .none: break
    case .global(let mean, let deviation):
      precondition(mean.count == width && deviation.count == width, "statistics of other features")
      let mean = mean.span, deviation = deviation.span
      for t in 0..<frames {
        for f in 0..<width { values[t * width + f] = (values[t * width + f] - mean[f]) / deviation[f] }
      }
    case .utterance:
      var moments = FeatureMoments(width: width)
      moments.add(values.span, frames: frames)
      let scale = moments.meanAndDeviation(deltas: deltas)
      FeatureNormalizer.global(mean: scale.mean.map { Float($0) }, deviation: scale.deviation.map { Float($0) })
        .apply(&values, frames: frames, width: width, deltas: deltas)
    }
  }
}
