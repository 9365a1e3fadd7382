/// Checksum and size of a file of a checkpoint.
public struct FileRecord: Codable, Equatable, Sendable {
  /// XXH3 with 64 bits, as 16 hexadecimal digits.
  public let checksum: String
  /// Size.
  public let bytes: Int

  init(checksum: Checksum, bytes: Int) {
    self.checksum = checksum.hexadecimal
    self.bytes = bytes
  }
}

/// A new file whose checksum is taken while it is written.
struct ChecksummedWriter: ~Copyable {
  private var file: PosixFile
  private var hasher = ChecksumHasher()
  private var bytes = 0

  /// Makes the file, which must not exist.
  init(_ path: String, system: FileSystem) throws(FileError) {
    file = try PosixFile(path, .create, system: system)
  }

  /// Appends bytes.
  mutating func write(_ span: RawSpan) throws(FileError) {
    hasher.update(span)
    try file.write(span)
    bytes += span.byteCount
  }

  /// Waits until all is on the disk, and closes the file.
  mutating func finish() throws(FileError) -> FileRecord {
    try file.synchronize()
    file.dropCache()
    try file.close()
    return FileRecord(checksum: hasher.checksum, bytes: bytes)
  }
}
