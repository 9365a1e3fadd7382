/// How a matrix or vector is written. All numbers are little-endian.
enum KaldiFormat: UInt8, Sendable {
  /// `FM`: float32, row by row.
  case float
  /// `DM`: float64, row by row.
  case double
  /// `CM`: one byte a value, column by column, between four percentiles of its column.
  case percentiles
  /// `CM2`: two bytes a value, row by row, in equal steps.
  case twoBytes
  /// `CM3`: one byte a value, row by row, in equal steps.
  case oneByte
  /// Each element an int32 with its size in a byte before.
  case integers
  /// Numbers in words, of a matrix or a vector.
  case text

  /// Binary matrices by the word that begins them.
  static let matrices: [(token: String, format: KaldiFormat)] = [
    ("FM", .float), ("DM", .double), ("CM", .percentiles), ("CM2", .twoBytes), ("CM3", .oneByte),
  ]

  /// From the bytes 00 42 up to the numbers; for `percentiles` up to those of the columns. 0 for text.
  var headerBytes: Int {
    switch self {
    case .float, .double: 2 + 3 + 2 * 5
    case .percentiles: 2 + 3 + 4 * 4
    case .twoBytes, .oneByte: 2 + 4 + 4 * 4
    case .integers: 2 + 5
    case .text: 0
    }
  }

  /// The whole of a binary object, header included; nil if that is more than an `Int` holds.
  func byteCount(rows: Int, columns: Int) -> Int? {
    let valueBytes =
      switch self {
      case .double: 8
      case .float: 4
      case .twoBytes: 2
      case .percentiles, .oneByte: 1
      case .integers: 5
      case .text: preconditionFailure("text has no fixed size")
      }
    let (values, overflow) = rows.multipliedReportingOverflow(by: columns)
    let (bytes, overflowBytes) = values.multipliedReportingOverflow(by: valueBytes)
    // No overflow: dimensions are less than 2^31.
    let columnBytes = self == .percentiles ? 8 * columns : 0
    let (total, overflowTotal) = bytes.addingReportingOverflow(headerBytes + columnBytes)
    return overflow || overflowBytes || overflowTotal ? nil : total
  }

  /// The name that users know.
  var name: String {
    Self.matrices.first { $0.format == self }?.token ?? (self == .text ? "text" : "int32")
  }
}

/// A fault at `offset` from the start of an object; who knows the file and the key makes a `KaldiError` of it.
struct KaldiFault: Error {
  let offset: Int
  let problem: KaldiError.EntryProblem

  func error(file: String, key: String, start: Int) -> KaldiError {
    .entry(file: file, key: key, offset: start + offset, problem: problem)
  }
}

/// What stands before the numbers of a binary object.
struct KaldiHeader: Equatable {
  /// No header is longer.
  static let longest = 22
  let format: KaldiFormat
  let rows: Int
  /// 1 for integers.
  let columns: Int
  /// Of the whole object, header included.
  let byteCount: Int

  /// - bytes: those from the start of the object on, at least `longest` of them unless the file ends before.
  /// - Throws: a fault for what is no object of `content`. That the file holds the numbers is not checked.
  init(_ bytes: borrowing Span<UInt8>, content: KaldiTable.Content) throws(KaldiFault) {
    let start = Self.prefix(bytes, longest: Self.longest)
    guard start.count < 2 || start[0] == 0 && start[1] == UInt8(ascii: "B") else {
      throw KaldiFault(offset: 0, problem: .unrecognized(found: Array(start.prefix(8)), expected: content))
    }
    guard start.count > 2 else { throw KaldiFault(offset: 0, problem: .truncated(needed: 3, found: start.count)) }
    format = try Self.format(start, content: content)
    let numbers = format.headerBytes - Self.dimensionBytes(format)
    guard start.count >= format.headerBytes else {
      throw KaldiFault(offset: 0, problem: .truncated(needed: format.headerBytes, found: start.count))
    }
    switch format {
    case .integers:
      rows = try Self.sizedInteger(start, at: numbers)
      columns = 1
    case .float, .double:
      rows = try Self.sizedInteger(start, at: numbers)
      columns = try Self.sizedInteger(start, at: numbers + 5)
    case .percentiles, .twoBytes, .oneByte:
      // The minimum and the range stand before.
      rows = Int(littleEndian32(start.span, at: numbers + 8))
      columns = Int(littleEndian32(start.span, at: numbers + 12))
    case .text: preconditionFailure("text has no header")
    }
    let isPossible = rows >= 0 && columns >= 0 && (content == .integers || (rows == 0) == (columns == 0))
    guard isPossible, let byteCount = format.byteCount(rows: rows, columns: columns) else {
      throw KaldiFault(offset: numbers, problem: .dimensions(rows: rows, columns: columns))
    }
    self.byteCount = byteCount
  }

  private static func prefix(_ bytes: borrowing Span<UInt8>, longest: Int) -> [UInt8] {
    var prefix: [UInt8] = []
    for index in 0..<min(bytes.count, longest) { prefix.append(bytes[index]) }
    return prefix
  }

  private static func dimensionBytes(_ format: KaldiFormat) -> Int {
    switch format {
    case .integers: 5
    case .float, .double: 10
    case .percentiles, .twoBytes, .oneByte: 16
    case .text: 0
    }
  }

  private static func format(_ start: [UInt8], content: KaldiTable.Content) throws(KaldiFault) -> KaldiFormat {
    if start[2] == 4 {
      if content == .integers { return .integers }
      throw KaldiFault(offset: 2, problem: .wrongType(found: "a vector of integers", expected: content))
    }
    let token = start[2...].prefix { $0 > 0x20 && $0 < 0x7F }
    let isWord = !token.isEmpty && start.count > token.endIndex && start[token.endIndex] == 0x20
    // Too little is left to tell.
    if !isWord, token.endIndex == start.count {
      throw KaldiFault(offset: 0, problem: .truncated(needed: start.count + 1, found: start.count))
    }
    let name = String(decoding: token, as: UTF8.self)
    if isWord, content == .matrices, let known = KaldiFormat.matrices.first(where: { $0.token == name }) { return known.format }
    guard isWord else {
      if content == .integers { throw KaldiFault(offset: 2, problem: .wrongSize(found: start[2])) }
      throw KaldiFault(offset: 2, problem: .unrecognized(found: Array(start.prefix(8)), expected: content))
    }
    let words =
      switch name {
      case "FV", "DV": "a vector of floating-point numbers (\(name))"
      case "FM", "DM", "CM", "CM2", "CM3": "a matrix (\(name))"
      default: "an object of type \(name.debugDescription)"
      }
    throw KaldiFault(offset: 2, problem: .wrongType(found: words, expected: content))
  }

  /// An int32 behind a byte that says 4.
  private static func sizedInteger(_ start: [UInt8], at offset: Int) throws(KaldiFault) -> Int {
    guard start[offset] == 4 else { throw KaldiFault(offset: offset, problem: .wrongSize(found: start[offset])) }
    return Int(littleEndian32(start.span, at: offset + 1))
  }
}

/// The int32 at `offset`.
@inline(__always)
func littleEndian32(_ bytes: borrowing Span<UInt8>, at offset: Int) -> Int32 {
  let low = UInt32(bytes[offset]) | UInt32(bytes[offset + 1]) << 8
  let high = UInt32(bytes[offset + 2]) | UInt32(bytes[offset + 3]) << 8
  return Int32(bitPattern: low | high << 16)
}
