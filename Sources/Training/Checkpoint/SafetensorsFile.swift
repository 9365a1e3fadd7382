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

  /// Reads the elements of a tensor.
  /// - destination: as many elements as the tensor has.
  /// - converting: whether other types of floating-point numbers than float32 are read too.
  /// - Throws: `SafetensorsError` for a tensor that is not there, is of another type or has another size, for a number that float32 cannot
  ///   hold, and if reading fails.
  public func read(_ name: String, into destination: VectorView<Float>, converting: Bool = false) throws(SafetensorsError) {
    guard let entry = self[name] else { throw missing(name, allowed: "a file that holds it") }
    try checkType(entry, converting: converting)
    guard entry.count == destination.count else {
      throw SafetensorsError(
        file: path, tensor: name, .shape, found: "\(entry.count) elements, shape \(entry.shape)",
        allowed: "\(destination.count) elements")
    }
    if entry.elementType != .float32 { return try convert(entry, into: destination) }
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

  /// Reads a tensor of another type than float32, a piece at a time.
  private func convert(_ entry: SafetensorsEntry, into destination: VectorView<Float>) throws(SafetensorsError) {
    let width = entry.elementType.bytes, piece = 1 << 16
    for start in stride(from: 0, to: entry.count, by: piece) {
      var bytes = [UInt8](repeating: 0, count: min(piece, entry.count - start) * width)
      let count: Int
      do {
        count = try file.read(into: &bytes, at: dataOffset + entry.bytes.lowerBound + start * width)
      } catch { throw SafetensorsError(file: path, tensor: entry.name, error) }
      guard count == bytes.count else {
        throw SafetensorsError(
          file: path, tensor: entry.name, .truncated, found: "\(start * width + count) bytes of data", allowed: "\(entry.bytes.count)")
      }
      for element in 0..<count / width {
        var bits: UInt64 = 0
        for byte in (0..<width).reversed() { bits = bits << 8 | UInt64(bytes[element * width + byte]) }
        guard let value = entry.elementType.float32(bits) else {
          throw SafetensorsError(
            file: path, tensor: entry.name, .range, found: "\(Double(bitPattern: bits)) as element \(start + element) (from 0)",
            allowed: "numbers that float32 can hold")
        }
        destination[start + element] = value
      }
    }
  }

  /// Reads all tensors of a model, after checking that the file holds them, and nothing else, in their shapes.
  /// - model: name, shape and memory of each tensor; unchanged if the check fails.
  /// - optional: names of `model` that the file may lack.
  /// - converting: whether other types of floating-point numbers than float32 are read too, and rounded to it.
  /// - Returns: the names that it lacks.
  /// - Throws: `SafetensorsError` that names the missing, extra or misshapen tensor.
  public func read(
    into model: [NamedTensor], optional: Set<String> = [], converting: Bool = false
  ) throws(SafetensorsError) -> [String] {
    let expected = Set(model.map(\.name))
    for tensor in model {
      guard let entry = self[tensor.name] else {
        if optional.contains(tensor.name) { continue }
        throw missing(tensor.name, allowed: "a tensor of shape \(tensor.shape)")
      }
      try checkType(entry, converting: converting)
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
      if self[tensor.name] == nil { absent.append(tensor.name) } else { try read(tensor.name, into: tensor.values, converting: converting) }
    }
    return absent
  }

  private func checkType(_ entry: SafetensorsEntry, converting: Bool) throws(SafetensorsError) {
    let allowed = converting ? SafetensorsElementType.allCases.filter { $0.float32(0) != nil } : [.float32]
    guard allowed.contains(entry.elementType) else {
      throw SafetensorsError(
        file: path, tensor: entry.name, .elementType, found: "the type \(entry.elementType.rawValue)",
        allowed: list(allowed.map(\.rawValue)))
    }
  }

  private func missing(_ name: String, allowed: String) -> SafetensorsError {
    SafetensorsError(file: path, tensor: name, .missingTensor, found: "no such tensor", allowed: allowed)
  }
}
