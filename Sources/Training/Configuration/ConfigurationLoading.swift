extension TrainingConfiguration {
  /// Reads a configuration file.
  /// - overrides: `KEY=VALUE` each, the value in YAML, applied after the file, in order.
  /// - Throws: for a file that cannot be read, or as `init(yaml:file:overrides:)`.
  public static func load(path: String, overrides: [String] = []) throws(ConfigurationError) -> TrainingConfiguration {
    try TrainingConfiguration(yaml: try ConfigurationFile.read(path), file: path, overrides: overrides)
  }

  /// Parses and checks a configuration.
  /// - file: its name, for messages.
  /// - overrides: `KEY=VALUE` each, the value in YAML, applied after the text, in order.
  /// - Throws: for YAML errors, duplicate, unknown or missing keys, wrong types, values out of range, and keys that contradict each other.
  public init(yaml: String, file: String, overrides: [String] = []) throws(ConfigurationError) {
    let document = try ConfigurationDocument(yaml: yaml, file: file, overrides: overrides)
    // Until the required keys are read they are empty paths, which the table would refuse.
    self.init(task: .languageModel, train: .text(path: ""), validation: .text(path: ""))
    try apply(document, where: { $0.path == "task" })
    try Self.checkRequired([ConfigurationTable.task], document)
    try apply(document, where: { $0.path != "task" })
    try Self.checkRequired(ConfigurationTable.keys, document)
    try checkRules(ConfigurationOrigins(document))
  }

  /// Checks every range and rule again, for a configuration that was changed in memory.
  /// - Throws: as `init(yaml:file:overrides:)`, without file and line.
  public func validate() throws(ConfigurationError) {
    for key in ConfigurationTable.keys where key.belongs(to: task) {
      var copy = self
      do {
        try key.write(&copy, key.read(self))
      } catch {
        throw ConfigurationError(
          error.reason, key: key.path + (error.field.map { ".\($0)" } ?? ""), found: error.found,
          allowed: error.allowed ?? key.allowed)
      }
    }
    try checkRules(ConfigurationOrigins())
  }

  private mutating func apply(
    _ document: ConfigurationDocument, where isWanted: (ConfigurationKey) -> Bool
  ) throws(ConfigurationError) {
    for assignment in document.assignments where isWanted(assignment.key) {
      let key = assignment.key
      if !key.belongs(to: task), let owners = key.tasks {
        throw document.error(
          .conflict, at: assignment.place, key: key.path,
          found: "belongs to task \(list(owners.map(\.rawValue))), and the task is \(task.rawValue)")
      }
      do {
        try key.write(&self, try wholeValue(assignment))
      } catch {
        var place = assignment.place
        if case .line = place, let line = error.line { place = .line(line) }
        let allowed = error.allowed ?? (error.field == nil || error.reason == .missingKey ? key.allowed : nil)
        throw document.error(
          error.reason, at: place, key: key.path + (error.field.map { ".\($0)" } ?? ""), found: error.found,
          allowed: allowed, nearest: error.nearestField.map { "\(key.path).\($0)" })
      }
    }
  }

  /// The value to write: the assignment's own, or the present record with one field replaced.
  private func wholeValue(
    _ assignment: ConfigurationDocument.Assignment
  ) throws(ConfigurationMismatch) -> ConfigurationValue {
    guard let field = assignment.field else { return assignment.value }
    var fields: [ConfigurationValue.Field] = []
    if case .record(let present) = assignment.key.read(self) { fields = present.filter { $0.name != field } }
    fields.append(.init(name: field, value: assignment.value))
    return .record(fields)
  }

  private static func checkRequired(
    _ keys: [ConfigurationKey], _ document: ConfigurationDocument
  ) throws(ConfigurationError) {
    for key in keys where key.isRequired && !document.assignments.contains(where: { $0.key.path == key.path }) {
      throw document.error(.missingKey, at: .line(nil), key: key.path, found: "missing", allowed: key.allowed)
    }
  }
}
