/// Reads the events of a `metrics.jsonl` one after the other, while it is perhaps still being written.
public struct MetricsReader: ~Copyable {
  /// Longest line that is read, in bytes.
  public static let maximumLineBytes = 1 << 24

  /// The file.
  public let path: String
  /// Lines read so far.
  public private(set) var line = 0

  private let file: PosixFile
  private var offset = 0
  /// What was read from the file and not yet given out.
  private var buffer: [UInt8] = []
  private var start = 0

  /// Opens the file.
  /// - Throws: `MetricsError`.
  public init(path: String) throws(MetricsError) {
    do { file = try PosixFile(path, .read) } catch { throw MetricsError(path, .file(error)) }
    self.path = path
  }

  /// Bytes of a last line that has no end; known when `next` has returned nil.
  public var tornBytes: Int { buffer.count - start }

  /// The next event, or nil at the end. A last line without an end is no event: it is being written, or a kill tore it.
  /// - Throws: `MetricsError` that names the line if it is not an event.
  public mutating func next() throws(MetricsError) -> MetricsEvent? {
    var searched = start
    while true {
      if let end = buffer[searched...].firstIndex(of: UInt8(ascii: "\n")) {
        let bytes = Array(buffer[start..<end])
        start = end + 1
        line += 1
        do {
          return try MetricsEvent(parsing: bytes)
        } catch { throw MetricsError(path, line: line, .line("byte \(error.offset): \(error.message)")) }
      }
      guard buffer.count - start <= Self.maximumLineBytes else {
        throw MetricsError(path, line: line + 1, .lineTooLong(allowed: Self.maximumLineBytes))
      }
      buffer.removeFirst(start)
      start = 0
      searched = buffer.count
      if try !fill() { return nil }
    }
  }

  /// All remaining events.
  /// - Throws: `MetricsError`.
  public mutating func remaining() throws(MetricsError) -> [MetricsEvent] {
    var events: [MetricsEvent] = []
    while let event = try next() { events.append(event) }
    return events
  }

  /// Reads on in the file; false at its end.
  private mutating func fill() throws(MetricsError) -> Bool {
    var piece = [UInt8](repeating: 0, count: 1 << 16)
    do {
      let count = try file.read(into: &piece, at: offset)
      offset += count
      buffer += piece[..<count]
      return count > 0
    } catch { throw MetricsError(path, .file(error)) }
  }
}
