/// An index over the matrices or the vectors of integers of a Kaldi archive: keys, places and sizes, never values.
///
/// Read are archives (`.ark`) and indices of them (`.scp`), in these formats: matrices `FM`, `DM`, `CM`, `CM2`, `CM3` and in text;
/// vectors of int32, binary and in text. Everything else (vectors of floats, sparse matrices, parts of matrices in brackets) is refused
/// with the reason. Keys may be there twice; `UtteranceSet` refuses that.
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

  /// Archives and indices as the user gave them.
  public let inputs: [String]
  public let content: Content
  /// Whether paths that end with `|` are commands, whose output is read.
  public let allowsCommands: Bool
  /// The files that hold the objects, by the paths they are opened with: the archives themselves, or those that an index names.
  public let files: [String]
  /// In the order of the archives and indices.
  public let entries: [Entry]
  /// How those among `files` are opened that the user has named.
  let archives = KaldiArchives()
  private let archivePaths: Set<ByteString>

  /// The inputs in words, for messages.
  public var path: String { names(of: inputs) }

  /// Indexes archives or reads indices. Headers are read and payloads are passed over; archives in text are read through once. The last line of
  ///   one may lack its end. What gzip has packed is unpacked to a temporary file.
  /// - paths: an index if it ends with `.scp` or `.scp.gz` or begins with `scp:`, else an archive; `ark:` before an archive is allowed.
  ///   Paths in an index are relative to the working directory, as in Kaldi; those that do not exist there are looked for
  ///   beside the index, so that a data set can be moved.
  /// - allowsCommands: whether a path, or a line of an index, may be a command before `|`, whose output is read.
  /// - Throws: `KaldiError` for what cannot be read: the first fault in the files.
  public init(paths: [String], content: Content, allowsCommands: Bool = false) throws(KaldiError) {
    var builder = KaldiTableBuilder(content, allowsCommands: allowsCommands)
    for path in paths {
      switch try KaldiSource(path, allowsCommands: allowsCommands) {
      case .archive(let file): try builder.scanArchive(file)
      case .index(let file): try builder.scanIndex(file)
      }
    }
    self.init(inputs: paths, content: content, allowsCommands: allowsCommands, files: builder.files, entries: builder.entries)
  }

  /// The same of one archive or index.
  public init(path: String, content: Content, allowsCommands: Bool = false) throws(KaldiError) {
    try self.init(paths: [path], content: content, allowsCommands: allowsCommands)
  }

  /// All files that it was made from and is read from, the indices among them.
  public var sources: [String] {
    inputs.compactMap { input in
      if case .index(let file)? = try? KaldiSource(input, allowsCommands: true) { file } else { nil }
    } + files
  }

  init(inputs: [String], content: Content, allowsCommands: Bool, files: [String], entries: [Entry]) {
    self.inputs = inputs
    self.content = content
    self.allowsCommands = allowsCommands
    self.files = files
    self.entries = entries
    archivePaths = Set(
      inputs.compactMap { input in
        if case .archive(let file)? = try? KaldiSource(input, allowsCommands: true) { ByteString(file) } else { nil }
      })
  }

  /// File `number`, through a reader's cache.
  /// - Throws: as `KaldiFile.init`.
  func file(_ number: Int, _ cache: inout KaldiFileCache) throws(KaldiError) -> KaldiFile {
    try cache.file(
      number, path: files[number], allowsCommands: allowsCommands, archives: archivePaths.contains(ByteString(files[number])) ? archives : nil)
  }

  /// Whether both have the same inputs, files and entries.
  public static func == (left: KaldiTable, right: KaldiTable) -> Bool {
    left.inputs == right.inputs && left.content == right.content && left.allowsCommands == right.allowsCommands && left.files == right.files && left.entries == right.entries
  }
}

/// Files in words: `a.ark`, or `a.ark and 2 others`.
package func names(of paths: [String]) -> String {
  switch paths.count {
  case 0, 1: paths.first ?? ""
  case 2: "\(paths[0]) and \(paths[1])"
  default: "\(paths[0]) and \(paths.count - 1) others"
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

  /// - allowsCommands: whether the path may be a command before `|`.
  /// - Throws: `KaldiError.stream`, `.commandNotAllowed`, `.options`.
  init(_ path: String, allowsCommands: Bool = false) throws(KaldiError) {
    for prefix in ["ark,", "scp,"] where path.hasPrefix(prefix) && path.contains(":") { throw .options(path: path) }
    let prefix = ["ark:", "scp:"].first { path.hasPrefix($0) }
    let file = String(path.dropFirst(prefix?.count ?? 0))
    if Self.isStream(file) { throw .stream(path: path) }
    if Self.isCommand(file) && !allowsCommands { throw .commandNotAllowed(path: path) }
    self = prefix == "scp:" || prefix == nil && Self.indexEnds.contains(where: file.hasSuffix) ? .index(file) : .archive(file)
  }

  private static let indexEnds = [".scp", ".scp.gz"]

  /// Whether Kaldi would read standard input or write to a command.
  static func isStream(_ path: String) -> Bool { path == "-" || path.hasPrefix("|") }

  /// Whether Kaldi would run a command and read its output.
  static func isCommand(_ path: String) -> Bool { path.hasSuffix("|") }
}
