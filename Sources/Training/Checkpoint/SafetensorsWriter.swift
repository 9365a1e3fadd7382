import Tensors

#if _endian(big)
  #error("safetensors files are little-endian, and tensors are written as they lie in memory")
#endif

/// Writes safetensors files: the same tensors give the same bytes.
public enum SafetensorsWriter {
  /// Writes `tensors` in the given order, beside the place first and synchronised, then renamed:
  /// an existing file is replaced whole or not at all.
  /// - metadata: free text, written in the order of its keys.
  /// - Throws: `SafetensorsError`; what was there before then still stands.
  public static func write(
    _ tensors: [NamedTensor], metadata: [String: String] = [:], to path: String
  ) throws(SafetensorsError) {
    let system = FileSystem()
    let temporary = path + ".partial"
    do throws(SafetensorsError) {
      do { try system.removeTree(temporary) } catch { throw SafetensorsError(file: path, error) }
      _ = try write(tensors, metadata: metadata, toNew: temporary, system: system)
      do {
        try system.rename(temporary, to: path)
        try system.synchronizeDirectory(FileSystem.parent(of: path))
      } catch { throw SafetensorsError(file: path, error) }
    } catch {
      // The first error is the one to report.
      try? system.removeTree(temporary)
      throw error
    }
  }

  /// Writes a new file, synchronised when this returns.
  /// - Returns: its checksum and size.
  static func write(
    _ tensors: [NamedTensor], metadata: [String: String], toNew path: String, system: FileSystem
  ) throws(SafetensorsError) -> FileRecord {
    var writer = try makeWriter(path, system)
    let header = SafetensorsHeader(writing: tensors, metadata: metadata).encoded
    do { try unsafe writer.write(header.span.bytes) } catch { throw SafetensorsError(file: path, error) }
    for tensor in tensors {
      do {
        try tensor.values.withSpan { (span: Span<Float>) throws(FileError) in try unsafe writer.write(span.bytes) }
      } catch { throw SafetensorsError(file: path, tensor: tensor.name, error) }
    }
    do { return try writer.finish() } catch { throw SafetensorsError(file: path, error) }
  }

  private static func makeWriter(_ path: String, _ system: FileSystem) throws(SafetensorsError) -> ChecksummedWriter {
    do { return try ChecksummedWriter(path, system: system) } catch { throw SafetensorsError(file: path, error) }
  }
}
