/// What a value has against it; where it stands is added further up.
struct ConfigurationMismatch: Error {
  var reason: ConfigurationError.Reason
  /// The field of a record that is to blame; nil: the whole value.
  var field: String?
  var line: Int?
  var found: String
  /// nil: what the key allows.
  var allowed: String?
  var nearestField: String?

  static func wrongType(_ value: ConfigurationValue) -> Self { Self(reason: .wrongType, found: "found \(value.spelledOut)") }
  static func outOfRange(_ value: ConfigurationValue) -> Self { Self(reason: .outOfRange, found: "found \(value.spelledOut)") }
}

/// How a key's value goes to and from YAML, and which values are allowed.
struct ConfigurationCodec<T>: Sendable {
  /// The allowed values in words, for messages and the reference.
  let allowed: String
  let encode: @Sendable (T) -> ConfigurationValue
  let decode: @Sendable (ConfigurationValue) throws(ConfigurationMismatch) -> T
  /// Whether what `--set` gives is a path, and so taken as it stands and not as YAML.
  var isPath = false
  /// Whether `null` is a value.
  var allowsNull = false
}

/// An upper bound for counts that have no natural one: sums and products of a few of them stay far inside 64 bits.
let unboundedCount = Int(Int32.max)

extension ConfigurationCodec where T == Int {
  static func integer(_ range: ClosedRange<Int>) -> Self {
    Self(
      allowed: "an integer from \(range.lowerBound) to \(range.upperBound)",
      encode: { .integer(Int128($0)) },
      decode: { value throws(ConfigurationMismatch) in
        guard let integer = value.integer else { throw .wrongType(value) }
        guard let result = Int(exactly: integer), range.contains(result) else { throw .outOfRange(value) }
        return result
      })
  }
}

extension ConfigurationCodec where T == UInt64 {
  static var seed: Self {
    Self(
      allowed: "an integer from 0 to \(UInt64.max)",
      encode: { .integer(Int128($0)) },
      decode: { value throws(ConfigurationMismatch) in
        guard let integer = value.integer else { throw .wrongType(value) }
        guard let result = UInt64(exactly: integer) else { throw .outOfRange(value) }
        return result
      })
  }
}

extension ConfigurationCodec where T == Double {
  static func number(
    over: Double? = nil, from: Double? = nil, to: Double? = nil, below: Double? = nil
  ) -> Self {
    let bounds: [(symbol: String, bound: Double?)] = [(">", over), ("≥", from), ("≤", to), ("<", below)]
    let words = bounds.compactMap { symbol, bound in bound.map { "\(symbol) \(ConfigurationValue.number($0).yaml)" } }
    return Self(
      allowed: words.isEmpty ? "a number" : "a number " + words.joined(separator: " and "),
      encode: { .number($0) },
      decode: { value throws(ConfigurationMismatch) in
        let number: Double
        switch value {
        case .integer(let integer): number = Double(integer)
        case .number(let double, _): number = double
        default: throw .wrongType(value)
        }
        // Training is in single precision: what that cannot hold would silently become infinite, or zero.
        guard number.isFinite, Float(number).isFinite, (Float(number) == 0) == (number == 0) else {
          var mismatch = ConfigurationMismatch.outOfRange(value)
          if number.isFinite { mismatch.found += ", which single precision cannot hold" }
          throw mismatch
        }
        guard over.map({ number > $0 }) ?? true, from.map({ number >= $0 }) ?? true,
          to.map({ number <= $0 }) ?? true, below.map({ number < $0 }) ?? true
        else { throw .outOfRange(value) }
        return number
      })
  }
}

extension ConfigurationCodec where T == Bool {
  static var boolean: Self {
    Self(
      allowed: "true or false",
      encode: { .boolean($0) },
      decode: { value throws(ConfigurationMismatch) in
        guard case .boolean(let result) = value else { throw .wrongType(value) }
        return result
      })
  }
}

extension ConfigurationCodec where T == String {
  static var path: Self {
    Self(
      allowed: "a path",
      encode: { .text($0) },
      decode: { value throws(ConfigurationMismatch) in
        guard case .text(let path) = value else {
          var mismatch = ConfigurationMismatch.wrongType(value)
          switch value {
          case .boolean, .integer, .number: mismatch.allowed = "a path (in quotes if it looks like a number or true or false)"
          default: break
          }
          throw mismatch
        }
        guard !path.isEmpty, !path.unicodeScalars.contains("\0") else { throw .outOfRange(value) }
        return path
      },
      isPath: true)
  }
}

extension ConfigurationCodec where T: CaseIterable & RawRepresentable<String> & Sendable {
  static var choice: Self {
    Self(
      allowed: list(T.allCases.map(\.rawValue)),
      encode: { .text($0.rawValue) },
      decode: { value throws(ConfigurationMismatch) in
        guard case .text(let word) = value else { throw .wrongType(value) }
        guard let result = T(rawValue: word) else { throw .outOfRange(value) }
        return result
      })
  }
}

extension ConfigurationCodec {
  /// `null` for nil.
  static func orNull<W: Sendable>(_ codec: ConfigurationCodec<W>) -> Self where T == W? {
    Self(
      allowed: codec.allowed + ", or null",
      encode: { $0.map(codec.encode) ?? .null },
      decode: { value throws(ConfigurationMismatch) in value == .null ? nil : try codec.decode(value) },
      isPath: codec.isPath, allowsNull: true)
  }

  /// `auto` for nil.
  static func orAuto<W: Sendable>(_ codec: ConfigurationCodec<W>) -> Self where T == W? {
    Self(
      allowed: codec.allowed + ", or auto",
      encode: { $0.map(codec.encode) ?? .text("auto") },
      decode: { value throws(ConfigurationMismatch) in value == .text("auto") ? nil : try codec.decode(value) })
  }
}

/// `a, b or c`.
func list(_ words: [String], _ conjunction: String = "or") -> String {
  words.count < 2 ? words.joined() : words.dropLast().joined(separator: ", ") + " \(conjunction) " + words.last!
}
