import Glibc

/// Writes float32 matrices as a binary archive (`FM`), and beside it an index of it: `x.ark` and `x.scp`.
///
/// Both are written under temporary names; `finish()` syncs them and gives them their own. A writer that ends without it leaves
/// nothing behind. Values are written as they are, finite or not.
public struct KaldiMatrixWriter: ~Copyable {
  private let path: String
  private let archive: PendingFile
  private let index: PendingFile

  /// Begins an archive, which takes the place of one that is there when it is finished.
  /// - path: the archive's, which the index holds as it is given. The index ends with `.scp` instead of `.ark`.
  /// - inputs: files that are still needed, in whose place nothing may come.
  /// - Throws: `KaldiError.outputPath` for a path that an index cannot hold and for one of `inputs`, `.cannotWrite`.
  public init(path: String, keeping inputs: [String] = []) throws(KaldiError) {
    if let problem = Self.problem(of: path) { throw .outputPath(path: path, problem: problem) }
    let stem = path.hasSuffix(".ark") ? String(path.dropLast(4)) : path
    // Now, not when everything has been computed.
    for output in [path, stem + ".scp"] { try Self.checkReplaceable(output, inputs) }
    let archive = try PendingFile(path: path)
    let index = try PendingFile(path: stem + ".scp")
    self.path = path
    self.archive = archive
    self.index = index
  }

  /// Appends a matrix.
  /// - values: row by row, exactly rows × columns; rows without columns, or columns without rows, are no matrix.
  /// - Throws: `KaldiError.key` for an empty key, or one with white space or control characters, or more than 4096 bytes; `.cannotWrite`.
  public mutating func write(key: String, rows: Int, columns: Int, values: Span<Float>) throws(KaldiError) {
    precondition(rows >= 0 && columns >= 0 && (rows == 0) == (columns == 0), "a matrix has rows and columns, or neither")
    precondition(max(rows, columns) <= Int(Int32.max), "dimensions are written as int32")
    precondition(values.count == rows * columns, "exactly rows × columns values")
    do {
      _ = try KaldiKey.key(Array(key.utf8))
    } catch {
      throw .key(file: path, offset: nil, problem: error)
    }
    try archive.append(Array("\(key) ".utf8))
    let offset = archive.count
    try archive.append(Array("\0BFM ".utf8))
    for dimension in [rows, columns] {
      try archive.append([4])
      try archive.append(littleEndian: UInt32(dimension))
    }
    for position in values.indices { try archive.append(littleEndian: values[position].bitPattern) }
    try index.append(Array("\(key) \(path):\(offset)\n".utf8))
  }

  /// Makes the archive and the index whole: synced, and under their names.
  /// - Throws: `KaldiError.cannotWrite`; what is not finished then is removed.
  public consuming func finish() throws(KaldiError) {
    try archive.synchronize()
    try index.synchronize()
    // The archive first: an index is never there without it.
    try archive.commit()
    try index.commit()
  }

  /// Whether a file at `path` may be replaced.
  private static func checkReplaceable(_ path: String, _ inputs: [String]) throws(KaldiError) {
    guard let status = FileStatus(path) else { return }
    switch status.kind {
    case S_IFREG: break
    case S_IFDIR: throw .cannotWrite(file: path, reason: systemMessage(EISDIR))
    default: throw .outputPath(path: path, problem: "neither a file nor free for one")
    }
    if inputs.contains(where: { FileStatus($0)?.isSameFile(as: status) ?? false }) {
      throw .outputPath(path: path, problem: "one of the files that are read")
    }
  }

  /// Why an index could not hold the path, or another program not read it.
  private static func problem(of path: String) -> String? {
    if path.isEmpty { return "no name" }
    if path.hasSuffix(".scp") { return "the name of an index" }
    if path.hasSuffix("/") { return "the name of a directory" }
    if path.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) { return "control characters in the name" }
    if path.hasPrefix(" ") { return "begins with a space" }
    if path == "-" || path.hasPrefix("|") || path.hasPrefix("ark:") || path.hasPrefix("ark,") { return "not a path of a file" }
    return nil
  }
}
