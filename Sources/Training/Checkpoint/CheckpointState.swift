import Foundation

/// What a run needs besides its tensors to go on: where it stood, how it was configured, and what the other files must be.
///
/// In `state.json` these are the top-level keys, together with `checksum`, the checksum of all the rest of the file.
public struct CheckpointState: Codable, Equatable, Sendable {
  /// The version of the layout that this program writes and reads.
  public static let currentFormatVersion = 1

  /// What the `running_*` tensors of `model.safetensors` hold.
  public enum Statistics: String, Codable, Sendable {
    /// Exponential averages of training.
    case running
    /// Statistics of the training set with the final weights.
    case population
    /// The same, with the mean over groups of their variances.
    case averaged
  }

  /// Losses on the validation data, nats a frame.
  public struct Validation: Codable, Equatable, Sendable {
    /// Of the last validation.
    public var loss: Double
    /// The lowest so far.
    public var bestLoss: Double
    /// The step of the lowest.
    public var bestStep: Int
    /// The step of the last validation; nil if it is not known.
    public var step: Int?

    /// The last loss, and the lowest with its step.
    public init(loss: Double, bestLoss: Double, bestStep: Int, step: Int? = nil) {
      self.loss = loss
      self.bestLoss = bestLoss
      self.bestStep = bestStep
      self.step = step
    }
  }

  /// What tells the data of a run from other data.
  public struct DataDigests: Codable, Equatable, Sendable {
    /// Of the training data.
    public var train: String
    /// Of the validation data.
    public var validation: String

    /// The digests of both.
    public init(train: String, validation: String) {
      self.train = train
      self.validation = validation
    }
  }

  /// Version of the layout.
  public var formatVersion: Int
  /// Version of the program that wrote it.
  public var programVersion: String
  /// Updates done.
  public var step: Int
  /// The epoch that the run is in, from 1.
  public var epoch: Int
  /// Windows or minibatches of the epoch that are done.
  public var position: Int
  /// Seed of all randomness.
  public var seed: UInt64
  /// Shards of the global minibatch.
  public var shards: Int
  /// Frames trained on since the run began.
  public var frames: Int
  /// What the running statistics of the model are.
  public var statistics: Statistics
  /// The resolved configuration, YAML.
  public var configuration: String
  /// That configuration.
  /// - Throws: `ConfigurationError` for one that this version does not know.
  var trainingConfiguration: TrainingConfiguration {
    get throws(ConfigurationError) { try TrainingConfiguration(yaml: configuration, file: "the checkpoint's configuration", overrides: []) }
  }
  /// Losses on the validation data; nil before the first validation.
  public var validation: Validation?
  /// For normalisations, by tensor name: time steps or updates that their running statistics have seen.
  public var runningSteps: [String: Int]
  /// For each time step the frames behind its running statistics; nil where it is not known.
  public var runningFrames: [Int]?
  /// The data that the run trains on and is judged by; nil where it is not known.
  public var data: DataDigests?
  /// What validations have done to the schedule of the learning rate; nil where it is not known.
  var schedule: Schedule.State?
  /// Updates that the averaged weights in `training.safetensors` are taken over; nil where it has none.
  var averagedUpdates: Int?
  /// The other files of the checkpoint; filled in when it is written.
  public internal(set) var files: [String: FileRecord] = [:]

  /// The state of a run after `step` updates.
  public init(
    programVersion: String, step: Int, epoch: Int, position: Int, seed: UInt64, shards: Int, frames: Int,
    statistics: Statistics, configuration: String, validation: Validation? = nil, runningSteps: [String: Int] = [:],
    runningFrames: [Int]? = nil, data: DataDigests? = nil
  ) {
    self.data = data
    formatVersion = Self.currentFormatVersion
    self.programVersion = programVersion
    self.step = step
    self.epoch = epoch
    self.position = position
    self.seed = seed
    self.shards = shards
    self.frames = frames
    self.statistics = statistics
    self.configuration = configuration
    self.validation = validation
    self.runningSteps = runningSteps
    self.runningFrames = runningFrames
  }
}

extension CheckpointState {
  // `state.json` is JSON whose first key is the checksum of the file without that key's line:
  //
  //   {
  //     "checksum" : "0123456789abcdef",
  //     "configuration" : …
  //
  // The check is on bytes, so no byte of the file can change unnoticed.
  private static let prefix = Array("{\n  \"checksum\" : \"".utf8)
  private static let separator = Array("\",".utf8)
  private static let nonFinite = ("Infinity", "-Infinity", "NaN")

  private struct Version: Codable { let formatVersion: Int }

  /// The bytes of `state.json`: the same state gives the same bytes; doubles and seeds read back exactly.
  package func encoded() -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    encoder.nonConformingFloatEncodingStrategy = .convertToString(
      positiveInfinity: Self.nonFinite.0, negativeInfinity: Self.nonFinite.1, nan: Self.nonFinite.2)
    // Strings and numbers with a strategy for those that are not finite always encode.
    guard let data = try? encoder.encode(self) else { preconditionFailure("a state that JSON cannot hold") }
    let plain = Array(data) + [UInt8(ascii: "\n")]
    return Self.prefix + Array(Checksum(of: plain).hexadecimal.utf8) + Self.separator + plain.dropFirst()
  }

  /// Reads the bytes of `state.json`.
  /// - path: the checkpoint's directory, for errors.
  /// - Throws: `CheckpointError` if a byte is not as it was written, or the state is of another version.
  package init(decoding bytes: [UInt8], path: String) throws(CheckpointError) {
    let file = CheckpointLayout.state
    let start = Self.prefix.count
    guard bytes.count > start + 18, bytes.starts(with: Self.prefix),
      bytes[(start + 16)...].starts(with: Self.separator),
      let written = Checksum(hexadecimal: String(decoding: bytes[start..<start + 16], as: UTF8.self))
    else { throw CheckpointError(path, file: file, .state("truncated, altered or not a state: it does not begin with its checksum")) }
    let plain = [UInt8(ascii: "{")] + bytes[(start + 18)...]
    let found = Checksum(of: plain)
    guard found == written else {
      throw CheckpointError(path, file: file, .checksum(found: found.hexadecimal, expected: written.hexadecimal))
    }
    let decoder = JSONDecoder()
    decoder.nonConformingFloatDecodingStrategy = .convertFromString(
      positiveInfinity: Self.nonFinite.0, negativeInfinity: Self.nonFinite.1, nan: Self.nonFinite.2)
    let version: Int
    do {
      version = try decoder.decode(Version.self, from: Data(plain)).formatVersion
    } catch { throw CheckpointError(path, file: file, .state("not a state: \(error)")) }
    guard version == Self.currentFormatVersion else {
      throw CheckpointError(path, file: file, .formatVersion(found: version, allowed: Self.currentFormatVersion))
    }
    do {
      self = try decoder.decode(CheckpointState.self, from: Data(plain))
    } catch { throw CheckpointError(path, file: file, .state("not a state: \(error)")) }
  }
}
