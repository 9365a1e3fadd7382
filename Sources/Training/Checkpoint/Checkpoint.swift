/// A checkpoint whose files are all as they were written.
public struct Checkpoint: Sendable {
  /// The directory.
  public let path: String
  /// What `state.json` holds.
  public let state: CheckpointState

  private let system: FileSystem

  /// Opens the checkpoint in the directory `path` and checks size and checksum of every file.
  /// - Throws: `CheckpointError`.
  public init(verifying path: String) throws(CheckpointError) { try self.init(verifying: path, system: FileSystem()) }

  package init(verifying path: String, system: FileSystem) throws(CheckpointError) {
    self.path = path
    self.system = system
    let bytes = try Self.bytes(of: CheckpointLayout.state, in: path, limit: 1 << 26, system: system)
    state = try CheckpointState(decoding: bytes, path: path)
    for name in [CheckpointLayout.model, CheckpointLayout.training] where state.files[name] == nil {
      throw CheckpointError(path, file: CheckpointLayout.state, .state("does not list \(name)"))
    }
    for (name, record) in state.files.sorted(by: { $0.key < $1.key }) { try verify(name, record) }
  }

  /// Opens `model.safetensors`.
  public func model() throws(CheckpointError) -> SafetensorsFile { try tensors(CheckpointLayout.model) }

  /// Opens `training.safetensors`: optimizer and carried recurrent state.
  public func training() throws(CheckpointError) -> SafetensorsFile { try tensors(CheckpointLayout.training) }

  /// The content of another file of the checkpoint, such as `vocabulary.json`.
  /// - Throws: `CheckpointError` if the checkpoint has none of this name.
  public func bytes(of name: String) throws(CheckpointError) -> [UInt8] {
    guard let record = state.files[name] else { throw CheckpointError(path, file: name, .missingFile) }
    return try Self.bytes(of: name, in: path, limit: record.bytes, system: system)
  }

  private func tensors(_ name: String) throws(CheckpointError) -> SafetensorsFile {
    do {
      return try SafetensorsFile("\(path)/\(name)", system: system)
    } catch { throw CheckpointError(path, file: name, .tensors(error)) }
  }

  private func verify(_ name: String, _ record: FileRecord) throws(CheckpointError) {
    guard !name.isEmpty, !name.contains("/"), name != ".", name != ".." else {
      throw CheckpointError(path, file: CheckpointLayout.state, .state("lists the impossible file name \(name.debugDescription)"))
    }
    let file = try Self.open(name, in: path, system: system)
    // The size first: it tells a cut file without reading it, and keeps away from devices that never end.
    let size = try CheckpointError.naming(path, file: name) { () throws(FileError) in try file.status().bytes }
    guard size == record.bytes else { throw CheckpointError(path, file: name, .size(found: size, expected: record.bytes)) }
    let found = try CheckpointError.naming(path, file: name) { () throws(FileError) in try Checksum.measure(file) }
    guard found.bytes == record.bytes else {
      throw CheckpointError(path, file: name, .size(found: found.bytes, expected: record.bytes))
    }
    guard found.checksum.hexadecimal == record.checksum else {
      throw CheckpointError(path, file: name, .checksum(found: found.checksum.hexadecimal, expected: record.checksum))
    }
  }

  private static func open(_ name: String, in path: String, system: FileSystem) throws(CheckpointError) -> PosixFile {
    do {
      return try PosixFile("\(path)/\(name)", .read, system: system)
    } catch {
      throw CheckpointError(path, file: name, error.operation == .open && !error.isInputOutput && error.found == nil ? .missingFile : .file(error))
    }
  }

  private static func bytes(
    of name: String, in path: String, limit: Int, system: FileSystem
  ) throws(CheckpointError) -> [UInt8] {
    let file = try open(name, in: path, system: system)
    return try CheckpointError.naming(path, file: name) { () throws(FileError) in
      var bytes = [UInt8](repeating: 0, count: min(try file.status().bytes, limit))
      let count = try file.read(into: &bytes, at: 0)
      return Array(bytes[..<count])
    }
  }
}
