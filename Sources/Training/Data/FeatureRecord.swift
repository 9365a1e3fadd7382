import SequenceData

/// What a checkpoint keeps of the features that a model was trained on.
struct FeatureRecord: Equatable {
  /// Columns of the archive's matrices, before deltas.
  var dimension: Int
  /// Steps of the longest utterance that was trained on.
  var longest: Int
  /// Utterances and frames trained on in an epoch.
  var utterances: Int
  var frames: Int
  /// Tells one index of keys and lengths from another.
  var digest: String
  /// Mean and deviation of each feature with its deltas, for `normalize: global`; empty otherwise.
  var mean: [Double]
  var deviation: [Double]
  /// How often each class labels a frame, or an utterance.
  var labelCounts: [Int]

  /// The record as bytes of a JSON object.
  var encoded: [UInt8] {
    let object = JSONValue.object([
      JSONField("dimension", .integer(dimension)), JSONField("longest", .integer(longest)),
      JSONField("utterances", .integer(utterances)), JSONField("frames", .integer(frames)), JSONField("digest", .string(digest)),
      JSONField("mean", .array(mean.map { .double($0) })), JSONField("deviation", .array(deviation.map { .double($0) })),
      JSONField("label_counts", .array(labelCounts.map { .integer($0) })),
    ])
    return Array((object.text + "\n").utf8)
  }
}

extension FeatureRecord {
  /// Reads a record back.
  /// - Throws: `FeatureRecordError` for what is not one.
  init(decoding bytes: [UInt8]) throws(FeatureRecordError) {
    var fields: [String: JSONValue] = [:]
    do {
      guard case .object(let list) = try JSONValue(parsing: bytes) else { throw FeatureRecordError(reason: "is no object") }
      for field in list { fields[field.name] = field.value }
    } catch let error as FeatureRecordError { throw error } catch {
      throw FeatureRecordError(reason: "is no JSON: \(error)")
    }
    func integer(_ name: String) throws(FeatureRecordError) -> Int {
      guard let value = fields[name]?.integer, value >= 0 else { throw FeatureRecordError(reason: "has no count \(name)") }
      return value
    }
    func array(_ name: String) throws(FeatureRecordError) -> [JSONValue] {
      guard case .array(let values)? = fields[name] else { throw FeatureRecordError(reason: "has no list \(name)") }
      return values
    }
    func numbers(_ name: String) throws(FeatureRecordError) -> [Double] {
      let values = try array(name), numbers = values.compactMap(\.number).filter(\.isFinite)
      guard numbers.count == values.count else { throw FeatureRecordError(reason: "has something else than numbers in \(name)") }
      return numbers
    }
    dimension = try integer("dimension")
    longest = try integer("longest")
    utterances = try integer("utterances")
    frames = try integer("frames")
    mean = try numbers("mean")
    deviation = try numbers("deviation")
    guard let digest = fields["digest"]?.string else { throw FeatureRecordError(reason: "has no digest") }
    self.digest = digest
    let counts = try array("label_counts"), integers = counts.compactMap(\.integer).filter { $0 >= 0 }
    guard integers.count == counts.count else { throw FeatureRecordError(reason: "has something else than counts in label_counts") }
    labelCounts = integers
    guard mean.count == deviation.count, dimension > 0, longest > 0, deviation.allSatisfy({ $0 > 0 }) else {
      throw FeatureRecordError(reason: "does not fit together")
    }
  }
}

extension FeatureRecord {
  /// This record, of data that takes the place of what a model was trained on: features keep their scale, and the model its time steps.
  /// - Throws: `UsageError` where the model cannot read such data.
  func continuing(_ before: FeatureRecord) throws -> FeatureRecord {
    guard dimension == before.dimension else {
      throw UsageError(description: "data.train: \(dimension) features a frame, but the model was trained on \(before.dimension)")
    }
    guard longest <= before.longest else {
      throw UsageError(
        description: "data.train: an utterance of \(longest) frames, but the longest that the run began with has \(before.longest); "
          + "data.maximum_frames: \(before.longest) leaves longer ones out")
    }
    var record = self
    (record.longest, record.mean, record.deviation) = (before.longest, before.mean, before.deviation)
    return record
  }

  /// What is done to features before the network reads them.
  func transform(_ configuration: TrainingConfiguration) -> FeatureTransform {
    let normalizer: FeatureNormalizer =
      switch configuration.data.normalize {
      case .none: .none
      case .utterance: .utterance
      case .global: .global(mean: mean.map { Float($0) }, deviation: deviation.map { Float($0) })
      }
    return FeatureTransform(deltas: configuration.data.deltas, normalizer: normalizer)
  }
}

/// A checkpoint's record of the features that cannot be read.
struct FeatureRecordError: Error, CustomStringConvertible {
  var reason: String
  var description: String { "the checkpoint's features.json \(reason)" }
}
