import Yams

/// What stands in YAML at the place of a value, before a key gives it a type.
package enum ConfigurationValue: Equatable, Sendable {
  case null
  case boolean(Bool)
  case integer(Int128)
  /// - written: as it stands in the file; nil for a number of the program's.
  case number(Double, written: String? = nil)
  case text(String)
  /// A mapping of names to plain values.
  case record([Field])
  /// A list of plain values.
  case list([ConfigurationValue])
  /// What no key takes (a list of lists, say), in words.
  case other(String)

  package struct Field: Equatable, Sendable {
    var name: String
    var value: ConfigurationValue
    var line: Int?
  }
}

// MARK: From YAML

extension ConfigurationValue {
  init(_ node: Node) {
    switch node {
    case .scalar(let scalar): self.init(scalar)
    case .mapping(let mapping): self.init(mapping)
    case .sequence(let sequence): self.init(sequence)
    case .alias: self = .other("an alias")
    }
  }

  private init(_ sequence: Node.Sequence) {
    var values: [ConfigurationValue] = []
    for node in sequence {
      guard case .scalar(let scalar) = node else {
        self = .other("a nested mapping or list")
        return
      }
      values.append(Self(scalar))
    }
    self = .list(values)
  }

  private init(_ mapping: Node.Mapping) {
    var fields: [Field] = []
    for (key, node) in mapping {
      guard case .scalar(let name) = key else {
        self = .other("a mapping whose key is no word")
        return
      }
      // No key nests deeper than one record, and going down without end would let aliases grow exponentially.
      let value: Self =
        switch node {
        case .scalar(let scalar): Self(scalar)
        case .sequence(let sequence): Self(sequence)
        default: .other("a nested mapping or list")
        }
      fields.append(Field(name: name.string, value: value, line: key.mark?.line))
    }
    self = .record(fields)
  }

  private init(_ scalar: Node.Scalar) {
    let tag = scalar.tag.description
    let isPlain = scalar.style == .plain || scalar.style == .any
    if isPlain && tag.isEmpty {
      self.init(plain: scalar.string)
    } else if !isPlain && (tag.isEmpty || tag == "tag:yaml.org,2002:str") {
      self = .text(scalar.string)
    } else {
      self = .other("a value with the tag \(abbreviated(tag))")
    }
  }

  /// An unquoted scalar by the core schema of YAML 1.2: `1e-5` is a number, `yes` is text, and `010`, which was octal
  /// once, is text too.
  package init(plain text: String) {
    switch text {
    case "", "~", "null", "Null", "NULL": self = .null
    case "true", "True", "TRUE": self = .boolean(true)
    case "false", "False", "FALSE": self = .boolean(false)
    case ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF": self = .number(.infinity)
    case "-.inf", "-.Inf", "-.INF": self = .number(-.infinity)
    case ".nan", ".NaN", ".NAN": self = .number(.nan)
    default:
      switch NumberForm(text) {
      case .integer: self = Int128(text).map { .integer($0) } ?? .number(Double(text) ?? .infinity, written: text)
      case .decimal: self = .number(Double(text) ?? .infinity, written: text)
      case nil: self = .text(text)
      }
    }
  }
}

extension ConfigurationValue {
  /// The whole number that this is in any notation: `32`, `32.0`, `3.2e1`. Nil for anything else, and past 38 digits.
  var integer: Int128? {
    switch self {
    case .integer(let integer): integer
    case .number(_, let written?): NumberForm(written)?.whole
    default: nil
    }
  }
}

/// The whole number that a text is, as a configuration reads it: `32`, `32.0`, `3.2e1`. Nil for anything else.
public func wholeNumber(_ text: String) -> Int128? { ConfigurationValue(plain: text).integer }

/// The two ways of writing a number: `[-+]?(0|[1-9][0-9]*)` and the same with point, digits or exponent.
private enum NumberForm {
  case integer
  /// - whole: the number, if it is one without a fraction.
  case decimal(whole: Int128?)

  var whole: Int128? {
    if case .decimal(let whole) = self { return whole }
    return nil
  }

  init?(_ text: String) {
    var rest = Substring(text).utf8
    func takeSign() -> String {
      guard let first = rest.first, first == UInt8(ascii: "-") || first == UInt8(ascii: "+") else { return "" }
      rest.removeFirst()
      return first == UInt8(ascii: "-") ? "-" : ""
    }
    func takeDigits() -> Substring.UTF8View {
      let digits = rest.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
      rest.removeFirst(digits.count)
      return digits
    }
    let sign = takeSign(), whole = takeDigits()
    if whole.count > 1 && whole.first == UInt8(ascii: "0") { return nil }
    if rest.isEmpty {
      guard !whole.isEmpty else { return nil }
      self = .integer
      return
    }
    var fraction = "".utf8[...], exponent = 0
    if rest.first == UInt8(ascii: ".") {
      rest.removeFirst()
      fraction = takeDigits()
    }
    guard whole.count + fraction.count > 0 else { return nil }
    if let first = rest.first, first == UInt8(ascii: "e") || first == UInt8(ascii: "E") {
      rest.removeFirst()
      let sign = takeSign(), digits = takeDigits()
      guard !digits.isEmpty else { return nil }
      exponent = Int(sign + String(Substring(digits))) ?? .max
    }
    guard rest.isEmpty else { return nil }
    self = .decimal(whole: Self.whole(sign, String(Substring(whole)) + String(Substring(fraction)), fraction.count, exponent))
  }

  /// `digits · 10^(exponent − places)`, where that is whole and has at most 38 digits.
  private static func whole(_ sign: String, _ digits: String, _ places: Int, _ exponent: Int) -> Int128? {
    let significant = digits.drop { $0 == "0" }
    let zeros = significant.reversed().prefix { $0 == "0" }.count
    if significant.isEmpty { return 0 }
    let (power, overflows) = exponent.subtractingReportingOverflow(places - zeros)
    guard !overflows, power >= 0, power <= 38 else { return nil }
    return Int128(sign + significant.dropLast(zeros) + String(repeating: "0", count: power))
  }
}

// MARK: To YAML

extension ConfigurationValue {
  /// The value as YAML on one line, such that it reads back equal.
  package var yaml: String {
    switch self {
    case .null: return "null"
    case .boolean(let value): return value ? "true" : "false"
    case .integer(let value): return "\(value)"
    case .number(let value, let written): return written ?? Self.yaml(value)
    case .text(let value): return Self.yaml(value)
    case .record(let fields):
      return "{" + fields.map { "\(Self.yaml($0.name)): \($0.value.yaml)" }.joined(separator: ", ") + "}"
    case .list(let values): return "[" + values.map(\.yaml).joined(separator: ", ") + "]"
    case .other(let words): return words
    }
  }

  /// The value in a message: as YAML, but text is always in quotes, and nothing is long.
  var spelledOut: String {
    switch self {
    case .text(let value): "\"\(abbreviated(value))\""
    case .null: "nothing (null)"
    case .list(let values): values.isEmpty ? "an empty list" : "a list"
    default: abbreviated(yaml)
    }
  }

  /// The fewest digits that read back the same double; whole numbers without `.0`.
  private static func yaml(_ value: Double) -> String {
    if value.isNaN { return ".nan" }
    if value.isInfinite { return value < 0 ? "-.inf" : ".inf" }
    let text = value.description
    return text.hasSuffix(".0") && text != "-0.0" ? String(text.dropLast(2)) : text
  }

  private static func yaml(_ text: String) -> String {
    let isPlainWord =
      text.unicodeScalars.allSatisfy {
        $0.isASCII && ($0.properties.isAlphabetic || "0123456789_./+-".unicodeScalars.contains($0))
      }
      && !text.hasPrefix("-") && Self(plain: text) == .text(text)
    if isPlainWord { return text }
    var quoted = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": quoted += "\\\""
      case "\\": quoted += "\\\\"
      case " "..."~": quoted.unicodeScalars.append(scalar)
      default:
        if scalar.properties.isAlphabetic {
          quoted.unicodeScalars.append(scalar)
        } else {
          let digits = String(scalar.value, radix: 16)
          quoted += "\\U" + String(repeating: "0", count: 8 - digits.count) + digits
        }
      }
    }
    return quoted + "\""
  }
}
