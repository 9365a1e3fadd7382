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

  /// Those that can be used.
  public let utterances: [Utterance]
  /// The others.
  public let unusable: UnusableUtterances
  /// Features of a frame: the columns of every matrix.
  public let dimension: Int
  public let features: KaldiTable
  public let labels: KaldiTable?

  /// - Parameters:
  ///   - features: matrices of frames × dimension.
  ///   - labels: nil where only features are wanted.
  ///   - labelled: what has a label.
  ///   - policy: whether utterances without labels, of other lengths than their labels or without frames, and labels without features, are
  ///     an error or are left out.
  /// - Throws: `KaldiError.duplicateKey`, `.noUtterances`, `.unusable` (with `skip` where nothing else is left) or `.widthsDiffer`: the first
  ///   of them in this order.
  public init(
    features: KaldiTable, labels: KaldiTable?, labelled: Labelled = .frames, unusable policy: UnusablePolicy = .stop
  ) throws(KaldiError) {
    precondition(features.content == .matrices && labels?.content != .matrices, "matrices of features and vectors of labels")
    let featurePlaces = try Self.places(of: features)
    let labelPlaces = try labels.map { table throws(KaldiError) in try Self.places(of: table) }
    if features.entries.isEmpty && labels?.entries.isEmpty ?? true {
      throw .noUtterances(features: features.path, labels: labels?.path)
    }
    var usable: [Utterance] = [], unusable = UnusableUtterances(features: features.path, labels: labels?.path)
    for (place, entry) in features.entries.enumerated() {
      let label = labelPlaces?[ByteString(entry.key)]
      let count = label.flatMap { labels?.entries[$0].rows }
      if let problem = Self.problem(frames: entry.rows, hasLabels: labels != nil, labels: count, labelled) {
        unusable.list.append((entry.key, problem))
      } else {
        usable.append(Utterance(key: entry.key, frames: entry.rows, features: place, labels: label ?? 0))
      }
    }
    for entry in labels?.entries ?? [] where featurePlaces[ByteString(entry.key)] == nil { unusable.list.append((entry.key, .noFeatures)) }
    guard unusable.count == 0 || policy == .skip, let first = usable.first else { throw .unusable(unusable, others: usable.count) }
    let model = features.entries[first.features]
    for utterance in usable {
      let entry = features.entries[utterance.features]
      if entry.columns != model.columns {
        throw .widthsDiffer(
          file: features.path, key: entry.key, columns: entry.columns, firstKey: model.key, firstColumns: model.columns)
      }
    }
    utterances = usable
    self.unusable = unusable
    dimension = model.columns
    self.features = features
    self.labels = labels
  }

  /// Why an utterance cannot be used, if so.
  /// - hasLabels: whether there is an archive of labels.
  /// - labels: how many the utterance has in it; nil where it is not there.
  private static func problem(
    frames: Int, hasLabels: Bool, labels: Int?, _ labelled: Labelled
  ) -> UnusableUtterances.Problem? {
    if hasLabels && labels == nil { return .noLabels }
    if frames == 0 { return .noFrames }
    guard let labels, labels != labelled.count(frames: frames) else { return nil }
    switch labelled {
    case .frames: return .lengths(frames: frames, labels: labels)
    case .utterances: return .notOneLabel(labels: labels)
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
}
