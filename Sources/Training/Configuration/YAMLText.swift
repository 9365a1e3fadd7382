import SequenceData
import Yams

/// The text of a file in YAML: its mappings, with lines for messages.
struct YAMLText {
  typealias Place = ConfigurationDocument.Place
  /// A word with what stands under it.
  typealias Entry = (name: String, node: Node, line: Int?)

  let file: String
  private let text: String

  init(_ yaml: String, file: String) {
    self.file = file
    // YAML allows a byte order mark, which Windows editors write; the parser, told the encoding, does not expect it.
    text = yaml.unicodeScalars.first == "\u{feff}" ? String(yaml.unicodeScalars.dropFirst()) : yaml
  }

  /// The entries of the mapping that the whole text is.
  /// - content: what the file should hold, in a word.
  func entries(ofRootIn content: String, allowed: String) throws(ConfigurationError) -> [Entry] {
    guard let root = try Self.compose(text, file: file) else {
      throw ConfigurationError(.syntax, file: file, found: "holds no \(content)", allowed: allowed)
    }
    return try entries(root, key: nil, .line(root.mark?.line), allowed: allowed)
  }

  /// The entries of a mapping, in order.
  func entries(_ node: Node, key: String?, _ place: Place, allowed: String) throws(ConfigurationError) -> [Entry] {
    guard case .mapping(let mapping) = node else {
      throw ConfigurationError(
        .wrongType, file: file, at: place, key: key, found: "found \(ConfigurationValue(node).spelledOut)", allowed: allowed)
    }
    // All words first: a line that seems to be indented may be a key, and what it seems to stand under be empty.
    var entries: [Entry] = []
    for (keyNode, node) in mapping { entries.append((try word(keyNode), node, keyNode.mark?.line)) }
    return entries
  }

  func word(_ node: Node) throws(ConfigurationError) -> String {
    guard case .scalar(let scalar) = node else {
      throw ConfigurationError(
        .wrongType, file: file, at: .line(node.mark?.line), key: nil, found: "found a key that is a mapping or a list", allowed: "a word")
    }
    try checkVisible(node, key: scalar.string, .line(node.mark?.line))
    return scalar.string
  }

  /// Refuses characters that a reader of the file cannot see, except within quotes and comments.
  func checkVisible(_ node: Node, key: String, _ place: Place) throws(ConfigurationError) {
    switch node {
    case .scalar(let scalar):
      guard scalar.style == .plain, InvisibleCharacter.first(in: scalar.string) != nil else { return }
      let found = node.mark.flatMap { InvisibleCharacter.first(in: text, line: $0.line, column: $0.column) }
      var place = place
      if case .line = place, let found { place = .line(found.line) }
      throw ConfigurationError(
        .syntax, file: file, at: place, key: key,
        found: found.map { "found \($0.character) in column \($0.column)" } ?? "found a character that cannot be seen",
        allowed: "spaces of ASCII; other characters that cannot be seen stand in quotes")
    case .mapping(let entries):
      for (keyNode, node) in entries {
        // Nothing that nests deeper is a value, and aliases could grow exponentially.
        for node in [keyNode, node] {
          switch node {
          case .scalar, .sequence: try checkVisible(node, key: key, place)
          default: break
          }
        }
      }
    case .sequence(let entries):
      for node in entries { if case .scalar = node { try checkVisible(node, key: key, place) } }
    case .alias: break
    }
  }
}

// MARK: The parser

extension YAMLText {
  /// The root of a YAML text; nil if there is nothing in it.
  static func compose(_ yaml: String, file: String) throws(ConfigurationError) -> Node? {
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
