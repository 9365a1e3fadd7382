/// A safetensors file that cannot be read or written: which file, which tensor, what was found, what is allowed.
public struct SafetensorsError: Error, Equatable, Sendable, CustomStringConvertible {
  /// What is wrong.
  public enum Problem: Equatable, Sendable {
    /// The operating system refused.
    case file(FileError)
    /// The file ends before what its header promises, or before its header ends.
    case truncated
    /// The header's length is impossible.
    case headerLength
    /// The header is not the JSON that it must be.
    case header
    /// A name stands twice.
    case duplicateName
    /// An element type that the format does not have, or that cannot be read here.
    case elementType
    /// A number that float32 cannot hold.
    case range
    /// A shape that is impossible, or whose size is not that of the data.
    case shape
    /// Data that overlaps, leaves gaps, or lies outside the file.
    case offsets
    /// A tensor that was asked for is not there.
    case missingTensor
    /// A tensor that was not asked for is there.
    case extraTensor
  }

  /// The file.
  public let file: String
  /// The tensor, where the fault is one tensor's.
  public let tensor: String?
  /// What is wrong.
  public let problem: Problem
  /// What was found.
  public let found: String
  /// What is allowed.
  public let allowed: String

  init(file: String, tensor: String? = nil, _ problem: Problem, found: String, allowed: String) {
    self.file = file
    self.tensor = tensor
    self.problem = problem
    self.found = found
    self.allowed = allowed
  }

  init(file: String, tensor: String? = nil, _ error: FileError) {
    self.init(file: file, tensor: tensor, .file(error), found: error.reason, allowed: "")
  }

  /// Whether the machine is at fault (disk full, no permission), and not the file's content.
  public var isInputOutput: Bool { if case .file(let error) = problem { error.isInputOutput } else { false } }

  public var description: String {
    let place = tensor.map { "\(file): tensor \(Self.quoted($0))" } ?? file
    if case .file(let error) = problem { return tensor == nil ? error.description : "\(place): \(error.description)" }
    return "\(place): \(found); allowed: \(allowed)"
  }

  /// `name` in quotes, without control characters and not endless: names come from files that anyone may have written.
  static func quoted(_ name: String) -> String {
    name.count <= 120 ? name.debugDescription : String(name.prefix(120)).debugDescription + "…"
  }
}
