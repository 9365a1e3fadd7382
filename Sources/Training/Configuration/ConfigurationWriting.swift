/// A key whose value differs between two configurations, the values as YAML.
public struct ConfigurationDifference: Equatable, Sendable {
  /// Dotted.
  public let key: String
  /// nil: the old configuration's task has no such key.
  public let old: String?
  /// nil: the new configuration's task has no such key.
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

  /// The configuration as a file: every key of its task, defaults included. Parses back to an equal value.
  public func yaml() -> String {
    var lines: [String] = []
    var section: String?
    for key in ConfigurationTable.keys where key.belongs(to: task) {
      if key.section != section, let name = key.section { lines.append("\(name):") }
      section = key.section
      lines.append("\(section == nil ? "" : "  ")\(key.name): \(key.read(self).yaml)")
    }
    return lines.joined(separator: "\n") + "\n"
  }

  /// The keys whose values differ, in file order.
  public func differences(from old: TrainingConfiguration) -> [ConfigurationDifference] {
    ConfigurationTable.keys.compactMap { key in
      let before = key.belongs(to: old.task) ? key.read(old).yaml : nil
      let after = key.belongs(to: task) ? key.read(self).yaml : nil
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
      let allowed = key.allowed.replacing(" to \(unboundedCount)", with: " up")
      lines.append("| `\(key.path)` | \(allowed) | \(value) | \(key.meaning)\(task) |")
    }
    return lines.joined(separator: "\n") + "\n"
  }
}
