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
    ConfigurationError(reason, file: file, at: place, key: key, found: found, allowed: allowed, nearest: nearest)
  }
}

extension ConfigurationError {
  /// An error that says where it is.
  init(
    _ reason: Reason, file: String, at place: ConfigurationDocument.Place, key: String?, found: String, allowed: String? = nil,
    nearest: String? = nil
  ) {
    self.init(reason, file: file, key: key, found: found, allowed: allowed, nearest: nearest)
    switch place {
    case .line(let line): self.line = line
    case .override(let text): override = text
    }
  }
}

// MARK: The file

extension ConfigurationDocument {
  private mutating func add(yaml: String) throws(ConfigurationError) {
    let text = YAMLText(yaml, file: file)
    for (name, node, line) in try text.entries(ofRootIn: "configuration", allowed: "a mapping of sections and keys") {
      let place = Place.line(line)
      if ConfigurationTable.sections.contains(name) {
        try add(section: name, node, place, of: text)
      } else {
        try text.checkVisible(node, key: name, place)
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

  private mutating func add(section: String, _ node: Node, _ place: Place, of text: YAMLText) throws(ConfigurationError) {
    for (name, node, line) in try text.entries(node, key: section, place, allowed: "a mapping of the section's keys") {
      let path = "\(section).\(name)", place = Place.line(line)
      try text.checkVisible(node, key: path, place)
      try add(path: path, node, place)
    }
  }

  private mutating func add(path: String, _ node: Node, _ place: Place) throws(ConfigurationError) {
    guard let key = ConfigurationTable.key(path) else { throw unknown(path, place) }
    assignments.append(Assignment(key: key, value: ConfigurationValue(node), place: place))
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
      node = try YAMLText.compose(value, file: file)
    } catch {
      throw self.error(.syntax, at: place, key: path, found: error.found)
    }
    guard let node else {
      throw error(.syntax, at: place, key: path, found: "found no value", allowed: key.allowed)
    }
    try YAMLText(value, file: file).checkVisible(node, key: path, place)
    assignments.append(Assignment(key: key, field: field, value: ConfigurationValue(node), place: place))
  }

  /// The path that a text is; nil for `[a, b]`, `{features: …, labels: …}` and, where that is a value, `null`.
  private static func path(_ text: String, _ key: ConfigurationKey, field: String?) -> ConfigurationValue? {
    if text.drop(while: { $0 == " " }).hasPrefix("["), case .sequence? = try? YAMLText.compose(text, file: "") { return nil }
    if field == nil {
      if key.allowsNull && ConfigurationValue(plain: text) == .null { return nil }
      if text.drop(while: { $0 == " " }).hasPrefix("{"), case .mapping? = try? YAMLText.compose(text, file: "") { return nil }
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
