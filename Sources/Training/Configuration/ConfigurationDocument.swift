import Foundation
import SequenceData
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
    // A line that seems to be indented may be a key, and what it seems to stand under be empty.
    for (keyNode, _) in entries { _ = try word(keyNode, of: text) }
    for (keyNode, node) in entries {
      let name = try word(keyNode, of: text)
      let place = Place.line(keyNode.mark?.line)
      if ConfigurationTable.sections.contains(name) {
        try add(section: name, node, place, of: text)
      } else {
        try checkVisible(node, of: text, key: name, place)
        try add(path: name, node, place)
      }
    }
    try checkRepetitions()
  }

  /// A key has one place in the file, in whichever spelling.
  private func checkRepetitions() throws(ConfigurationError) {
    var places: [String: Place] = [:]
    for assignment in assignments {
      guard let before = places.updateValue(assignment.place, forKey: assignment.key.path) else { continue }
      let line = if case .line(let line?) = before { ", here and in line \(line)" } else { "" }
      throw error(.duplicateKey, at: assignment.place, key: assignment.key.path, found: "is set twice\(line)", allowed: "once")
    }
  }

  private mutating func add(section: String, _ node: Node, _ place: Place, of text: String) throws(ConfigurationError) {
    guard case .mapping(let entries) = node else {
      throw error(
        .wrongType, at: place, key: section, found: "found \(ConfigurationValue(node).spelledOut)",
        allowed: "a mapping of the section's keys")
    }
    for (keyNode, node) in entries {
      let path = "\(section).\(try word(keyNode, of: text))", place = Place.line(keyNode.mark?.line)
      try checkVisible(node, of: text, key: path, place)
      try add(path: path, node, place)
    }
  }

  private mutating func add(path: String, _ node: Node, _ place: Place) throws(ConfigurationError) {
    guard let key = ConfigurationTable.key(path) else { throw unknown(path, place) }
    assignments.append(Assignment(key: key, value: ConfigurationValue(node), place: place))
  }

  private func word(_ node: Node, of text: String) throws(ConfigurationError) -> String {
    guard case .scalar(let scalar) = node else {
      throw error(
        .wrongType, at: .line(node.mark?.line), key: nil, found: "found a key that is a mapping or a list", allowed: "a word")
    }
    try checkVisible(node, of: text, key: scalar.string, .line(node.mark?.line))
    return scalar.string
  }

  /// Refuses characters that a reader of the file cannot see, except within quotes and comments.
  private func checkVisible(_ node: Node, of text: String, key: String, _ place: Place) throws(ConfigurationError) {
    switch node {
    case .scalar(let scalar):
      guard scalar.style == .plain, InvisibleCharacter.first(in: scalar.string) != nil else { return }
      let found = node.mark.flatMap { InvisibleCharacter.first(in: text, line: $0.line, column: $0.column) }
      var place = place
      if case .line = place, let found { place = .line(found.line) }
      throw error(
        .syntax, at: place, key: key,
        found: found.map { "found \($0.character) in column \($0.column)" } ?? "found a character that cannot be seen",
        allowed: "spaces of ASCII; other characters that cannot be seen stand in quotes")
    case .mapping(let entries):
      for (keyNode, node) in entries {
        // Nothing that nests deeper is a value, and aliases could grow exponentially.
        for node in [keyNode, node] { if case .scalar = node { try checkVisible(node, of: text, key: key, place) } }
      }
    case .sequence, .alias: break
    }
  }

  private func unknown(_ path: String, _ place: Place) -> ConfigurationError {
    error(.unknownKey, at: place, key: path, found: "unknown key", nearest: ConfigurationTable.nearest(to: path))
  }
}

// MARK: Overrides

extension ConfigurationDocument {
  /// `KEY=VALUE`, the value in YAML; a path stands as it is, with every space and `#` that is in it.
  private mutating func add(override text: String) throws(ConfigurationError) {
    let place = Place.override(text)
    guard let equals = text.firstIndex(of: "="), equals != text.startIndex else {
      throw error(.syntax, at: place, key: nil, found: "found no key and value", allowed: "KEY=VALUE")
    }
    let path = String(text[..<equals])
    let (key, field) = try target(of: path, place)
    let value = String(text[text.index(after: equals)...])
    if value.isEmpty { throw error(.syntax, at: place, key: path, found: "found no value", allowed: key.allowed) }
    if key.isPath, let literal = Self.path(value, key, field: field) {
      assignments.append(Assignment(key: key, field: field, value: literal, place: place))
      return
    }
    let node: Node?
    do {
      node = try Self.compose(value, file: file)
    } catch {
      throw self.error(.syntax, at: place, key: path, found: error.found)
    }
    guard let node else {
      throw error(.syntax, at: place, key: path, found: "found no value", allowed: key.allowed)
    }
    try checkVisible(node, of: value, key: path, place)
    assignments.append(Assignment(key: key, field: field, value: ConfigurationValue(node), place: place))
  }

  /// The path that a text is; nil for `{features: …, labels: …}` and, where that is a value, `null`.
  private static func path(_ text: String, _ key: ConfigurationKey, field: String?) -> ConfigurationValue? {
    if field == nil {
      if key.allowsNull && ConfigurationValue(plain: text) == .null { return nil }
      if text.drop(while: { $0 == " " }).hasPrefix("{"), case .mapping? = try? compose(text, file: "") { return nil }
    }
    return .text(text)
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
      throw syntaxError(yamlError, of: yaml, file: file)
    }
  }

  private static func syntaxError(_ error: YamlError, of text: String, file: String) -> ConfigurationError {
    func notYAML(_ problem: String, _ context: YamlError.Context?, _ mark: Mark) -> ConfigurationError {
      let context = context.map { " (\($0.text))" } ?? ""
      // What looks like an indented line, or like a space behind a colon, may be none.
      let invisible = InvisibleCharacter.first(in: text).map { "; line \($0.line) has \($0.character) in column \($0.column)" } ?? ""
      return ConfigurationError(.syntax, file: file, line: mark.line, found: "not YAML: \(problem)\(context)\(invisible)")
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
      let again = duplicates.first.flatMap { repetition(of: $0, after: context.mark, in: text) }
      return ConfigurationError(
        .duplicateKey, file: file, line: context.mark.line, key: duplicates.first,
        found: "stands twice in one mapping, here" + (again.map { " and in line \($0)" } ?? " for the first time"), allowed: "once")
    default:
      return ConfigurationError(.syntax, file: file, found: "not YAML: \(abbreviated("\(error)"))")
    }
  }

  /// The line where a mapping of one key a line has `key` again; nil where the mapping is written otherwise.
  private static func repetition(of key: String, after mark: Mark, in text: String) -> Int? {
    let lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
    for (index, line) in lines.enumerated().dropFirst(mark.line) {
      let indentation = line.prefix { $0 == " " }.count, content = line.dropFirst(indentation)
      if content.isEmpty || content.hasPrefix("#") { continue }
      if indentation < mark.column - 1 { return nil }
      let names = [key, "\"\(key)\"", "'\(key)'"]
      let isKey = names.contains { content.hasPrefix($0) && content.dropFirst($0.count).drop { $0 == " " }.hasPrefix(":") }
      if indentation == mark.column - 1 && isKey { return index + 1 }
    }
    return nil
  }
}
