import Glibc
import SequenceData

/// What the program was doing when the operating system refused.
public enum FileOperation: String, Sendable, CaseIterable {
  case open, create, status, read, write, synchronize, close, truncate, rename, remove, list
  case makeDirectory = "make directory"
  case link, readLink = "read link"
}

/// A call to the operating system that failed: which, on which path, and why.
public struct FileError: Error, Equatable, Sendable, CustomStringConvertible {
  /// What was tried.
  public let operation: FileOperation
  /// The file or directory.
  public let path: String
  /// The value of `errno`.
  public let code: Int32
  /// What is there, where a regular file should be; nil where the system refused.
  public let found: String?

  /// Something that is no regular file.
  public init(_ operation: FileOperation, _ path: String, found: String) {
    self.operation = operation
    self.path = path
    code = 0
    self.found = found
  }

  /// An error of `operation` on `path` with the value `code` of `errno`.
  public init(_ operation: FileOperation, _ path: String, code: Int32) {
    self.operation = operation
    self.path = path
    self.code = code
    found = nil
  }

  /// The operating system's words for `code`, or what is there.
  public var reason: String {
    if let found { return "it is \(found), and not a regular file" }
    return unsafe String(cString: strerror(code))
  }

  /// Whether the machine is at fault (disk full, no permission, broken disk), and not the name that was given.
  public var isInputOutput: Bool {
    if found != nil { return false }
    return switch operation {
    case .open, .status, .readLink, .list: ![ENOENT, ENOTDIR, EISDIR, ELOOP, ENAMETOOLONG].contains(code)
    // A directory opens like a file and refuses to be read.
    case .read: code != EISDIR
    default: true
    }
  }

  public var description: String { "cannot \(operation.rawValue) \(path): \(reason)\(code == ENOENT ? remark(onPath: path) : "")" }
}
