import Tensors

/// A safetensors file that is open for reading. Opening reads and checks the header; elements are read when asked for,
/// straight into their destination.
public struct SafetensorsFile: ~Copyable {
  /// The path that it was opened with.
  public let path: String
  /// The tensors, in the order of their data.
  public let tensors: [SafetensorsEntry]
  /// The free text of the header.
  public let metadata: [String: String]

  private let file: PosixFile
  private let dataOffset: Int
  private let indices: [String: Int]

  /// Opens a file and checks its header against the file's size.
  /// - Throws: `SafetensorsError`.
  public init(_ path: String) throws(SafetensorsError) {
    try self.init(path, system: FileSystem())
  }

  package init(_ path: String, system: FileSystem) throws(SafetensorsError) {
    let file = try Self.open(path, system)
    let bytes: Int
    var length = [UInt8](repeating: 0, count: 8)
    let lengthCount: Int
    do {
      bytes = try file.status().bytes
      lengthCount = try file.read(into: &length, at: 0)
    } catch { throw SafetensorsError(file: path, error) }
    guard lengthCount == 8 else {
      throw SafetensorsError(file: path, .truncated, found: "\(bytes) bytes", allowed: "8 bytes of header length, and a header")
    }
    let headerBytes = try Self.headerLength(length, fileBytes: bytes, path: path)
    var json = [UInt8](repeating: 0, count: headerBytes)
    let jsonCount: Int
    do { jsonCount = try file.read(into: &json, at: 8) } catch { throw SafetensorsError(file: path, error) }
    guard jsonCount == headerBytes else {
      throw SafetensorsError(file: path, .truncated, found: "\(jsonCount) bytes of header", allowed: "\(headerBytes)")
    }
    let header = try SafetensorsHeader(parsing: json, dataBytes: bytes - 8 - headerBytes, file: path)
    self.path = path
    self.file = file
    tensors = header.entries
    metadata = header.metadata
    dataOffset = 8 + headerBytes
    indices = Dictionary(uniqueKeysWithValues: header.entries.enumerated().map { ($1.name, $0) })
  }

  private static func open(_ path: String, _ system: FileSystem) throws(SafetensorsError) -> PosixFile {
    do { return try PosixFile(path, .read, system: system) } catch { throw SafetensorsError(file: path, error) }
  }

  private static func headerLength(_ bytes: [UInt8], fileBytes: Int, path: String) throws(SafetensorsError) -> Int {
    let length = bytes.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    let limit = min(SafetensorsHeader.maximumBytes, fileBytes - 8)
    guard length <= UInt64(SafetensorsHeader.maximumBytes) else {
      throw SafetensorsError(file: path, .headerLength, found: "a header of \(length) bytes", allowed: "at most \(limit)")
    }
    guard length <= UInt64(max(limit, 0)) else {
      throw SafetensorsError(
        file: path, .truncated, found: "a header of \(length) bytes in a file of \(fileBytes)", allowed: "at most \(limit)")
    }
    return Int(length)
  }

  /// The tensor of the given name, or nil.
  public subscript(name: String) -> SafetensorsEntry? { indices[name].map { tensors[$0] } }

  /// Reads the elements of a float32 tensor.
  /// - destination: as many elements as the tensor has.
  /// - Throws: `SafetensorsError` for a tensor that is not there, is not float32 or has another size, and if reading fails.
  public func read(_ name: String, into destination: VectorView<Float>) throws(SafetensorsError) {
    guard let entry = self[name] else { throw missing(name, allowed: "a file that holds it") }
    try checkType(entry)
    guard entry.count == destination.count else {
      throw SafetensorsError(
        file: path, tensor: name, .shape, found: "\(entry.count) elements, shape \(entry.shape)",
        allowed: "\(destination.count) elements")
    }
    let count: Int
    do {
      count = try destination.withMutableSpan { (span: inout MutableSpan<Float>) throws(FileError) in
        // Any four bytes are a valid float.
        var bytes = unsafe span.mutableBytes
        return try file.read(into: &bytes, at: dataOffset + entry.bytes.lowerBound)
      }
    } catch { throw SafetensorsError(file: path, tensor: name, error) }
    guard count == entry.bytes.count else {
      throw SafetensorsError(
        file: path, tensor: name, .truncated, found: "\(count) bytes of data", allowed: "\(entry.bytes.count)")
    }
  }

  /// Reads all tensors of a model, after checking that the file holds them, and nothing else, in their shapes.
  /// - model: name, shape and memory of each tensor; unchanged if the check fails.
  /// - optional: names of `model` that the file may lack.
  /// - Returns: the names that it lacks.
  /// - Throws: `SafetensorsError` that names the missing, extra or misshapen tensor.
  public func read(into model: [NamedTensor], optional: Set<String> = []) throws(SafetensorsError) -> [String] {
    let expected = Set(model.map(\.name))
    for tensor in model {
      guard let entry = self[tensor.name] else {
        if optional.contains(tensor.name) { continue }
        throw missing(tensor.name, allowed: "a tensor of shape \(tensor.shape)")
      }
      try checkType(entry)
      guard entry.shape == tensor.shape else {
        throw SafetensorsError(
          file: path, tensor: tensor.name, .shape, found: "the shape \(entry.shape)", allowed: "\(tensor.shape)")
      }
    }
    if let extra = tensors.first(where: { !expected.contains($0.name) }) {
      throw SafetensorsError(
        file: path, tensor: extra.name, .extraTensor, found: "a tensor that the model does not have",
        allowed: "the model's tensors")
    }
    var absent: [String] = []
    for tensor in model {
      if self[tensor.name] == nil { absent.append(tensor.name) } else { try read(tensor.name, into: tensor.values) }
    }
    return absent
  }

  private func checkType(_ entry: SafetensorsEntry) throws(SafetensorsError) {
    guard entry.elementType == .float32 else {
      throw SafetensorsError(
        file: path, tensor: entry.name, .elementType, found: "the type \(entry.elementType.rawValue)", allowed: "F32")
    }
  }

  private func missing(_ name: String, allowed: String) -> SafetensorsError {
    SafetensorsError(file: path, tensor: name, .missingTensor, found: "no such tensor", allowed: allowed)
  }
}
