/// One line of `metrics.jsonl`: a kind and its fields in order, such as
/// `{"event":"step","step":1,"epoch":1,"loss":9.2,…}`.
///
/// A double that is not finite is written as `null`.
public struct MetricsEvent: Equatable, Sendable {
  /// The kind: `start`, `step`, `validation`, `test`, `checkpoint`, `checkpoint_failed`, `lost`, `resume`, `end`, and others.
  public let kind: String
  /// The other keys, in order.
  public private(set) var fields: [JSONField]

  static let kindKey = "event"

  /// An event with fields, whose names must be distinct.
  public init(_ kind: String, _ fields: [JSONField] = []) {
    self.kind = kind
    self.fields = []
    for field in fields { append(field.name, field.value) }
  }

  /// The value of a field, or nil.
  public subscript(name: String) -> JSONValue? { fields.first { $0.name == name }?.value }

  /// Appends a field of a new name.
  public mutating func append(_ name: String, _ value: JSONValue) {
    precondition(name != Self.kindKey && self[name] == nil, "the field \(name) a second time")
    fields.append(JSONField(name, value))
  }

  /// The line, without its end.
  public var line: String { JSONValue.object([JSONField(Self.kindKey, .string(kind))] + fields).text }

  /// Reads a line.
  /// - Throws: `JSONCursor.Failure`.
  package init(parsing line: [UInt8]) throws(JSONCursor.Failure) {
    guard case .object(var fields) = try JSONValue(parsing: line) else {
      throw JSONCursor.Failure(offset: 0, message: "expected an object")
    }
    guard let index = fields.firstIndex(where: { $0.name == Self.kindKey }), let kind = fields[index].value.string else {
      throw JSONCursor.Failure(offset: 0, message: "expected the key \"event\" with a string")
    }
    fields.remove(at: index)
    self.kind = kind
    self.fields = fields
  }
}
