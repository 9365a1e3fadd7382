/// A JSON value that keeps the order of keys and tells integers from other numbers.
///
/// JSON has no number for NaN and the infinities: a double that is not finite is written as `null`.
public enum JSONValue: Equatable, Sendable {
  case null
  case boolean(Bool)
  case integer(Int)
  /// An integer past `Int.max`: seeds may be.
  case unsigned(UInt64)
  case double(Double)
  case string(String)
  case array([JSONValue])
  case object([JSONField])

  /// An integer of either kind.
  public static func integer(_ value: UInt64) -> JSONValue {
    Int(exactly: value).map { .integer($0) } ?? .unsigned(value)
  }

  /// The number, integer or not; nil if this is none.
  public var number: Double? {
    switch self {
    case .integer(let value): Double(value)
    case .unsigned(let value): Double(value)
    case .double(let value): value
    default: nil
    }
  }

  /// The integer; nil if this is none.
  public var integer: Int? { if case .integer(let value) = self { value } else { nil } }

  /// The string; nil if this is none.
  public var string: String? { if case .string(let value) = self { value } else { nil } }

  /// The text: one line, doubles with the fewest digits that read back the same.
  public var text: String {
    var text = ""
    append(to: &text)
    return text
  }

  private func append(to text: inout String) {
    switch self {
    case .null: text += "null"
    case .boolean(let value): text += value ? "true" : "false"
    case .integer(let value): text += "\(value)"
    case .unsigned(let value): text += "\(value)"
    case .double(let value): text += value.isFinite ? value.description : "null"
    case .string(let value): Self.append(value, to: &text)
    case .array(let values):
      text += "["
      for (index, value) in values.enumerated() {
        if index > 0 { text += "," }
        value.append(to: &text)
      }
      text += "]"
    case .object(let fields):
      text += "{"
      for (index, field) in fields.enumerated() {
        if index > 0 { text += "," }
        Self.append(field.name, to: &text)
        text += ":"
        field.value.append(to: &text)
      }
      text += "}"
    }
  }

  /// Appends `string` in quotes.
  static func append(_ string: String, to text: inout String) {
    text += "\""
    for scalar in string.unicodeScalars {
      switch scalar {
      case "\"": text += "\\\""
      case "\\": text += "\\\\"
      case "\n": text += "\\n"
      case "\r": text += "\\r"
      case "\t": text += "\\t"
      case _ where scalar.value < 0x20:
        text += scalar.value < 0x10 ? "\\u000" : "\\u00"
        text += String(scalar.value, radix: 16)
      default: text.unicodeScalars.append(scalar)
      }
    }
    text += "\""
  }
}

/// A key of a JSON object with its value.
public struct JSONField: Equatable, Sendable {
  /// The key.
  public var name: String
  /// The value.
  public var value: JSONValue

  /// A key with its value.
  public init(_ name: String, _ value: JSONValue) {
    self.name = name
    self.value = value
  }
}

extension JSONValue {
  /// Deepest nesting that is read.
  private static let maximumDepth = 64

  /// Reads `bytes`, which must hold one value and nothing else.
  package init(parsing bytes: [UInt8]) throws(JSONCursor.Failure) {
    var cursor = JSONCursor(bytes)
    self = try Self.read(&cursor, depth: 0)
    guard cursor.peek() == nil else { throw cursor.failure("bytes after the value") }
  }

  private static func read(_ cursor: inout JSONCursor, depth: Int) throws(JSONCursor.Failure) -> JSONValue {
    if depth > maximumDepth { throw cursor.failure("nested more than \(maximumDepth) deep") }
    switch cursor.peek() {
    case UInt8(ascii: "{"): return try .object(readFields(&cursor, depth: depth))
    case UInt8(ascii: "["): return try .array(readElements(&cursor, depth: depth))
    case UInt8(ascii: "\""): return try .string(cursor.string())
    default: break
    }
    if cursor.skip(word: "null") { return .null }
    if cursor.skip(word: "true") { return .boolean(true) }
    if cursor.skip(word: "false") { return .boolean(false) }
    return try read(cursor.number(), cursor)
  }

  private static func read(_ number: JSONCursor.Number, _ cursor: JSONCursor) throws(JSONCursor.Failure) -> JSONValue {
    if number.isInteger && number.text != "-0" {
      if let value = Int(number.text) { return .integer(value) }
      if let value = UInt64(number.text) { return .unsigned(value) }
    }
    guard let value = Double(number.text), value.isFinite else { throw cursor.failure("a number out of range") }
    return .double(value)
  }

  private static func readFields(_ cursor: inout JSONCursor, depth: Int) throws(JSONCursor.Failure) -> [JSONField] {
    try cursor.expect("{")
    var fields: [JSONField] = []
    var names: Set<String> = []
    if cursor.skip("}") { return fields }
    repeat {
      let name = try cursor.string()
      if !names.insert(name).inserted { throw cursor.failure("the key \"\(name)\" a second time") }
      try cursor.expect(":")
      fields.append(JSONField(name, try read(&cursor, depth: depth + 1)))
    } while cursor.skip(",")
    try cursor.expect("}")
    return fields
  }

  private static func readElements(_ cursor: inout JSONCursor, depth: Int) throws(JSONCursor.Failure) -> [JSONValue] {
    try cursor.expect("[")
    var values: [JSONValue] = []
    if cursor.skip("]") { return values }
    repeat { values.append(try read(&cursor, depth: depth + 1)) } while cursor.skip(",")
    try cursor.expect("]")
    return values
  }
}
