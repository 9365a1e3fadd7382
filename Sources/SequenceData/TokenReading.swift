extension Vocabulary {
  /// Number of tokens of a text.
  public func countTokens(file: String, unit: TextUnit) throws(CorpusError) -> Int {
    var count = 0
    try TextScanner(file: file, unit: unit).forEachToken { _, _, _ throws(CorpusError) in count += 1 }
    if count == 0 { throw CorpusError(.empty, file: file) }
    return count
  }

  /// Numbers of the tokens of a text at the positions `ranges`, one range after the other; nothing else is kept in memory.
  /// - ranges: ascending, without overlap.
  /// - Throws: `CorpusError`; a token that is not known is one only where `<unk>` is not known either, and only at these positions.
  public func readTokens(file: String, unit: TextUnit, ranges: [Range<Int>]) throws(CorpusError) -> [Int32] {
    try readTokens(TextScanner(file: file, unit: unit), ranges: ranges)
  }

  func readTokens(_ scanner: TextScanner, ranges: [Range<Int>]) throws(CorpusError) -> [Int32] {
    precondition(zip(ranges, ranges.dropFirst()).allSatisfy { $0.upperBound <= $1.lowerBound }, "ranges out of order")
    var ids: [Int32] = [], position = 0, current = 0
    ids.reserveCapacity(ranges.reduce(0) { $0 + $1.count })
    try scanner.forEachToken { bytes, range, line throws(CorpusError) in
      while current < ranges.count && position >= ranges[current].upperBound { current += 1 }
      if current < ranges.count && position >= ranges[current].lowerBound {
        guard let id = id(bytes, range) else {
          throw CorpusError(.unknownToken(String(decoding: bytes[range], as: UTF8.self)), file: scanner.file, line: line)
        }
        ids.append(id)
      }
      position += 1
    }
    return ids
  }
}
