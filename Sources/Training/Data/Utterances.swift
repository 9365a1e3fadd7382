import MPI
import NeuralNetwork
import SequenceData

/// Reads the indices of features and labels on rank 0, sends them to all, and pairs them.
/// - files: features alone have labels that count as 0.
/// - labelled: what has a label.
/// - maximumFrames: longer utterances are left out; nil keeps all.
/// - unusable: what is done about utterances without labels and the like.
/// - allowsCommands: whether a path, or a line of an index, may be a command whose output is read.
/// - Throws: on every rank the same error.
func openUtterances(
  _ files: DataFiles, _ labelled: Labelled, maximumFrames: Int? = nil, unusable: UnusablePolicy, allowsCommands: Bool,
  _ context: RankContext
) throws -> Utterances {
  let world = context.world
  func table(_ paths: [String], _ content: KaldiTable.Content) throws -> KaldiTable {
    let bytes = try world.agree {
      world.rank == 0 ? try KaldiTable(paths: paths, content: content, allowsCommands: allowsCommands).serialized() : nil
    }
    return try KaldiTable(serialized: try world.broadcast(bytes: bytes, root: 0))
  }
  let features = try table(files.paths, .matrices), labels = try files.labels.map { try table($0, .integers) }
  return try world.agree { try Utterances(features, labels, labelled, maximumFrames: maximumFrames, unusable: unusable) }
}

/// The utterances of an archive that are used, in its order.
struct Utterances: UtteranceSource {
  private let features: KaldiTable
  private let labels: KaldiTable?
  // Entries of each utterance in the tables.
  private let entries: [(features: Int, labels: Int)]
  let frames: [Int]
  let dimension: Int
  let labelled: Labelled
  /// Utterances that are too long.
  let leftOut: Int
  /// Utterances that were left out because they lack something.
  let unusable: UnusableUtterances

  init(
    _ features: KaldiTable, _ labels: KaldiTable?, _ labelled: Labelled, maximumFrames: Int?, unusable policy: UnusablePolicy
  ) throws {
    let set = try UtteranceSet(features: features, labels: labels, labelled: labelled, unusable: policy)
    unusable = set.unusable
    self.labelled = labelled
    let kept = set.utterances.filter { $0.frames <= maximumFrames ?? .max }
    self.features = features
    self.labels = labels
    entries = kept.map { ($0.features, $0.labels) }
    frames = kept.map(\.frames)
    dimension = set.dimension
    leftOut = set.utterances.count - kept.count
    if kept.isEmpty, let shortest = set.utterances.map(\.frames).min() {
      throw UtteranceError.nothingLeft(file: features.path, shortest: shortest, maximum: maximumFrames ?? 0)
    }
  }

  func key(_ utterance: Int) -> String { features.entries[entries[utterance].features].key }
  var featureFile: String { features.path }
  var labelFile: String { labels?.path ?? features.path }
  /// The files of features and labels.
  var sources: [String] { features.sources + (labels?.sources ?? []) }
  /// What a user should know of utterances that were left out.
  var remarks: [String] { unusable.count == 0 ? [] : ["\(unusable); they are left out (data.on_unusable: skip)"] }
  /// Whether labels are known.
  var isLabelled: Bool { labels != nil }

  func makeReader() -> any UtteranceReading { Reader(self) }

  /// Reads the values of utterances; one a thread.
  private final class Reader: UtteranceReading {
    private let utterances: Utterances
    private let features: KaldiReader
    private let labels: KaldiReader?

    init(_ utterances: Utterances) {
      self.utterances = utterances
      features = KaldiReader(utterances.features)
      labels = utterances.labels.map { KaldiReader($0) }
    }

    func read(_ utterance: Int, features values: inout MutableSpan<Float>, labels classes: inout MutableSpan<Int32>) throws {
      let entry = utterances.entries[utterance]
      try features.readMatrix(entry.features, into: &values)
      if let labels {
        try labels.readIntegers(entry.labels, into: &classes)
      } else {
        for t in 0..<classes.count { classes[t] = 0 }
      }
    }
  }

  /// A checksum of keys and lengths in their order, which decide every minibatch.
  var digest: String {
    var bytes: [UInt8] = []
    for (utterance, length) in frames.enumerated() { bytes += Array("\(key(utterance)) \(length)\n".utf8) }
    return Checksum(of: bytes).hexadecimal
  }

  /// A checksum of keys, lengths, and of what some utterances hold: 64 that are spread over all of them, since a corpus may take an hour to read.
  /// Rank 0 reads them.
  /// - Throws: on every rank the same error.
  func contentDigest(_ world: Communicator) throws -> String {
    let found = try world.agree { world.rank == 0 ? Array(try sampledDigest().utf8) : nil }
    return String(decoding: try world.broadcast(bytes: found, root: 0), as: UTF8.self)
  }

  private func sampledDigest() throws -> String {
    let reader = makeReader(), last = frames.count - 1, samples = min(frames.count, 64)
    var hasher = ChecksumHasher()
    unsafe hasher.update(Array(digest.utf8).span.bytes)
    for sample in 0..<samples {
      let utterance = samples == 1 ? 0 : sample * last / (samples - 1)
      var values = Array(repeating: Float(0), count: frames[utterance] * dimension)
      var classes = Array(repeating: Int32(0), count: labelled.count(frames: frames[utterance]))
      var valueSpan = values.mutableSpan, classSpan = classes.mutableSpan
      try reader.read(utterance, features: &valueSpan, labels: &classSpan)
      unsafe hasher.update(values.span.bytes)
      unsafe hasher.update(classes.span.bytes)
    }
    return hasher.checksum.hexadecimal
  }
}

/// Frames of every shard and step of a minibatch whose utterance `k` goes to shard `k mod S`.
/// - lengths: of its utterances, in their order.
func frameCounts(_ lengths: [Int], shards S: Int, _ groups: ShardGroups) -> FrameCounts {
  FrameCounts(perStep: framesPerStep(lengths, shards: S), steps: lengths.max() ?? 0, groups: groups)
}

/// The same as plain numbers, [S, steps].
func framesPerStep(_ lengths: [Int], shards S: Int) -> [Int] {
  let T = lengths.max() ?? 0
  var perStep = Array(repeating: 0, count: S * T)
  for (k, length) in lengths.enumerated() {
    let shard = k % S
    for t in 0..<length { perStep[shard * T + t] += 1 }
  }
  return perStep
}
