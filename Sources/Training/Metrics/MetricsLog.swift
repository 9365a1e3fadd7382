/// Appends events to `metrics.jsonl`, each as one line in one write, so that whoever follows the file sees whole lines at once.
public struct MetricsLog: ~Copyable {
  /// The file.
  public let path: String
  /// Bytes of a line without end, left by a run that was killed while writing it, that were cut off when the file was opened.
  public let tornBytes: Int

  private var file: PosixFile
  private var bytes: Int
  // Whether a part of a line that could not be written may still stand at the end.
  private var isTorn = false

  /// Opens the file to append, or makes it. A last line without an end is cut off.
  /// - Throws: `MetricsError`.
  public init(path: String) throws(MetricsError) { try self.init(path: path, system: FileSystem()) }

  package init(path: String, system: FileSystem) throws(MetricsError) {
    do {
      let file = try PosixFile(path, .append, system: system)
      let size = try file.status().bytes, end = try Self.endOfLastLine(file, bytes: size)
      if end < size { try file.truncate(to: end) }
      self.path = path
      self.file = file
      bytes = end
      tornBytes = size - end
    } catch { throw MetricsError(path, .file(error)) }
  }

  /// Appends one event; when this returns the operating system has the line.
  /// - Throws: `MetricsError`; what was written of the line is then taken back.
  public mutating func append(_ event: MetricsEvent) throws(MetricsError) {
    let line = Array(event.line.utf8) + [UInt8(ascii: "\n")]
    do {
      if isTorn { try file.truncate(to: bytes) }
      isTorn = false
      try unsafe file.write(line.span.bytes)
    } catch {
      // The first error is the one to report. What cannot be cut off now is cut off before the next line, or when the file is next opened.
      isTorn = true
      if (try? file.truncate(to: bytes)) != nil { isTorn = false }
      throw MetricsError(path, .file(error))
    }
    bytes += line.count
  }

  /// Waits until all lines are on the disk.
  /// - Throws: `MetricsError`.
  public func synchronize() throws(MetricsError) {
    do { try file.synchronize() } catch { throw MetricsError(path, .file(error)) }
  }

  /// The byte after the last line end; 0 if there is none.
  private static func endOfLastLine(_ file: borrowing PosixFile, bytes: Int) throws(FileError) -> Int {
    var end = bytes
    while end > 0 {
      let start = max(0, end - 1 << 16)
      var piece = [UInt8](repeating: 0, count: end - start)
      let count = try file.read(into: &piece, at: start)
      if let last = piece[..<count].lastIndex(of: UInt8(ascii: "\n")) { return start + last + 1 }
      end = start
    }
    return 0
  }
}
