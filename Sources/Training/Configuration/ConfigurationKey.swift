/// What must hold for a key to have a meaning.
struct KeyRequirement: Sendable {
  let isMet: @Sendable (TrainingConfiguration) -> Bool
  /// Where it has none, and why, for messages.
  let otherwise: String
  /// The same for the reference.
  let reference: String

  /// Means and variances over frames.
  static let batchStatistics = KeyRequirement(
    isMet: { $0.normalization.method == .batch },
    otherwise: "with normalization.method: layer, which normalises every frame by itself", reference: "not with `layer`")

  /// Inputs that are whitened.
  static let whitening = KeyRequirement(
    isMet: { $0.normalization.placement == .whitenedInput },
    otherwise: "without normalization.placement: whitened-input", reference: "with `whitened-input`")
}

/// One key of the configuration: the only place that knows its name, its type, what it allows and what it means.
package struct ConfigurationKey: Sendable {
  /// Dotted: `model.hidden_size`.
  let path: String
  /// The tasks that have the key; nil: all have it.
  let tasks: [TrainingConfiguration.Task]?
  let isRequired: Bool
  /// nil: the key has a meaning whatever the others are.
  let needs: KeyRequirement?
  /// The fields of a value that is, or may be, a mapping.
  let fields: [String]
  /// Whether what `--set` gives is a path, and so taken as it stands and not as YAML.
  let isPath: Bool
  /// Whether `null` is a value.
  let allowsNull: Bool
  package let allowed: String
  /// For the reference: what the key decides.
  let meaning: String
  let read: @Sendable (TrainingConfiguration) -> ConfigurationValue
  let write: @Sendable (inout TrainingConfiguration, ConfigurationValue) throws(ConfigurationMismatch) -> Void

  init<T>(
    _ path: String, _ property: any WritableKeyPath<TrainingConfiguration, T> & Sendable, _ codec: ConfigurationCodec<T>,
    _ meaning: String, tasks: [TrainingConfiguration.Task]? = nil, isRequired: Bool = false, fields: [String] = [],
    needs: KeyRequirement? = nil
  ) {
    self.path = path
    self.tasks = tasks
    self.isRequired = isRequired
    self.fields = fields
    self.needs = needs
    self.isPath = codec.isPath
    self.allowsNull = codec.allowsNull
    self.allowed = codec.allowed
    self.meaning = meaning
    self.read = { codec.encode($0[keyPath: property]) }
    self.write = { configuration, value throws(ConfigurationMismatch) in
      configuration[keyPath: property] = try codec.decode(value)
    }
  }

  /// The part before the dot; nil for a key at the top.
  var section: String? {
    path.contains(".") ? path.split(separator: ".").first.map(String.init) : nil
  }

  /// The part after the dot.
  var name: String { path.split(separator: ".").last.map(String.init) ?? path }

  /// Whether the key has a meaning in `configuration`.
  func applies(to configuration: TrainingConfiguration) -> Bool {
    belongs(to: configuration.task) && needs?.isMet(configuration) ?? true
  }

  func belongs(to task: TrainingConfiguration.Task) -> Bool { tasks?.contains(task) ?? true }
}

/// The least number of insertions, deletions and substitutions that turn one text into the other (Levenshtein 1966).
/// Only the first 64 scalars of each count: keys are shorter, and what is not a key may be of any length.
func editDistance(_ first: String, _ second: String) -> Int {
  let a = Array(first.unicodeScalars.prefix(64))
  let b = Array(second.unicodeScalars.prefix(64))
  var previous = Array(0...b.count)
  for i in a.indices {
    var current = [i + 1]
    for j in b.indices {
      current.append(min(previous[j + 1] + 1, current[j] + 1, previous[j] + (a[i] == b[j] ? 0 : 1)))
    }
    previous = current
  }
  return previous[b.count]
}
