/// A checkpoint that cannot be written, or not be trusted: which, which file of it, which tensor, and why.
public struct CheckpointError: Error, Equatable, Sendable, CustomStringConvertible {
  /// What is wrong.
  public enum Problem: Equatable, Sendable {
    /// The operating system refused.
    case file(FileError)
    /// A tensor file that cannot be read or written.
    case tensors(SafetensorsError)
    /// There is no checkpoint at this path.
    case notACheckpoint
    /// A file that the checkpoint must have is not there.
    case missingFile
    /// A file is shorter or longer than when it was written, in bytes.
    case size(found: Int, expected: Int)
    /// A file's content is not what was written, by its checksum.
    case checksum(found: String, expected: String)
    /// `state.json` is not what was written, or not a state.
    case state(String)
    /// A layout of another version of the program.
    case formatVersion(found: Int, allowed: Int)
    /// The directory's name does not say the step of its content.
    case misplaced(step: Int)
    /// What was just written reads back with this problem: the disk does not keep what it is given.
    indirect case readBack(Problem)
  }

  /// The checkpoint's directory, or what was given in its place.
  public let path: String
  /// The file in it, where the fault is one file's.
  public let file: String?
  /// What is wrong.
  public let problem: Problem

  init(_ path: String, file: String? = nil, _ problem: Problem) {
    self.path = path
    self.file = file
    self.problem = problem
  }

  /// Runs `body`; what the operating system refuses in it is an error of `file` in the checkpoint `path`.
  static func naming<R: ~Copyable>(
    _ path: String, file: String? = nil, _ body: () throws(FileError) -> R
  ) throws(CheckpointError) -> R {
    do { return try body() } catch { throw CheckpointError(path, file: file, .file(error)) }
  }

  /// The tensor, where the fault is one tensor's.
  public var tensor: String? { if case .tensors(let error) = problem { error.tensor } else { nil } }

  /// Whether the machine is at fault (disk full, no permission, damaged at once), and not the checkpoint's content.
  public var isInputOutput: Bool {
    switch problem {
    case .file(let error): error.isInputOutput
    case .tensors(let error): error.isInputOutput
    case .readBack: true
    default: false
    }
  }

  public var description: String {
    let place = file.map { "checkpoint \(path), file \($0)" } ?? "checkpoint \(path)"
    if case .readBack(let problem) = problem { return "\(CheckpointError(path, file: file, problem)), read back just after it was written" }
    return switch problem {
    case .file(let error): "\(place): \(error)"
    case .tensors(let error): "\(place): \(error)"
    case .notACheckpoint: "\(place): neither a checkpoint (a directory with state.json) nor a run directory with checkpoints/best or checkpoints/latest"
    case .missingFile: "\(place): the file is missing"
    case .size(let found, let expected): "\(place): \(found) bytes; \(expected) were written"
    case .checksum(let found, let expected): "\(place): altered: checksum \(found); \(expected) was written"
    case .state(let reason): "\(place): \(reason)"
    case .formatVersion(let found, let allowed): "\(place): format version \(found); this program reads version \(allowed)"
    case .misplaced(let step): "\(place): holds step \(step), which its name does not say"
    case .readBack: place
    }
  }
}
