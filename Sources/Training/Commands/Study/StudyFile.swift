import Yams

extension Study {
  /// Reads a study file.
  /// - Throws: for a file that cannot be read, YAML errors, unknown, missing or repeated keys, and names that do not fit each other.
  static func load(path: String) throws(ConfigurationError) -> Study {
    try Study(yaml: try ConfigurationFile.read(path, content: "a study"), file: path)
  }

  private static let keys = ["name", "base", "set", "axes", "leave_out", "seeds", "baseline", "targets"]

  init(yaml: String, file: String) throws(ConfigurationError) {
    let text = YAMLText(yaml, file: file)
    let allowed = "a mapping with the keys \(list(Self.keys, "and"))"
    let entries = try text.entries(ofRootIn: "study", allowed: allowed)
    self.init(file: file, text: yaml, name: "", base: "")
    for entry in entries {
      guard Self.keys.contains(entry.name) else {
        let nearest = Self.keys.min { editDistance($0, entry.name) < editDistance($1, entry.name) }
        throw ConfigurationError(.unknownKey, file: file, line: entry.line, key: entry.name, found: "unknown key", nearest: nearest)
      }
    }
    let reader = StudyReader(text: text)
    func node(_ key: String) -> YAMLText.Entry? { entries.first { $0.name == key } }
    func required(_ key: String, allowed: String) throws(ConfigurationError) -> YAMLText.Entry {
      guard let entry = node(key) else { throw ConfigurationError(.missingKey, file: file, key: key, found: "missing", allowed: allowed) }
      return entry
    }
    name = try reader.name(try required("name", allowed: StudyReader.allowedName), key: "name")
    base = try reader.text(try required("base", allowed: "the path of a configuration"), allowed: "the path of a configuration")
    if let set = node("set") { self.set = try reader.settings(set, key: "set") }
    if let axes = node("axes") { self.axes = try reader.axes(axes) }
    if let globs = node("leave_out") { leftOut = try reader.texts(globs, allowed: "a list of points or patterns of them") }
    if let seeds = node("seeds") { self.seeds = try reader.seeds(seeds) }
    if let targets = node("targets") { self.targets = try reader.targets(targets) }
    try checkAxes(reader, line: node("axes")?.line)
    try checkNames(reader, line: node("axes")?.line)
    try checkLeftOut(reader, line: node("leave_out")?.line)
    if let entry = node("baseline") {
      let baseline = try reader.text(entry, allowed: "the name of a point")
      let names = points.map(\.name)
      guard names.contains(baseline) else {
        throw reader.error(
          .outOfRange, entry.line, "baseline", found: "no point is named \"\(abbreviated(baseline))\"",
          allowed: "a point, the names of its entries in the order of the axes, such as \(names.min { editDistance($0, baseline) < editDistance($1, baseline) } ?? "")")
      }
      self.baseline = baseline
    }
  }

  /// Each key is set by one axis, and the seed by none.
  private func checkAxes(_ reader: StudyReader, line: Int?) throws(ConfigurationError) {
    var axis: [String: String] = [:]
    for one in axes {
      for setting in one.entries.flatMap(\.settings) {
        if let other = axis.updateValue(one.name, forKey: setting.key), other != one.name {
          throw reader.error(.conflict, setting.line, setting.key, found: "is set by the axes \(other) and \(one.name)", allowed: "one of them")
        }
      }
    }
    if let setting = (set + axes.flatMap { $0.entries.flatMap(\.settings) }).first(where: { $0.key == "training.seed" }) {
      throw reader.error(.conflict, setting.line, setting.key, found: "is set", allowed: "the key seeds, which sets it for every run")
    }
    let count = axes.reduce(seeds.count) { $0.multipliedReportingOverflow(by: $1.entries.count).overflow ? .max : $0 * $1.entries.count }
    if count > Self.mostRuns {
      throw reader.error(.outOfRange, line, "axes", found: "make \(count == .max ? "too many" : "\(count)") runs", allowed: "at most \(Self.mostRuns)")
    }
  }

  /// Names of points are those of directories beside the study's own files.
  private func checkNames(_ reader: StudyReader, line: Int?) throws(ConfigurationError) {
    for point in points {
      if ["lock", "results.csv", "study.yaml"].contains(point.name) {
        throw reader.error(.outOfRange, line, "axes", found: "a point is named \(point.name)", allowed: "names that the study's own files do not have")
      }
      if point.name.utf8.count > Self.longestName {
        throw reader.error(
          .outOfRange, line, "axes", found: "the name of the point \(abbreviated(point.name)) has \(point.name.utf8.count) bytes",
          allowed: "at most \(Self.longestName)")
      }
    }
  }

  private static let longestName = 255, mostRuns = 1_000_000

  private func checkLeftOut(_ reader: StudyReader, line: Int?) throws(ConfigurationError) {
    var all = self
    all.leftOut = []
    let names = all.points.map(\.name)
    for pattern in leftOut where !names.contains(where: { glob(pattern, matches: $0) }) {
      throw reader.error(
        .outOfRange, line, "leave_out", found: "no point is of the form \"\(abbreviated(pattern))\"", allowed: "patterns of points, such as \(names[0])")
    }
    if points.isEmpty { throw reader.error(.outOfRange, line, "leave_out", found: "leaves no point") }
  }
}

/// Reads the values of a study's keys.
private struct StudyReader {
  let text: YAMLText

  func error(
    _ reason: ConfigurationError.Reason, _ line: Int?, _ key: String, found: String, allowed: String? = nil, nearest: String? = nil
  ) -> ConfigurationError {
    ConfigurationError(reason, file: text.file, line: line, key: key, found: found, allowed: allowed, nearest: nearest)
  }

  private func wrongType(_ entry: YAMLText.Entry, key: String, allowed: String) -> ConfigurationError {
    error(.wrongType, entry.line, key, found: "found \(ConfigurationValue(entry.node).spelledOut)", allowed: allowed)
  }

  /// A scalar as it stands, in quotes or without.
  func text(_ entry: YAMLText.Entry, allowed: String) throws(ConfigurationError) -> String {
    try text.checkVisible(entry.node, key: entry.name, .line(entry.line))
    guard case .scalar(let scalar) = entry.node, !scalar.string.isEmpty, ConfigurationValue(entry.node) != .null else {
      throw wrongType(entry, key: entry.name, allowed: allowed)
    }
    return scalar.string
  }

  static let allowedName = "a name of letters, digits and the characters . _ - + =, which begins with a letter or a digit"

  /// Names become those of directories, parts of a point's name, and cells of a table.
  func name(_ entry: YAMLText.Entry, key: String) throws(ConfigurationError) -> String {
    let name = try text(entry, allowed: Self.allowedName)
    try checkName(name, key: key, line: entry.line)
    return name
  }

  private func checkName(_ name: String, key: String, line: Int?) throws(ConfigurationError) {
    func isPlain(_ scalar: Unicode.Scalar) -> Bool {
      scalar.properties.isAlphabetic || scalar.isASCII && scalar.properties.numericType != nil
    }
    guard name.unicodeScalars.allSatisfy({ isPlain($0) || "._-+=".unicodeScalars.contains($0) }), name.unicodeScalars.first.map(isPlain) == true,
      name.utf8.count <= 100
    else { throw error(.outOfRange, line, key, found: "found \"\(abbreviated(name))\"", allowed: Self.allowedName) }
  }

  func texts(_ entry: YAMLText.Entry, allowed: String) throws(ConfigurationError) -> [String] {
    guard case .sequence(let nodes) = entry.node else { throw wrongType(entry, key: entry.name, allowed: allowed) }
    var texts: [String] = []
    for node in nodes { texts.append(try text((entry.name, node, node.mark?.line ?? entry.line), allowed: allowed)) }
    return texts
  }

  func seeds(_ entry: YAMLText.Entry) throws(ConfigurationError) -> [UInt64] {
    let allowed = "a list of distinct integers from 0 to \(UInt64.max)"
    if case .sequence(let nodes) = entry.node, nodes.isEmpty { throw error(.wrongType, entry.line, entry.name, found: "found an empty list", allowed: allowed) }
    guard case .sequence(let nodes) = entry.node else { throw wrongType(entry, key: entry.name, allowed: allowed) }
    var seeds: [UInt64] = []
    for node in nodes {
      let line = node.mark?.line ?? entry.line
      guard let integer = ConfigurationValue(node).integer, let seed = UInt64(exactly: integer) else {
        throw wrongType((entry.name, node, line), key: entry.name, allowed: allowed)
      }
      if seeds.contains(seed) { throw error(.duplicateKey, line, entry.name, found: "\(seed) stands twice", allowed: allowed) }
      seeds.append(seed)
    }
    return seeds
  }

  func targets(_ entry: YAMLText.Entry) throws(ConfigurationError) -> [Study.Target] {
    let allowed = "a mapping of \(list(Study.measures)) to numbers"
    var targets: [Study.Target] = []
    for target in try text.entries(entry.node, key: entry.name, .line(entry.line), allowed: allowed) {
      let key = "targets.\(target.name)"
      guard Study.measures.contains(target.name) else { throw error(.unknownKey, target.line, key, found: "unknown key", allowed: allowed) }
      let value: Double
      switch ConfigurationValue(target.node) {
      case .integer(let integer): value = Double(integer)
      case .number(let number, _) where number.isFinite: value = number
      default: throw wrongType(target, key: key, allowed: "a number")
      }
      targets.append(Study.Target(measure: target.name, value: value))
    }
    return targets
  }

  func axes(_ entry: YAMLText.Entry) throws(ConfigurationError) -> [Study.Axis] {
    var axes: [Study.Axis] = []
    for axis in try text.entries(entry.node, key: entry.name, .line(entry.line), allowed: "a mapping of axes") {
      let key = "axes.\(axis.name)"
      try checkName(axis.name, key: key, line: axis.line)
      var entries: [Study.Entry] = []
      for one in try text.entries(axis.node, key: key, .line(axis.line), allowed: "a mapping of the axis's entries to what they set") {
        try checkName(one.name, key: "\(key).\(one.name)", line: one.line)
        entries.append(Study.Entry(name: one.name, settings: try settings(one, key: "\(key).\(one.name)")))
      }
      if entries.isEmpty { throw error(.wrongType, axis.line, key, found: "has no entries", allowed: "a mapping of the axis's entries to what they set") }
      axes.append(Study.Axis(name: axis.name, entries: entries))
    }
    return axes
  }

  /// What a mapping of keys of the configuration sets, its sections written out or with dots.
  func settings(_ entry: YAMLText.Entry, key: String) throws(ConfigurationError) -> [Study.Setting] {
    let allowed = "a mapping of keys of the configuration to values, such as {model.hidden_size: 200}"
    var settings: [Study.Setting] = []
    func add(_ path: String, _ node: Node, _ line: Int?) throws(ConfigurationError) {
      try text.checkVisible(node, key: path, .line(line))
      if let before = settings.first(where: { $0.key == path }) {
        let place = before.line.map { ", here and in line \($0)" } ?? ""
        throw error(.duplicateKey, line, path, found: "is set twice\(place)", allowed: "once")
      }
      settings.append(Study.Setting(key: path, text: "\(path)=\(try value(node, of: path, line))", line: line))
    }
    // Nothing may be set: an axis can have an entry that is the base.
    if ConfigurationValue(entry.node) == .null { return [] }
    for one in try text.entries(entry.node, key: key, .line(entry.line), allowed: allowed) {
      if ConfigurationTable.sections.contains(one.name) {
        for inner in try text.entries(one.node, key: one.name, .line(one.line), allowed: "a mapping of the section's keys") {
          try add("\(one.name).\(inner.name)", inner.node, inner.line)
        }
      } else {
        try add(one.name, one.node, one.line)
      }
    }
    return settings
  }

  /// A value as `--set` takes it.
  private func value(_ node: Node, of path: String, _ line: Int?) throws(ConfigurationError) -> String {
    let value = ConfigurationValue(node)
    switch value {
    case .other(let words): throw error(.wrongType, line, path, found: "found \(words)", allowed: ConfigurationTable.key(path)?.allowed)
    case .text(let text) where ConfigurationTable.key(path)?.isPath == true: return text
    default: return value.yaml
    }
  }
}
