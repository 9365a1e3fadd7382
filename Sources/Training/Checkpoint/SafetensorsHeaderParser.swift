/// Reads the JSON of a safetensors header. What the file says is believed only after it was checked:
/// no sum or product can overflow, and nothing larger than the header itself is kept.
struct SafetensorsHeaderParser {
  private var cursor: JSONCursor
  private let file: String

  init(_ json: [UInt8], file: String) {
    cursor = JSONCursor(json)
    self.file = file
  }

  /// Reads the whole header.
  /// - Returns: the tensors in the order of their data, each in itself consistent, and the free text.
  mutating func parse(
    metadataKey: String, maximumDimensions: Int
  ) throws(SafetensorsError) -> ([SafetensorsEntry], [String: String]) {
    var entries: [SafetensorsEntry] = []
    var metadata: [String: String] = [:]
    var names: Set<String> = []
    try expect("{")
    if !cursor.skip("}") {
      repeat {
        let name = try string()
        if !names.insert(name).inserted {
          throw error(name, .duplicateName, found: "a name that stands twice", allowed: "each name once")
        }
        try expect(":")
        if name == metadataKey {
          metadata = try parseMetadata(name)
        } else {
          entries.append(try parseEntry(name, maximumDimensions: maximumDimensions))
        }
      } while cursor.skip(",")
      try expect("}")
    }
    guard cursor.peek() == nil else {
      throw error(nil, .header, found: "bytes after the header's object", allowed: "white space")
    }
    // Tensors without elements share their place with a neighbour: the order of the header decides.
    let order = entries.indices.sorted {
      let (a, b) = (entries[$0].bytes, entries[$1].bytes)
      return (a.lowerBound, a.upperBound, $0) < (b.lowerBound, b.upperBound, $1)
    }
    return (order.map { entries[$0] }, metadata)
  }

  private mutating func parseMetadata(_ key: String) throws(SafetensorsError) -> [String: String] {
    var metadata: [String: String] = [:]
    try expect("{")
    if cursor.skip("}") { return metadata }
    repeat {
      let name = try string()
      try expect(":")
      guard metadata.updateValue(try string(), forKey: name) == nil else {
        throw error(key, .duplicateName, found: "the key \(SafetensorsError.quoted(name)) twice", allowed: "each key once")
      }
    } while cursor.skip(",")
    try expect("}")
    return metadata
  }

  private mutating func parseEntry(_ name: String, maximumDimensions: Int) throws(SafetensorsError) -> SafetensorsEntry {
    var elementType: SafetensorsElementType?
    var shape: [Int]?
    var offsets: [Int]?
    try expect("{")
    repeat {
      let key = try string()
      try expect(":")
      switch key {
      case "dtype" where elementType == nil: elementType = try parseElementType(name)
      case "shape" where shape == nil: shape = try parseIntegers(name, key, atMost: maximumDimensions)
      case "data_offsets" where offsets == nil: offsets = try parseIntegers(name, key, atMost: 2)
      default:
        throw error(
          name, .header, found: "the key \(SafetensorsError.quoted(key))", allowed: "dtype, shape and data_offsets, once each")
      }
    } while cursor.skip(",")
    try expect("}")
    guard let elementType, let shape, let offsets else {
      throw error(name, .header, found: "a key is missing", allowed: "dtype, shape and data_offsets, once each")
    }
    guard offsets.count == 2, offsets[0] <= offsets[1] else {
      throw error(name, .offsets, found: "data_offsets \(offsets)", allowed: "begin and end, in this order")
    }
    let bytes = try byteCount(name, shape, elementType)
    guard offsets[1] - offsets[0] == bytes else {
      throw error(
        name, .shape, found: "\(offsets[1] - offsets[0]) bytes of data",
        allowed: "\(bytes), which the shape \(shape) of \(elementType.rawValue) needs")
    }
    return SafetensorsEntry(name: name, elementType: elementType, shape: shape, bytes: offsets[0]..<offsets[1])
  }

  private func byteCount(
    _ name: String, _ shape: [Int], _ elementType: SafetensorsElementType
  ) throws(SafetensorsError) -> Int {
    var bytes = elementType.bytes
    for length in shape {
      let (product, overflow) = bytes.multipliedReportingOverflow(by: length)
      if overflow {
        throw error(name, .shape, found: "the shape \(shape)", allowed: "fewer than 2^63 bytes")
      }
      bytes = product
    }
    return bytes
  }

  private mutating func parseElementType(_ name: String) throws(SafetensorsError) -> SafetensorsElementType {
    let text = try string()
    guard let elementType = SafetensorsElementType(rawValue: text) else {
      let known = SafetensorsElementType.allCases.map(\.rawValue).joined(separator: ", ")
      throw error(name, .elementType, found: "the type \(SafetensorsError.quoted(text))", allowed: known)
    }
    return elementType
  }

  /// Integers of at least 0 in brackets.
  private mutating func parseIntegers(_ name: String, _ key: String, atMost limit: Int) throws(SafetensorsError) -> [Int] {
    var values: [Int] = []
    try expect("[")
    if cursor.skip("]") { return values }
    repeat {
      let number: JSONCursor.Number
      do { number = try cursor.number() } catch { throw self.error(error) }
      guard number.isInteger, let value = Int(number.text), value >= 0, number.text != "-0" else {
        throw error(
          name, key == "shape" ? .shape : .offsets, found: "\(key) with \(number.text.prefix(40))",
          allowed: "integers from 0 to 2^63 - 1")
      }
      if values.count == limit {
        throw error(
          name, key == "shape" ? .shape : .offsets, found: "\(key) with more than \(limit) numbers", allowed: "\(limit)")
      }
      values.append(value)
    } while cursor.skip(",")
    try expect("]")
    return values
  }

  private mutating func expect(_ character: Unicode.Scalar) throws(SafetensorsError) {
    do { try cursor.expect(character) } catch { throw self.error(error) }
  }

  private mutating func string() throws(SafetensorsError) -> String {
    do { return try cursor.string() } catch { throw self.error(error) }
  }

  private func error(_ failure: JSONCursor.Failure) -> SafetensorsError {
    error(nil, .header, found: "byte \(failure.offset) of the header: \(failure.message)", allowed: "JSON of a safetensors header")
  }

  private func error(
    _ tensor: String?, _ problem: SafetensorsError.Problem, found: String, allowed: String
  ) -> SafetensorsError {
    SafetensorsError(file: file, tensor: tensor, problem, found: found, allowed: allowed)
  }
}
