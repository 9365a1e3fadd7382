/// Features and labels of the same utterances, paired by key, in the order of the features; or features alone.
public struct UtteranceSet: Sendable {
  /// One utterance with both.
  public struct Utterance: Sendable, Equatable {
    public let key: String
    /// At least 1.
    public let frames: Int
    /// The entry in `UtteranceSet.features`.
    public let features: Int
    /// The entry in `UtteranceSet.labels`; 0 without labels.
    public let labels: Int
  }

  public let utterances: [Utterance]
  /// Features of a frame: the columns of every matrix.
  public let dimension: Int
  public let features: KaldiTable
  public let labels: KaldiTable?

  /// - Parameters:
  ///   - features: matrices of frames × dimension.
  ///   - labels: nil where only features are wanted.
  ///   - labelled: what has a label.
  /// - Throws: `KaldiError.duplicateKey`, `.noUtterances`, `.missingLabels`, `.missingFeatures`, `.noFrames`, `.widthsDiffer`,
  ///   `.lengthsDiffer` or `.notOneLabel`: the first of them in this order.
  public init(features: KaldiTable, labels: KaldiTable?, labelled: Labelled = .frames) throws(KaldiError) {
    precondition(features.content == .matrices && labels?.content != .matrices, "matrices of features and vectors of labels")
    let featurePlaces = try Self.places(of: features)
    let labelPlaces = try labels.map { table throws(KaldiError) in try Self.places(of: table) }
    if features.entries.isEmpty && labels?.entries.isEmpty ?? true {
      throw .noUtterances(features: features.path, labels: labels?.path)
    }
    if let labels, let labelPlaces {
      if let (key, others) = Self.missing(from: labelPlaces, features) {
        throw .missingLabels(features: features.path, labels: labels.path, key: key, others: others)
      }
      if let (key, others) = Self.missing(from: featurePlaces, labels) {
        throw .missingFeatures(features: features.path, labels: labels.path, key: key, others: others)
      }
    }
    let first = features.entries[0]
    for entry in features.entries where entry.rows == 0 { throw .noFrames(file: features.path, key: entry.key) }
    for entry in features.entries where entry.columns != first.columns {
      throw .widthsDiffer(
        file: features.path, key: entry.key, columns: entry.columns, firstKey: first.key, firstColumns: first.columns)
    }
    utterances = features.entries.enumerated().map { place, entry in
      Utterance(key: entry.key, frames: entry.rows, features: place, labels: labelPlaces?[ByteString(entry.key)] ?? 0)
    }
    if let labels { try Self.checkLengths(utterances, features, labels, labelled) }
    dimension = first.columns
    self.features = features
    self.labels = labels
  }

  /// Every utterance has as many labels as it should.
  private static func checkLengths(
    _ utterances: [Utterance], _ features: KaldiTable, _ labels: KaldiTable, _ labelled: Labelled
  ) throws(KaldiError) {
    let different = utterances.filter { labels.entries[$0.labels].rows != labelled.count(frames: $0.frames) }
    guard let utterance = different.first else { return }
    let count = labels.entries[utterance.labels].rows, others = different.count - 1
    switch labelled {
    case .frames:
      throw .lengthsDiffer(
        features: features.path, labels: labels.path, key: utterance.key, frames: utterance.frames, labelCount: count, others: others)
    case .utterances: throw .notOneLabel(labels: labels.path, key: utterance.key, labelCount: count, others: others)
    }
  }

  /// Entries by key, each of which is there once.
  private static func places(of table: KaldiTable) throws(KaldiError) -> [ByteString: Int] {
    var places: [ByteString: Int] = [:]
    places.reserveCapacity(table.entries.count)
    for (place, entry) in table.entries.enumerated() {
      if let first = places.updateValue(place, forKey: ByteString(entry.key)) {
        throw .duplicateKey(file: table.path, key: entry.key, first: first, second: place)
      }
    }
    return places
  }

  /// The first key of a table that `places` does not have, and how many more there are.
  private static func missing(from places: [ByteString: Int], _ table: KaldiTable) -> (key: String, others: Int)? {
    let missing = table.entries.filter { places[ByteString($0.key)] == nil }
    return missing.first.map { ($0.key, missing.count - 1) }
  }
}
