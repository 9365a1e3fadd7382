extension KaldiTable {
  /// Begins every serialized table; the digit changes with the layout.
  private static let mark = Array("LKT2".utf8)

  /// The table in few bytes: one rank makes it and sends it to the others.
  public func serialized() -> [UInt8] {
    var bytes = Self.mark
    func append(_ number: Int) {
      var rest = UInt(number)
      while rest >= 0x80 {
        bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
        rest >>= 7
      }
      bytes.append(UInt8(rest))
    }
    func append(_ text: String) {
      append(text.utf8.count)
      bytes.append(contentsOf: text.utf8)
    }
    append(inputs.count)
    for input in inputs { append(input) }
    append(content == .matrices ? 0 : 1)
    append(allowsCommands ? 1 : 0)
    append(files.count)
    for file in files { append(file) }
    append(entries.count)
    for entry in entries {
      append(entry.key)
      for number in [entry.rows, entry.columns, entry.file, entry.offset, entry.byteCount, Int(entry.format.rawValue)] { append(number) }
    }
    return bytes
  }

  /// The table that `serialized()` wrote. Whether the files hold what it says is checked when they are read.
  /// - Throws: `KaldiError.invalidTable`.
  public init(serialized bytes: [UInt8]) throws(KaldiError) {
    var input = Input(bytes)
    for byte in Self.mark {
      guard try input.byte() == byte else { throw .invalidTable(reason: "does not begin with LKT2") }
    }
    var inputs: [String] = []
    for _ in 0..<(try input.count(ofAtLeast: 1)) { inputs.append(try input.text()) }
    let content: Content = try input.number(below: 2) == 0 ? .matrices : .integers
    let allowsCommands = try input.number(below: 2) == 1
    var files: [String] = []
    for _ in 0..<(try input.count(ofAtLeast: 1)) { files.append(try input.text()) }
    var entries: [Entry] = []
    // A key of one byte with its length, and six numbers.
    let count = try input.count(ofAtLeast: 8)
    entries.reserveCapacity(count)
    for _ in 0..<count { entries.append(try input.entry(content: content, files: files.count)) }
    guard input.isAtEnd else { throw .invalidTable(reason: "\(bytes.count - input.position) bytes behind the last entry") }
    self.init(inputs: inputs, content: content, allowsCommands: allowsCommands, files: files, entries: entries)
  }

  /// Reads numbers and texts, with the checks that make what comes out a table.
  private struct Input {
    let bytes: [UInt8]
    private(set) var position = 0
    var isAtEnd: Bool { position == bytes.count }

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    mutating func byte() throws(KaldiError) -> UInt8 {
      guard position < bytes.count else { throw .invalidTable(reason: "ends at byte \(position)") }
      position += 1
      return bytes[position - 1]
    }

    /// Seven bits a byte, the lowest first; at most 63 bits.
    mutating func number(below limit: Int = .max) throws(KaldiError) -> Int {
      let start = position
      var number = 0
      for shift in stride(from: 0, to: 63, by: 7) {
        let byte = try byte()
        number |= Int(byte & 0x7F) << shift
        if byte < 0x80 {
          guard number < limit else { throw .invalidTable(reason: "\(number) at byte \(start), expected less than \(limit)") }
          return number
        }
      }
      throw .invalidTable(reason: "a number of more than 63 bits at byte \(start)")
    }

    /// A number of things that take `least` bytes each.
    mutating func count(ofAtLeast least: Int) throws(KaldiError) -> Int {
      let start = position
      let count = try number()
      guard count <= (bytes.count - position) / least else {
        throw .invalidTable(reason: "\(count) at byte \(start), expected no more than the \(bytes.count - position) bytes behind hold")
      }
      return count
    }

    mutating func text() throws(KaldiError) -> String {
      let count = try count(ofAtLeast: 1)
      let range = position..<position + count
      position = range.upperBound
      guard let text = String(validating: bytes[range], as: UTF8.self) else {
        throw .invalidTable(reason: "the text at byte \(range.lowerBound) is not UTF-8")
      }
      return text
    }

    mutating func entry(content: Content, files: Int) throws(KaldiError) -> Entry {
      let start = position
      let key = try text()
      let dimensions = Int(Int32.max) + 1
      let entry = Entry(
        key: key, rows: try number(below: dimensions), columns: try number(below: dimensions), file: try number(below: files),
        offset: try number(), byteCount: try number(), format: try format(content: content))
      guard (try? KaldiKey.key(key.utf8)) != nil else { throw .invalidTable(reason: "a bad key at byte \(start)") }
      let isShape = content == .integers ? entry.columns == 1 : (entry.rows == 0) == (entry.columns == 0)
      guard isShape, Self.isLarge(entry), entry.byteCount <= Int.max - entry.offset else {
        throw .invalidTable(reason: "sizes of \(key.debugDescription) that cannot be")
      }
      return entry
    }

    private mutating func format(content: Content) throws(KaldiError) -> KaldiFormat {
      let start = position
      guard let format = KaldiFormat(rawValue: UInt8(try number(below: 256))),
        format == .text || (format == .integers) == (content == .integers)
      else { throw .invalidTable(reason: "a format at byte \(start) that is not one of \(content)") }
      return format
    }

    /// Whether the object takes the bytes that its values need: who makes room for the values then never makes more than files justify.
    private static func isLarge(_ entry: Entry) -> Bool {
      if entry.format != .text { return entry.byteCount == entry.format.byteCount(rows: entry.rows, columns: entry.columns) }
      // A character each, and one between them; the last may end with the file.
      let (values, overflow) = entry.rows.multipliedReportingOverflow(by: entry.columns)
      return !overflow && values <= entry.byteCount / 2 + entry.byteCount % 2
    }
  }
}
