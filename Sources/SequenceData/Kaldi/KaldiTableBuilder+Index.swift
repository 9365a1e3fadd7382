import Glibc

/// A line of an index.
struct KaldiIndexLine: Equatable {
  /// Keys and paths are short: a file without ends of lines is no index.
  static let longest = 16384

  let key: String
  let path: String
  /// 0 where the file holds one object and no key.
  let offset: Int

  /// `KEY PATH:OFFSET` or `KEY PATH`. Paths may hold spaces; white space at the end is dropped. Nil for a blank line.
  /// - allowsCommands: whether a command before `|` is a path.
  static func parse(_ bytes: [UInt8], allowsCommands: Bool = false) throws(KaldiError.IndexProblem) -> KaldiIndexLine? {
    func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0D }
    if bytes.contains(0) { throw .binary }
    guard let last = bytes.lastIndex(where: { !isSpace($0) }) else { return nil }
    let line = bytes[...last]
    let end = line.firstIndex(where: isSpace) ?? line.endIndex
    let key: String
    do {
      key = try KaldiKey.key(line[..<end])
    } catch {
      throw .key(error)
    }
    let rest = line[end...].drop(while: isSpace)
    if rest.isEmpty { throw .noPath(key: key) }
    guard let whole = String(validating: rest, as: UTF8.self) else { throw .notUTF8 }
    if KaldiSource.isStream(whole) { throw .stream(path: whole) }
    if KaldiSource.isCommand(whole) {
      guard allowsCommands else { throw .commandNotAllowed(path: whole) }
      return KaldiIndexLine(key: key, path: whole, offset: 0)
    }
    if whole.hasSuffix("]") { throw .range(path: whole) }

    let digits = rest.reversed().prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }.count
    let colon = rest.endIndex - digits - 1
    guard digits > 0, colon >= rest.startIndex, rest[colon] == UInt8(ascii: ":") else {
      return KaldiIndexLine(key: key, path: whole, offset: 0)
    }
    if colon == rest.startIndex { throw .noPath(key: key) }
    guard let offset = Int(String(decoding: rest[(colon + 1)...], as: UTF8.self)) else { throw .offset(path: whole) }
    let path = String(decoding: rest[..<colon], as: UTF8.self)
    // Kaldi takes no offset in a command's output.
    if KaldiSource.isCommand(path) { throw .stream(path: whole) }
    return KaldiIndexLine(key: key, path: path, offset: offset)
  }
}

extension KaldiTableBuilder {
  /// Adds the objects that the lines name.
  /// - Throws: `KaldiError`.
  mutating func scanIndex(_ path: String) throws(KaldiError) {
    var lines = KaldiWindow(try KaldiFile(path: path, allowsCommands: allowsCommands))
    let directory = path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
    var cache = KaldiFileCache()
    var places: [ByteString: Int] = [:]
    // Of the file that the line before named.
    var objects: (number: Int, window: KaldiWindow)?
    var offset = 0
    var lineNumber = 0
    while let bytes = try scanLine(&lines, from: &offset, number: &lineNumber) {
      let line: KaldiIndexLine
      try checkVisible(bytes, file: path, line: lineNumber)
      do {
        guard let parsed = try KaldiIndexLine.parse(bytes, allowsCommands: allowsCommands) else { continue }
        line = parsed
      } catch {
        throw .indexLine(file: path, line: lineNumber, problem: error)
      }
      let number = places[ByteString(line.path)] ?? self.number(of: Self.resolve(line.path, beside: directory))
      places[ByteString(line.path)] = number
      var window: KaldiWindow
      if let objects, objects.number == number {
        window = objects.window
      } else {
        do {
          window = KaldiWindow(try cache.file(number, path: files[number], allowsCommands: allowsCommands))
        } catch {
          guard case .command(let command, let ending, let message) = error else { throw error }
          throw .indexLine(file: path, line: lineNumber, problem: .command(command, ending: ending, message: message))
        }
      }
      objects = nil
      guard line.offset <= window.file.size else {
        throw .entry(
          file: window.file.path, key: line.key, offset: line.offset,
          problem: .truncated(needed: 1, found: window.file.size - line.offset))
      }
      _ = try scanObject(&window, at: line.offset, key: line.key, file: number)
      objects = (number, window)
    }
  }

  /// Refuses characters that cannot be seen in a key, and where a path begins and ends.
  private func checkVisible(_ bytes: [UInt8], file: String, line: Int) throws(KaldiError) {
    guard let text = String(validating: bytes, as: UTF8.self), InvisibleCharacter.first(in: text) != nil else { return }
    func isSpace(_ scalar: Unicode.Scalar) -> Bool { scalar == " " || scalar == "\t" || scalar == "\r" }
    let scalars = Array(text.unicodeScalars), key = scalars.firstIndex(where: isSpace) ?? scalars.count
    let ends = [scalars[key...].firstIndex { !isSpace($0) }, scalars.lastIndex { !isSpace($0) }].compactMap(\.self)
    for place in Array(0..<key) + ends {
      guard let character = KaldiKey.refused(scalars[place]) else { continue }
      throw .invisible(file: file, line: line, column: place + 1, character: character.description)
    }
  }

  /// The next line without its end; nil behind the last one.
  private func scanLine(
    _ window: inout KaldiWindow, from offset: inout Int, number: inout Int
  ) throws(KaldiError) -> [UInt8]? {
    var bytes: [UInt8] = []
    number += 1
    while let byte = try window.byte(at: offset) {
      offset += 1
      if byte == 0x0A { return bytes }
      bytes.append(byte)
      if bytes.count > KaldiIndexLine.longest {
        throw .indexLine(file: window.file.path, line: number, problem: .tooLong(limit: KaldiIndexLine.longest))
      }
    }
    return bytes.isEmpty ? nil : bytes
  }

  /// The path itself if it exists or exists nowhere, else the one beside the index.
  private static func resolve(_ path: String, beside directory: String) -> String {
    if path.hasPrefix("/") || KaldiSource.isCommand(path) || exists(path) { return path }
    let candidate = directory + path
    return exists(candidate) ? candidate : path
  }

  private static func exists(_ path: String) -> Bool { unsafe access(path, F_OK) == 0 }
}
