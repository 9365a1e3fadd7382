/// Element types of the safetensors format that fill whole bytes.
public enum SafetensorsElementType: String, Sendable, CaseIterable {
  case bool = "BOOL"
  case uint8 = "U8"
  case int8 = "I8"
  case float8e5m2 = "F8_E5M2"
  case float8e4m3 = "F8_E4M3"
  case int16 = "I16"
  case uint16 = "U16"
  case float16 = "F16"
  case bfloat16 = "BF16"
  case int32 = "I32"
  case uint32 = "U32"
  case float32 = "F32"
  case float64 = "F64"
  case int64 = "I64"
  case uint64 = "U64"

  /// Bytes of an element.
  public var bytes: Int {
    switch self {
    case .bool, .uint8, .int8, .float8e5m2, .float8e4m3: 1
    case .int16, .uint16, .float16, .bfloat16: 2
    case .int32, .uint32, .float32: 4
    case .float64, .int64, .uint64: 8
    }
  }

  /// The float32 nearest to the element of these bits. Nil for a finite number that is past float32, and for types that are no floating-point
  /// numbers of 16 bits or more.
  func float32(_ bits: UInt64) -> Float? {
    switch self {
    case .float16: return Float(Float16(bitPattern: UInt16(truncatingIfNeeded: bits)))
    case .bfloat16: return Float(bitPattern: UInt32(truncatingIfNeeded: bits) << 16)
    case .float32: return Float(bitPattern: UInt32(truncatingIfNeeded: bits))
    case .float64:
      let number = Double(bitPattern: bits), nearest = Float(number)
      return nearest.isInfinite && number.isFinite ? nil : nearest
    case .bool, .uint8, .int8, .float8e5m2, .float8e4m3, .int16, .uint16, .int32, .uint32, .int64, .uint64: return nil
    }
  }
}

/// What the header of a safetensors file says about one tensor.
public struct SafetensorsEntry: Equatable, Sendable {
  /// Name, unique in the file.
  public let name: String
  /// Type of the elements.
  public let elementType: SafetensorsElementType
  /// Lengths of the dimensions.
  public let shape: [Int]
  /// Place of the elements, in bytes from the end of the header.
  public let bytes: Range<Int>

  /// Number of elements.
  public var count: Int { bytes.count / elementType.bytes }
}

/// The header of a safetensors file: JSON that names every tensor with its type, shape and place
/// (format of https://github.com/huggingface/safetensors).
struct SafetensorsHeader {
  /// Longest header that is read, as in the reference implementation.
  static let maximumBytes = 100_000_000
  /// Most dimensions of a tensor that are read.
  private static let maximumDimensions = 32
  private static let metadataKey = "__metadata__"

  /// The tensors, in the order of their data.
  let entries: [SafetensorsEntry]
  /// The free text of `__metadata__`.
  let metadata: [String: String]

  /// The header of float32 tensors that follow each other in the given order.
  init(writing tensors: [NamedTensor], metadata: [String: String]) {
    var offset = 0
    var entries: [SafetensorsEntry] = []
    var names: Set<String> = [Self.metadataKey]
    for tensor in tensors {
      precondition(names.insert(tensor.name).inserted, "tensor \(tensor.name) is written twice")
      let end = offset + tensor.values.count * MemoryLayout<Float>.stride
      entries.append(SafetensorsEntry(name: tensor.name, elementType: .float32, shape: tensor.shape, bytes: offset..<end))
      offset = end
    }
    self.entries = entries
    self.metadata = metadata
  }

  /// Bytes of the header with its length before it; padded so that the data begins at a multiple of 8.
  var encoded: [UInt8] {
    var fields: [JSONField] = []
    if !metadata.isEmpty {
      let texts = metadata.sorted { $0.key < $1.key }.map { JSONField($0.key, .string($0.value)) }
      fields.append(JSONField(Self.metadataKey, .object(texts)))
    }
    for entry in entries {
      let value: [JSONField] = [
        JSONField("dtype", .string(entry.elementType.rawValue)),
        JSONField("shape", .array(entry.shape.map { .integer($0) })),
        JSONField("data_offsets", .array([.integer(entry.bytes.lowerBound), .integer(entry.bytes.upperBound)])),
      ]
      fields.append(JSONField(entry.name, .object(value)))
    }
    var json = Array(JSONValue.object(fields).text.utf8)
    json += [UInt8](repeating: UInt8(ascii: " "), count: (8 - json.count % 8) % 8)
    return (0..<8).map { UInt8(truncatingIfNeeded: json.count >> ($0 * 8)) } + json
  }

  /// Reads a header and checks all of it.
  /// - json: the header without its length.
  /// - dataBytes: bytes of the file after the header.
  /// - file: named in errors.
  init(parsing json: [UInt8], dataBytes: Int, file: String) throws(SafetensorsError) {
    var parser = SafetensorsHeaderParser(json, file: file)
    (entries, metadata) = try parser.parse(metadataKey: Self.metadataKey, maximumDimensions: Self.maximumDimensions)
    try Self.checkPlaces(entries, dataBytes: dataBytes, file: file)
  }

  /// The data of the tensors must fill the file from the header to the end, without gap or overlap.
  private static func checkPlaces(_ entries: [SafetensorsEntry], dataBytes: Int, file: String) throws(SafetensorsError) {
    var end = 0
    for entry in entries {
      if entry.bytes.lowerBound != end {
        throw SafetensorsError(
          file: file, tensor: entry.name, .offsets, found: "data begins at byte \(entry.bytes.lowerBound)",
          allowed: "\(end), where the data before it ends")
      }
      end = entry.bytes.upperBound
      if end > dataBytes {
        throw SafetensorsError(
          file: file, tensor: entry.name, .truncated, found: "data ends at byte \(end)",
          allowed: "at most \(dataBytes), the end of the file")
      }
    }
    if end != dataBytes {
      throw SafetensorsError(
        file: file, .offsets, found: "\(dataBytes) bytes of data", allowed: "\(end), as the header says")
    }
  }
}
