/// Reads the values of a table's entries, in any order.
///
/// Each thread has its own. It keeps at most 64 files open, and one buffer that grows to the largest entry read so far. An entry
/// that is no longer what the table says is an error, as is a file that has become shorter.
public final class KaldiReader {
  public let table: KaldiTable
  private var files = KaldiFileCache()
  private var buffer: [UInt8] = []

  /// A reader of the utterances of `table`.
  public init(_ table: KaldiTable) { self.table = table }

  /// Bytes of the buffer: those of the largest entry read so far.
  package var bufferBytes: Int { buffer.count }

  /// Reads matrix `index` of a table of matrices, as float32. Compressed values come out as `kaldiio` computes them.
  /// - values: row by row, exactly rows × columns of them.
  /// - Throws: `KaldiError`: `.entry` for what is damaged or has changed, `.notFinite`, and all that concerns opening and reading.
  ///   The values are unspecified then.
  public func readMatrix(_ index: Int, into values: inout MutableSpan<Float>) throws(KaldiError) {
    let entry = table.entries[index]
    precondition(table.content == .matrices, "the table is one of matrices")
    precondition(values.count == entry.rows * entry.columns, "there is room for exactly rows × columns values")
    let path = table.files[entry.file]
    // Not a copy: a second reference, so that its span does not depend on an access to this object.
    let bytes = try load(entry)
    do {
      try Self.decode(bytes.span.extracting(0..<entry.byteCount), entry, into: &values)
    } catch {
      throw error.error(file: path, key: entry.key, start: entry.offset)
    }
    for position in values.indices where !values[position].isFinite {
      throw .notFinite(file: path, key: entry.key, row: position / entry.columns, column: position % entry.columns)
    }
  }

  /// Reads vector `index` of a table of integers.
  /// - values: exactly as many as the entry has rows.
  /// - Throws: as `readMatrix`.
  public func readIntegers(_ index: Int, into values: inout MutableSpan<Int32>) throws(KaldiError) {
    let entry = table.entries[index]
    precondition(table.content == .integers, "the table is one of integers")
    precondition(values.count == entry.rows, "there is room for exactly the elements of the vector")
    // Not a copy: a second reference, so that its span does not depend on an access to this object.
    let bytes = try load(entry)
    do {
      try Self.decode(bytes.span.extracting(0..<entry.byteCount), entry, into: &values)
    } catch {
      throw error.error(file: table.files[entry.file], key: entry.key, start: entry.offset)
    }
  }

  /// The buffer, with the object's bytes at its start.
  private func load(_ entry: KaldiTable.Entry) throws(KaldiError) -> [UInt8] {
    let path = table.files[entry.file]
    let file = try table.file(entry.file, &files)
    // Before room is made for it: a table may come from another host.
    let available = max(0, file.size - entry.offset)
    var found = min(available, entry.byteCount)
    if found == entry.byteCount {
      if buffer.count < entry.byteCount { buffer = [UInt8](repeating: 0, count: entry.byteCount) }
      found = try file.read(at: entry.offset, count: entry.byteCount, into: &buffer)
    }
    guard found == entry.byteCount else {
      throw .entry(file: path, key: entry.key, offset: entry.offset, problem: .truncated(needed: entry.byteCount, found: found))
    }
    return buffer
  }

  private static func decode(
    _ bytes: borrowing Span<UInt8>, _ entry: KaldiTable.Entry, into values: inout MutableSpan<Float>
  ) throws(KaldiFault) {
    guard entry.format == .text else { return try header(bytes, entry, .matrices).decode(bytes, into: &values) }
    try readText(bytes, entry, .matrices) { (number, index) throws(KaldiFault) in
      guard let value = KaldiTextGrammar.float(number) else { return false }
      values[index] = value
      return true
    }
  }

  private static func decode(
    _ bytes: borrowing Span<UInt8>, _ entry: KaldiTable.Entry, into values: inout MutableSpan<Int32>
  ) throws(KaldiFault) {
    guard entry.format == .text else { return try header(bytes, entry, .integers).decode(bytes, into: &values) }
    try readText(bytes, entry, .integers) { (number, index) throws(KaldiFault) in
      guard let value = KaldiTextGrammar.integer(number) else { return false }
      values[index] = value
      return true
    }
  }

  /// The header, which is still that of the entry.
  private static func header(
    _ bytes: borrowing Span<UInt8>, _ entry: KaldiTable.Entry, _ content: KaldiTable.Content
  ) throws(KaldiFault) -> KaldiHeader {
    let header = try KaldiHeader(bytes, content: content)
    guard header.format == entry.format, header.rows == entry.rows, header.columns == entry.columns else {
      throw KaldiFault(offset: 0, problem: .changed)
    }
    return header
  }

  /// Hands every number of a text object to `store`, with its position; false says that it is none.
  private static func readText(
    _ bytes: borrowing Span<UInt8>, _ entry: KaldiTable.Entry, _ content: KaldiTable.Content,
    store: (_ number: [UInt8], _ index: Int) throws(KaldiFault) -> Bool
  ) throws(KaldiFault) {
    let changed = KaldiFault(offset: 0, problem: .changed)
    var text = KaldiTextGrammar(content)
    var count = 0
    for index in 0...bytes.count {
      if index < bytes.count && text.isFinished { throw changed }
      guard index < bytes.count ? try text.take(bytes[index]) : try text.end() else { continue }
      guard count < entry.rows * entry.columns else { throw changed }
      guard try store(text.number, count) else {
        let expected = content == .matrices ? "a number" : "an integer of 32 bits"
        let start = index - text.number.count
        throw KaldiFault(offset: start, problem: .notANumber(text: String(decoding: text.number, as: UTF8.self), expected: expected))
      }
      count += 1
    }
    guard text.rows == entry.rows, text.columns == entry.columns else { throw changed }
  }
}
