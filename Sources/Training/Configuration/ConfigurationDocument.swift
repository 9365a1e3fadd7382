import Foundation
import Yams

/// A configuration file as YAML: read, parsed, cut into assignments of values to known keys. Types come later.
struct ConfigurationDocument {
  /// Where an assignment stands.
  enum Place: Equatable, Sendable {
    case line(Int?)
    case override(String)
  }

  /// One key with its value.
  struct Assignment {
    let key: ConfigurationKey
    /// The field of the key's record that alone is set (`--set optimizer.decay.factor=3`); nil: the whole value.
    var field: String?
    let value: ConfigurationValue
    let place: Place
  }

  let file: String
  private(set) var assignments: [Assignment] = []

  /// - Throws: for anything that is not a mapping of known keys and sections.
  init(yaml: String, file: String, overrides: [String]) throws(ConfigurationError) {
    self.file = file
    try add(yaml: yaml)
    for override in overrides { try add(override: override) }
  }

  /// An error that says where it is.
  func error(
    _ reason: ConfigurationError.Reason, at place: Place, key: String?, found: String, allowed: String? = nil,
    nearest: String? = nil
  ) -> ConfigurationError {
    var error = ConfigurationError(reason, file: file, key: key, found: found, allowed: allowed, nearest: nearest)
    switch place {
    case .line(let line): error.line = line
    case .override(let text): error.override = text
    }
    return error
  }
}

// MARK: The file

extension ConfigurationDocument {
  private mutating func add(yaml: String) throws(ConfigurationError) {
    // YAML allows a byte order mark, which Windows editors write; the parser, told the encoding, does not expect it.
    let text = yaml.unicodeScalars.first == "\u{feff}" ? String(yaml.unicodeScalars.dropFirst()) : yaml
    guard let root = try Self.compose(text, file: file) else {
      throw error(.syntax, at: .line(nil), key: nil, found: "holds no configuration", allowed: "a mapping of sections and keys")
    }
    guard case .mapping(let entries) = root else {
      throw error(
        .wrongType, at: .line(root.mark?.line), key: nil, found: "found \(ConfigurationValue(root).spelledOut)",
        allowed: "a mapping of sections and keys")
    }
    for (keyNode, node) in entries {
      let name = try word(keyNode)
      let place = Place.line(keyNode.mark?.line)
      if ConfigurationTable.sections.contains(name) {
        try add(section: name, node, place)
      } else {
        try add(path: name, node, place)
      }
    }
  }

  private mutating func add(section: String, _ node: Node, _ place: Place) throws(ConfigurationError) {
    guard case .mapping(let entries) = node else {
      throw error(
        .wrongType, at: place, key: section, found: "found \(ConfigurationValue(node).spelledOut)",
        allowed: "a mapping of the section's keys")
    }
    for (keyNode, node) in entries {
      try add(path: "\(section).\(try word(keyNode))", node, .line(keyNode.mark?.line))
    }
  }

  private mutating func add(path: String, _ node: Node, _ place: Place) throws(ConfigurationError) {
    guard let key = ConfigurationTable.key(path) else { throw unknown(path, place) }
    assignments.append(Assignment(key: key, value: ConfigurationValue(node), place: place))
  }

  private func word(_ node: Node) throws(ConfigurationError) -> String {
    guard case .scalar(let scalar) = node else {
      throw error(
        .wrongType, at: .line(node.mark?.line), key: nil, found: "found a key that is a mapping or a list", allowed: "a word")
    }
    return scalar.string
  }

  private func unknown(_ path: String, _ place: Place) -> ConfigurationError {
    error(.unknownKey, at: place, key: path, found: "unknown key", nearest: ConfigurationTable.nearest(to: path))
  }
}

// MARK: Overrides

extension ConfigurationDocument {
  /// `KEY=VALUE`, the value in YAML.
  private mutating func add(override text: String) throws(ConfigurationError) {
    let place = Place.override(text)
    guard let equals = text.firstIndex(of: "="), equals != text.startIndex else {
      throw error(.syntax, at: place, key: nil, found: "found no key and value", allowed: "KEY=VALUE")
    }
    let path = String(text[..<equals])
    let (key, field) = try target(of: path, place)
    let node: Node?
    do {
      node = try Self.compose(String(text[text.index(after: equals)...]), file: file)
    } catch {
      throw self.error(.syntax, at: place, key: path, found: error.found)
    }
    guard let node else {
      throw error(.syntax, at: place, key: path, found: "found no value", allowed: key.allowed)
    }
    assignments.append(Assignment(key: key, field: field, value: ConfigurationValue(node), place: place))
  }

  private func target(of path: String, _ place: Place) throws(ConfigurationError) -> (ConfigurationKey, field: String?) {
    if let key = ConfigurationTable.key(path) { return (key, nil) }
    if let dot = path.lastIndex(of: "."), let key = ConfigurationTable.key(String(path[..<dot])) {
      let field = String(path[path.index(after: dot)...])
      if key.fields.contains(field) { return (key, field) }
    }
    if ConfigurationTable.sections.contains(path) {
      let names = ConfigurationTable.keys.filter { $0.section == path }.map(\.path)
      throw error(
        .wrongType, at: place, key: path, found: "found a section", allowed: "one key of it: \(names.joined(separator: ", "))")
    }
    throw unknown(path, place)
  }
}

// MARK: YAML

extension ConfigurationDocument {
  /// The root of a YAML text; nil if there is nothing in it.
  private static func compose(_ yaml: String, file: String) throws(ConfigurationError) -> Node? {
    do {
      // The basic resolver leaves the types of plain scalars to us: Yams's rules are those of YAML 1.1.
      return try Yams.compose(yaml: yaml, .basic, .default, .utf8)
    } catch {
      guard let yamlError = error as? YamlError else {
        throw ConfigurationError(.syntax, file: file, found: "not YAML: \(abbreviated("\(error)"))")
      }
      throw syntaxError(yamlError, file: file)
    }
  }

  private static func syntaxError(_ error: YamlError, file: String) -> ConfigurationError {
    func notYAML(_ problem: String, _ context: YamlError.Context?, _ mark: Mark) -> ConfigurationError {
      let context = context.map { " (\($0.text))" } ?? ""
      return ConfigurationError(.syntax, file: file, line: mark.line, found: "not YAML: \(problem)\(context)")
    }
    switch error {
    case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
      .composer(let context, let problem, let mark, _):
      return notYAML(problem, context, mark)
    case .reader(let problem, let offset, let value, let yaml):
      let line = offset.map { 1 + yaml.prefix($0).count { $0.isNewline } }
      let character = value >= 0 ? " (U+\(String(value, radix: 16, uppercase: true)))" : ""
      return ConfigurationError(.syntax, file: file, line: line, found: "not YAML: \(problem)\(character)")
    case .duplicatedKeysInMapping(let duplicates, let context):
      return ConfigurationError(
        .duplicateKey, file: file, line: context.mark.line, key: duplicates.first,
        found: "stands twice in one mapping, here for the first time", allowed: "once")
    default:
      return ConfigurationError(.syntax, file: file, found: "not YAML: \(abbreviated("\(error)"))")
    }
  }
}
