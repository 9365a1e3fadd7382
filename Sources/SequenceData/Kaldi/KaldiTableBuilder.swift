/// Collects the entries of one archive, or of those that an index names.
struct KaldiTableBuilder {
  let content: KaldiTable.Content
  let allowsCommands: Bool
  private(set) var files: [String] = []
  private(set) var entries: [KaldiTable.Entry] = []
  private var numbers: [ByteString: Int] = [:]

  /// - allowsCommands: whether lines of indices may be commands.
  init(_ content: KaldiTable.Content, allowsCommands: Bool) {
    self.content = content
    self.allowsCommands = allowsCommands
  }

  /// The number of the file at `path`.
  mutating func number(of path: String) -> Int {
    if let number = numbers[ByteString(path)] { return number }
    files.append(path)
    numbers[ByteString(path)] = files.count - 1
    return files.count - 1
  }

  /// `key`, a space and an object, again and again.
  /// - Throws: `KaldiError`.
  mutating func scanArchive(_ path: String) throws(KaldiError) {
    let number = number(of: path)
    var window = KaldiWindow(try KaldiFile(path: path, allowsCommands: allowsCommands))
    var offset = 0
    while let byte = try window.byte(at: offset) {
      if byte == 0x0A || byte == 0x0D {
        // A blank line between text objects.
        offset += 1
        continue
      }
      let key = try scanKey(&window, at: offset)
      offset = try scanObject(&window, at: offset + key.utf8.count + 1, key: key, file: number)
    }
  }

  /// Adds the object that begins at `offset`.
  /// - Returns: the offset behind it.
  mutating func scanObject(_ window: inout KaldiWindow, at offset: Int, key: String, file: Int) throws(KaldiError) -> Int {
    let entry: KaldiTable.Entry
    let source = window.file
    let start = try window.bytes(at: offset, count: KaldiHeader.longest)
    guard let first = start.first else {
      throw .entry(file: source.path, key: key, offset: offset, problem: .truncated(needed: 1, found: 0))
    }
    if first == 0 {
      let header: KaldiHeader
      do {
        header = try KaldiHeader(start.span, content: content)
      } catch {
        throw error.error(file: source.path, key: key, start: offset)
      }
      // The file has a byte at `offset`, so this is positive unless it has shrunk since.
      let available = source.size - offset
      guard header.byteCount <= available else {
        throw .entry(file: source.path, key: key, offset: offset, problem: .truncated(needed: header.byteCount, found: available))
      }
      entry = .init(
        key: key, rows: header.rows, columns: header.columns, file: file, offset: offset, byteCount: header.byteCount,
        format: header.format)
    } else {
      let text = try scanText(&window, at: offset, key: key)
      entry = .init(
        key: key, rows: text.rows, columns: text.columns, file: file, offset: offset, byteCount: text.count, format: .text)
    }
    entries.append(entry)
    return offset + entry.byteCount
  }

  private func scanText(_ window: inout KaldiWindow, at offset: Int, key: String) throws(KaldiError) -> KaldiTextGrammar {
    var text = KaldiTextGrammar(content)
    while !text.isFinished {
      let byte = try window.byte(at: offset + text.count)
      do {
        guard let byte else {
          _ = try text.end()
          break
        }
        _ = try text.take(byte)
      } catch {
        if case .unexpected(0x80..., _) = error.problem { try checkVisible(&window, at: offset + error.offset) }
        throw error.error(file: window.file.path, key: key, start: offset)
      }
    }
    guard max(text.rows, text.columns) <= Int(Int32.max) else {
      throw .entry(file: window.file.path, key: key, offset: offset, problem: .dimensions(rows: text.rows, columns: text.columns))
    }
    return text
  }

  /// The key that begins at `offset`. One byte ends it.
  private func scanKey(_ window: inout KaldiWindow, at offset: Int) throws(KaldiError) -> String {
    var bytes: [UInt8] = []
    while true {
      guard let byte = try window.byte(at: offset + bytes.count) else {
        throw .key(file: window.file.path, offset: offset, problem: .cutOff)
      }
      if byte == 0x20 || byte == 0x09 { break }
      bytes.append(byte)
      if let problem = KaldiKey.problem(of: byte) ?? KaldiKey.problem(ofLength: bytes.count) {
        throw .key(file: window.file.path, offset: offset, problem: problem)
      }
    }
    let key: String
    do {
      key = try KaldiKey.key(bytes)
    } catch {
      throw .key(file: window.file.path, offset: offset, problem: error)
    }
    if let place = key.unicodeScalars.firstIndex(where: { KaldiKey.refused($0) != nil }) {
      try checkVisible(&window, at: offset + key.utf8.distance(from: key.startIndex, to: place))
    }
    return key
  }

  /// Refuses a character that cannot be seen at `fault` in an archive, and says on which line it is.
  private func checkVisible(_ window: inout KaldiWindow, at fault: Int) throws(KaldiError) {
    let bytes = try window.bytes(at: fault, count: 4)
    guard !bytes.isEmpty, case .scalar(let value, _) = UTF8Sequence.decode(bytes.span, at: 0), let scalar = Unicode.Scalar(value),
      let character = KaldiKey.refused(scalar)
    else { return }
    var line = 1, column = 1
    for offset in 0..<fault {
      guard let byte = try window.byte(at: offset) else { break }
      if byte == 0x0A { (line, column) = (line + 1, 1) } else if byte & 0xC0 != 0x80 { column += 1 }
    }
    throw .invisible(file: window.file.path, line: line, column: column, character: character.description)
  }
}
