/// A key whose value differs between two configurations, the values as YAML.
public struct ConfigurationDifference: Equatable, Sendable {
  /// Dotted.
  public let key: String
  /// nil: the key has no meaning in the old configuration.
  public let old: String?
  /// nil: the key has no meaning in the new configuration.
  public let new: String?

  package init(key: String, old: String?, new: String?) {
    self.key = key
    self.old = old
    self.new = new
  }
}

extension TrainingConfiguration {
  /// All dotted keys, of all tasks, in file order.
  public static var keys: [String] { ConfigurationTable.keys.map(\.path) }

  /// The configuration as a file: every key that has a meaning in it, defaults included. Parses back to an equal value.
  public func yaml() -> String {
    var lines: [String] = []
    var section: String?
    for key in ConfigurationTable.keys where key.applies(to: self) {
      if key.section != section, let name = key.section { lines.append("\(name):") }
      section = key.section
      lines.append("\(section == nil ? "" : "  ")\(key.name): \(key.read(self).yaml)")
    }
    return lines.joined(separator: "\n") + "\n"
  }

  /// The keys whose values differ, in file order.
  public func differences(from old: TrainingConfiguration) -> [ConfigurationDifference] {
    ConfigurationTable.keys.compactMap { key in
      let before = key.applies(to: old) ? key.read(old).yaml : nil
      let after = key.applies(to: self) ? key.read(self).yaml : nil
      return before == after ? nil : ConfigurationDifference(key: key.path, old: before, new: after)
    }
  }

  /// A Markdown table of every key: what it allows, its default, what it decides.
  public static func referenceTable() -> String {
    let defaults = TrainingConfiguration(task: .languageModel, train: .text(path: ""), validation: .text(path: ""))
    var lines = ["| key | allowed | default | meaning |", "|---|---|---|---|"]
    for key in ConfigurationTable.keys {
      let value = key.isRequired ? "required" : "`\(key.read(defaults).yaml)`"
      let task = key.tasks.map { " (\(list($0.map(\.rawValue), "and")) only)" } ?? ""
      let needs = key.needs.map { " (\($0.reference))" } ?? ""
      let allowed = key.allowed.replacing(" to \(unboundedCount)", with: " up")
      lines.append("| `\(key.path)` | \(allowed) | \(value) | \(key.meaning)\(task)\(needs) |")
    }
    return lines.joined(separator: "\n") + "\n"
  }
}
