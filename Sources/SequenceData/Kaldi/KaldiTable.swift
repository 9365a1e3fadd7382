/// An index over the matrices or the vectors of integers of a Kaldi archive: keys, places and sizes, never values.
///
/// Read are archives (`.ark`) and indices of them (`.scp`), in these formats: matrices `FM`, `DM`, `CM`, `CM2`, `CM3` and in text;
/// vectors of int32, binary and in text. Everything else (vectors of floats, sparse matrices, gzip, commands with `|`, parts of
/// matrices in brackets) is refused with the reason. Keys may be there twice; `UtteranceSet` refuses that.
public struct KaldiTable: Sendable, Equatable {
  /// What an archive holds.
  public enum Content: Sendable, Equatable { case matrices, integers }

  /// One matrix or vector.
  public struct Entry: Sendable, Equatable {
    public let key: String
    /// Rows, or elements of a vector.
    public let rows: Int
    /// 1 for integers.
    public let columns: Int
    /// The number of the file in `KaldiTable.files`.
    let file: Int
    /// Of the first byte behind the key and its space.
    let offset: Int
    /// From `offset` to the end of the object.
    let byteCount: Int
    let format: KaldiFormat

    /// The format's name: `FM`, `DM`, `CM`, `CM2`, `CM3`, `int32` or `text`.
    public var formatName: String { format.name }
  }

  /// As the user gave it.
  public let path: String
  public let content: Content
  /// The files that hold the objects, by the paths they are opened with: the archive itself, or those that the index names.
  public let files: [String]
  /// In the order of the archive or of the index.
  public let entries: [Entry]

  /// Indexes an archive or reads an index. Headers are read and payloads are passed over; archives in text are read through once. The last line of
  ///   one may lack its end.
  /// - path: an index if it ends with `.scp` or begins with `scp:`, else an archive; `ark:` before an archive is allowed.
  ///   Paths in an index are relative to the working directory, as in Kaldi; those that do not exist there are looked for
  ///   beside the index, so that a data set can be moved.
  /// - Throws: `KaldiError` for what cannot be read: the first fault in the file.
  public init(path: String, content: Content) throws(KaldiError) {
    var builder = KaldiTableBuilder(content)
    switch try KaldiSource(path) {
    case .archive(let file): try builder.scanArchive(file)
    case .index(let file): try builder.scanIndex(file)
    }
    self.init(path: path, content: content, files: builder.files, entries: builder.entries)
  }

  /// All files that it was made from and is read from, the index among them.
  public var sources: [String] {
    if case .index(let file)? = try? KaldiSource(path) { return [file] + files }
    return files
  }

  init(path: String, content: Content, files: [String], entries: [Entry]) {
    self.path = path
    self.content = content
    self.files = files
    self.entries = entries
  }
}

extension KaldiTable.Content: CustomStringConvertible {
  /// One object, in words.
  public var description: String { self == .matrices ? "a matrix" : "a vector of integers" }
}

/// What a path of the user's stands for.
enum KaldiSource: Equatable {
  case archive(String)
  case index(String)

  /// - Throws: `KaldiError.stream`, `.options`.
  init(_ path: String) throws(KaldiError) {
    for prefix in ["ark,", "scp,"] where path.hasPrefix(prefix) && path.contains(":") { throw .options(path: path) }
    let prefix = ["ark:", "scp:"].first { path.hasPrefix($0) }
    let file = String(path.dropFirst(prefix?.count ?? 0))
    if Self.isStream(file) { throw .stream(path: path) }
    self = prefix == "scp:" || prefix == nil && file.hasSuffix(".scp") ? .index(file) : .archive(file)
  }

  /// Whether Kaldi would read standard input or run a command.
  static func isStream(_ path: String) -> Bool { path == "-" || path.hasPrefix("|") || path.hasSuffix("|") }
}
