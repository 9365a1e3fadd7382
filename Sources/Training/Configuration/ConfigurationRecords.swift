// Codecs of the values that are small mappings: {group: k}, {factor: f, after: k}, {features: a, labels: b}.

extension ConfigurationCodec where T == TrainingConfiguration.Scope {
  static var scope: Self {
    let shards = ConfigurationCodec<Int>.integer(1...unboundedCount)
    return Self(
      allowed: "local, global or {group: k} with k ≥ 1",
      encode: {
        switch $0 {
        case .local: .text("local")
        case .global: .text("global")
        case .group(let count): .record([.init(name: "group", value: shards.encode(count))])
        }
      },
      decode: { value throws(ConfigurationMismatch) in
        switch value {
        case .text("local"): return .local
        case .text("global"): return .global
        case .text: throw .outOfRange(value)
        default: return .group(try Record(value, of: ["group"]).field("group", shards))
        }
      })
  }
}

extension ConfigurationCodec where T == TrainingConfiguration.Decay {
  static var decay: Self {
    let factor = ConfigurationCodec<Double>.number(over: 0)
    let after = ConfigurationCodec<Int>.integer(0...unboundedCount)
    return Self(
      allowed: "{factor: f, after: k} with f > 0 and k ≥ 0",
      encode: {
        .record([
          .init(name: "factor", value: factor.encode($0.factor)), .init(name: "after", value: after.encode($0.after)),
        ])
      },
      decode: { value throws(ConfigurationMismatch) in
        let record = try Record(value, of: ["factor", "after"])
        return .init(factor: try record.field("factor", factor), after: try record.field("after", after))
      })
  }
}

extension ConfigurationCodec where T == TrainingConfiguration.Plateau {
  static var plateau: Self {
    let factor = ConfigurationCodec<Double>.number(over: 1)
    let patience = ConfigurationCodec<Int>.integer(1...unboundedCount)
    let threshold = ConfigurationCodec<Double>.number(from: 0, below: 1)
    return Self(
      allowed: "{factor: f, patience: p, threshold: r} with f > 1, p ≥ 1 and 0 ≤ r < 1",
      encode: {
        .record([
          .init(name: "factor", value: factor.encode($0.factor)), .init(name: "patience", value: patience.encode($0.patience)),
          .init(name: "threshold", value: threshold.encode($0.threshold)),
        ])
      },
      decode: { value throws(ConfigurationMismatch) in
        let record = try Record(value, of: ["factor", "patience", "threshold"])
        return .init(
          factor: try record.field("factor", factor), patience: try record.field("patience", patience),
          threshold: try record.field("threshold", threshold))
      })
  }
}

extension ConfigurationCodec where T == TrainingConfiguration.Cosine {
  static var cosine: Self {
    record("final", .number(from: 0, to: 1), allowed: "{final: x} with 0 ≤ x ≤ 1", encode: { $0.final }, decode: { .init(final: $0) })
  }
}

extension ConfigurationCodec where T == TrainingConfiguration.Average {
  static var average: Self {
    record("decay", .number(from: 0, below: 1), allowed: "{decay: d} with 0 ≤ d < 1", encode: { $0.decay }, decode: { .init(decay: $0) })
  }
}

extension ConfigurationCodec where T == TrainingConfiguration.EarlyStopping {
  static var earlyStopping: Self {
    record(
      "patience", .integer(1...unboundedCount), allowed: "{patience: n} with n ≥ 1", encode: { $0.patience }, decode: { .init(patience: $0) })
  }
}

extension ConfigurationCodec {
  /// A mapping of one field.
  fileprivate static func record<V: Sendable>(
    _ name: String, _ codec: ConfigurationCodec<V>, allowed: String, encode: @escaping @Sendable (T) -> V,
    decode: @escaping @Sendable (V) -> T
  ) -> Self {
    Self(
      allowed: allowed,
      encode: { .record([.init(name: name, value: codec.encode(encode($0)))]) },
      decode: { value throws(ConfigurationMismatch) in decode(try Record(value, of: [name]).field(name, codec)) })
  }
}

extension ConfigurationCodec where T == TrainingConfiguration.Source {
  /// Both forms; that the form suits the task is a rule across keys.
  static var source: Self {
    let paths = ConfigurationCodec<[String]>.paths
    return Self(
      allowed: "a path (language-model) or {features: PATH, labels: PATH} (the others), each PATH perhaps a list [PATH, PATH]",
      encode: {
        switch $0 {
        case .texts(let texts): paths.encode(texts)
        case .archives(let features, let labels):
          .record([
            .init(name: "features", value: paths.encode(features)), .init(name: "labels", value: paths.encode(labels)),
          ])
        }
      },
      decode: { value throws(ConfigurationMismatch) in
        guard case .record = value else { return .texts(try paths.decode(value)) }
        let record = try Record(value, of: ["features", "labels"])
        return .archives(
          features: try record.field("features", paths), labels: try record.field("labels", paths))
      },
      isPath: true)
  }
}

extension ConfigurationCodec where T == [String] {
  /// A path, or a list of them.
  fileprivate static var paths: Self {
    let path = ConfigurationCodec<String>.path
    return Self(
      allowed: "a path, or a list of paths",
      encode: { $0.count == 1 ? path.encode($0[0]) : .list($0.map { path.encode($0) }) },
      decode: { value throws(ConfigurationMismatch) in
        guard case .list(let values) = value else { return [try path.decode(value)] }
        if values.isEmpty { throw .outOfRange(value) }
        var paths: [String] = []
        for value in values { paths.append(try path.decode(value)) }
        return paths
      },
      isPath: true)
  }
}

/// A mapping with exactly the fields that are asked for.
private struct Record {
  private let fields: [ConfigurationValue.Field]

  init(_ value: ConfigurationValue, of names: [String]) throws(ConfigurationMismatch) {
    guard case .record(let fields) = value else { throw .wrongType(value) }
    for field in fields where !names.contains(field.name) {
      let nearest = names.min { editDistance($0, field.name) < editDistance($1, field.name) }
      throw ConfigurationMismatch(
        reason: .unknownKey, field: field.name, line: field.line, found: "unknown key", nearestField: nearest)
    }
    for name in names where !fields.contains(where: { $0.name == name }) {
      throw ConfigurationMismatch(reason: .missingKey, field: name, found: "missing")
    }
    self.fields = fields
  }

  func field<T>(_ name: String, _ codec: ConfigurationCodec<T>) throws(ConfigurationMismatch) -> T {
    let field = fields.first { $0.name == name }!  // The initializer made sure of it.
    do {
      return try codec.decode(field.value)
    } catch {
      var mismatch = error
      mismatch.field = name
      mismatch.line = field.line
      mismatch.allowed = mismatch.allowed ?? codec.allowed
      throw mismatch
    }
  }
}
