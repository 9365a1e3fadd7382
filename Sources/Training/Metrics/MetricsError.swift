/// A metrics file that cannot be written or read: which file, which line, and why.
public struct MetricsError: Error, Equatable, Sendable, CustomStringConvertible {
  /// What is wrong.
  public enum Problem: Equatable, Sendable {
    /// The operating system refused.
    case file(FileError)
    /// A line is not an event.
    case line(String)
    /// A line has more bytes than are read.
    case lineTooLong(allowed: Int)
  }

  /// The file.
  public let file: String
  /// The line, from 1, where the fault is one line's.
  public let line: Int?
  /// What is wrong.
  public let problem: Problem

  init(_ file: String, line: Int? = nil, _ problem: Problem) {
    self.file = file
    self.line = line
    self.problem = problem
  }

  /// Whether the machine is at fault (disk full, no permission), and not the file's content.
  public var isInputOutput: Bool { if case .file(let error) = problem { error.isInputOutput } else { false } }

  public var description: String {
    let place = line.map { "\(file), line \($0)" } ?? file
    return switch problem {
    case .file(let error): error.description
    case .line(let reason): "\(place): not an event: \(reason)"
    case .lineTooLong(let allowed): "\(place): more than \(allowed) bytes, the longest line that is read"
    }
  }
}
