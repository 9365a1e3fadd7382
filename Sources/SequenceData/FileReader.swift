import Glibc

/// A regular file, or what gzip has packed in one, that is read from its start, piece by piece; closed when the value ends.
struct FileReader: ~Copyable {
  let path: String
  private let file: RegularFile
  private var offset = 0

  /// - Throws: `CorpusError.cannotOpen`, `.notARegularFile`, `.cannotUnpack`.
  init(path: String) throws(CorpusError) {
    let file: RegularFile
    do {
      file = try RegularFile(path: path)
    } catch {
      switch error {
      case .failed(let reason): throw .cannotOpen(file: path, reason: reason)
      case .notRegular(let found): throw .notARegularFile(file: path, found: found)
      case .unpacking(.noRoom(let folder, let reason)):
        throw .cannotUnpack(file: path, reason: "a temporary file in \(folder) (TMPDIR) cannot be written: \(reason)")
      case .unpacking(.damaged(let reason)): throw .cannotUnpack(file: path, reason: reason)
      case .unpacking(.command): preconditionFailure("a text is no command")
      }
    }
    self.path = path
    self.file = file
  }

  /// Reads on into `buffer[start...]`.
  /// - Returns: the number of bytes read; 0 at the end of the file only.
  /// - Throws: `CorpusError.cannotRead`.
  mutating func read(into buffer: inout [UInt8], from start: Int) throws(CorpusError) -> Int {
    precondition(start < buffer.count, "no room to read into")
    let descriptor = file.descriptor, place = off_t(offset)
    while true {
      // SAFETY: the pointer is used within the closure, for as many bytes as the rebased slice holds.
      let count = unsafe buffer.withUnsafeMutableBytes { bytes in
        let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[start...])
        return unsafe pread(descriptor, rest.baseAddress, rest.count, place)
      }
      if count >= 0 {
        offset += count
        return count
      }
      let code = errno
      if code != EINTR { throw .cannotRead(file: path, offset: offset, reason: systemMessage(code)) }
    }
  }
}
