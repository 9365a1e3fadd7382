import Glibc

/// What one token of a text is.
public enum TextUnit: String, Sendable, CaseIterable {
  /// Words between white space; each newline is the token `<eos>`.
  case word
  /// Unicode scalars, the newline too.
  case character
}

/// Reads a text in pieces and hands out its tokens, as bytes of UTF-8, one after the other. The text is never whole in memory.
struct TextScanner {
  static let endOfSentence = Array("<eos>".utf8)

  let file: String
  let unit: TextUnit
  /// Bytes read at a time.
  var pieceSize = 1 << 20

  /// Calls `body` with each token: an array and the range of it that is the token, and the line, from 1.
  /// - Throws: `CorpusError` for a file that cannot be read, is empty, binary or not UTF-8; what `body` throws.
  func forEachToken(_ body: ([UInt8], Range<Int>, _ line: Int) throws(CorpusError) -> Void) throws(CorpusError) {
    let descriptor = try open()
    defer { close(descriptor) }
    var buffer: [UInt8] = [], kept = 0, offset = 0, line = 1, isAtEnd = false
    while !isAtEnd {
      let count = try read(descriptor, into: &buffer, at: kept)
      isAtEnd = count == 0
      if isAtEnd && offset == 0 && kept == 0 { throw CorpusError(.empty, file: file) }
      let end = kept + count
      let used = try scan(buffer, 0..<end, isAtEnd: isAtEnd, offset: offset, line: &line, body)
      buffer.replaceSubrange(0..<used, with: EmptyCollection())
      kept = end - used
      offset += used
    }
  }

  private func open() throws(CorpusError) -> Int32 {
    let descriptor = unsafe Glibc.open(file, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw unreadable() }
    return descriptor
  }

  private func unreadable() -> CorpusError {
    CorpusError(.unreadable(unsafe String(cString: strerror(errno))), file: file)
  }

  private func read(_ descriptor: Int32, into buffer: inout [UInt8], at start: Int) throws(CorpusError) -> Int {
    if buffer.count < start + pieceSize {
      buffer.append(contentsOf: repeatElement(0, count: start + pieceSize - buffer.count))
    }
    while true {
      let count = unsafe buffer.withUnsafeMutableBytes { unsafe Glibc.read(descriptor, $0.baseAddress! + start, pieceSize) }
      if count >= 0 { return count }
      if errno != EINTR { throw unreadable() }
    }
  }

  /// Hands out the tokens that are whole in `bytes[range]`; returns how many bytes they take.
  private func scan(
    _ bytes: [UInt8], _ range: Range<Int>, isAtEnd: Bool, offset: Int, line: inout Int,
    _ body: ([UInt8], Range<Int>, Int) throws(CorpusError) -> Void
  ) throws(CorpusError) -> Int {
    var position = range.lowerBound, start = range.lowerBound, used = range.lowerBound
    while position < range.upperBound {
      let length: Int, isSpace: Bool
      let first = bytes[position]
      if first < 0x80 {
        if first == 0 { throw CorpusError(.binary, file: file, line: line, offset: offset + position) }
        length = 1
        isSpace = first == 0x20 || (first >= 0x09 && first <= 0x0D)
      } else {
        guard let scalar = try decode(bytes, position..<range.upperBound, isAtEnd: isAtEnd, offset: offset, line: line) else { break }
        length = scalar.length
        isSpace = scalar.isSpace
      }
      let next = position + length
      switch unit {
      case .character:
        try body(bytes, position..<next, line)
        used = next
      case .word where isSpace:
        if start < position { try body(bytes, start..<position, line) }
        if first == 0x0A { try body(Self.endOfSentence, 0..<Self.endOfSentence.count, line) }
        start = next
        used = next
      case .word: break
      }
      if first == 0x0A { line += 1 }
      position = next
    }
    if isAtEnd && unit == .word && start < position {
      try body(bytes, start..<position, line)
      used = position
    }
    return used
  }

  /// The scalar at the start of `range`, nil if its end is not there yet.
  private func decode(
    _ bytes: [UInt8], _ range: Range<Int>, isAtEnd: Bool, offset: Int, line: Int
  ) throws(CorpusError) -> (length: Int, isSpace: Bool)? {
    let first = bytes[range.lowerBound]
    let length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2
    let invalid = CorpusError(.encoding, file: file, line: line, offset: offset + range.lowerBound)
    guard first >= 0xC2 && first <= 0xF4 else { throw invalid }
    var value = UInt32(first) & (length == 2 ? 0x1F : length == 3 ? 0x0F : 0x07)
    for i in range.dropFirst().prefix(length - 1) {
      guard bytes[i] & 0xC0 == 0x80 else { throw invalid }
      value = value << 6 | UInt32(bytes[i] & 0x3F)
    }
    if range.count < length {
      if isAtEnd { throw invalid }
      return nil
    }
    // Overlong forms and surrogates are no scalars.
    guard let scalar = Unicode.Scalar(value), value >= (length == 2 ? 0x80 : length == 3 ? 0x800 : 0x10000) else { throw invalid }
    return (length, scalar.properties.isWhitespace)
  }
}
