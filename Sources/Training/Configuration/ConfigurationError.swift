/// What is wrong with a configuration: where it stands, what was found and what is allowed.
public struct ConfigurationError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The kinds of mistake.
  public enum Reason: Equatable, Sendable {
    /// The file is missing, cannot be read, or is no text.
    case unreadable
    /// Not YAML, or not of the form `KEY=VALUE`.
    case syntax
    case duplicateKey
    case unknownKey
    /// A required key is not there.
    case missingKey
    case wrongType
    case outOfRange
    /// Keys that are each allowed, but not together.
    case conflict
  }

  public var reason: Reason
  /// The configuration file; nil for a configuration that is in memory only.
  public var file: String?
  /// Counted from 1; nil where no single line is to blame.
  public var line: Int?
  /// The `KEY=VALUE` of the `--set` that is to blame, instead of a line of the file.
  public var override: String?
  /// The dotted path of the key.
  public var key: String?
  /// What was found, or, where that is not a value, what is wrong.
  public var found: String
  /// What would be right.
  public var allowed: String?
  /// The known key that an unknown one most resembles.
  public var nearest: String?

  /// A mistake of kind `reason`, with as much of its place as is known.
  public init(
    _ reason: Reason, file: String? = nil, line: Int? = nil, override: String? = nil, key: String? = nil,
    found: String, allowed: String? = nil, nearest: String? = nil
  ) {
    self.reason = reason
    self.file = file
    self.line = line
    self.override = override
    self.key = key
    self.found = found
    self.allowed = allowed
    self.nearest = nearest
  }

  /// One line: `FILE:LINE: KEY: found …; allowed: …`.
  public var description: String {
    var parts: [String] = []
    if let override {
      parts.append("--set \(abbreviated(override))")
    } else if let file {
      parts.append(abbreviated(file, limit: 1024) + (line.map { ":\($0)" } ?? ""))
    }
    if let key { parts.append(abbreviated(key)) }
    var message = found
    if let allowed { message += "; allowed: \(allowed)" }
    if let nearest { message += "; the nearest known key is \(nearest)" }
    parts.append(message)
    return parts.joined(separator: ": ")
  }
}

/// Text of unknown origin made fit for one line of a message: characters that cannot be seen as `\u{…}`, the tail cut.
func abbreviated(_ text: String, limit: Int = 80) -> String {
  var result = ""
  for (index, scalar) in text.unicodeScalars.enumerated() {
    if index == limit { return result + "…" }
    switch scalar.properties.generalCategory {
    case .control, .lineSeparator, .paragraphSeparator, .format, .surrogate, .unassigned, .privateUse:
      result += "\\u{\(String(scalar.value, radix: 16))}"
    case .spaceSeparator where scalar != " ": result += "\\u{\(String(scalar.value, radix: 16))}"
    default: result.unicodeScalars.append(scalar)
    }
  }
  return result
}
