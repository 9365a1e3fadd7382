/// One object of a text archive, taken byte by byte: `[ 1 2` newline `3 4 ]` is a matrix, `1 2 3` or `[ 1 2 3 ]` a vector of integers.
///
/// A vector without brackets ends with its line or with the file: whether that was cut off shows in the length of the vector alone, and not
/// always. `\r` is white space.
struct KaldiTextGrammar {
  /// No number is longer: 24 characters write any float64.
  static let longestNumber = 64

  private enum State { case before, line, brackets, behind, finished }
  private let content: KaldiTable.Content
  private var state = State.before
  /// Numbers in the row at hand.
  private var current = 0
  /// Bytes taken.
  private(set) var count = 0
  /// The row or, of a vector, element that is next.
  private(set) var rows = 0
  private(set) var columns = 0
  /// The number that is being taken; after `take` has said so, a whole one.
  private(set) var number: [UInt8] = []
  private var isNumberWhole = false

  init(_ content: KaldiTable.Content) {
    self.content = content
    if content == .integers { columns = 1 }
  }

  /// Whether the object is over, at the end of a line.
  var isFinished: Bool { state == .finished }

  /// Takes the next byte; not to be called when the object is finished.
  /// - Returns: whether a number has just ended, which is `number` until the next byte.
  mutating func take(_ byte: UInt8) throws(KaldiFault) -> Bool {
    if isNumberWhole {
      number.removeAll(keepingCapacity: true)
      isNumberWhole = false
    }
    switch state {
    case .before: try begin(byte)
    case .line, .brackets: try goOn(byte)
    case .behind: try close(byte)
    case .finished: preconditionFailure("the object is over")
    }
    count += 1
    return isNumberWhole
  }

  /// The file has ended.
  /// - Returns: whether a number has ended with it.
  mutating func end() throws(KaldiFault) -> Bool {
    switch state {
    case .finished, .behind: return false
    case .before where content == .matrices: throw fault(.unfinished(expected: "["))
    case .before: throw fault(.unfinished(expected: "the end of the line"))
    case .brackets: throw fault(.unfinished(expected: "]"))
    case .line:
      // One that `take` has given out already is over.
      if isNumberWhole { return false }
      endNumber()
      return isNumberWhole
    }
  }

  private func fault(_ problem: KaldiError.EntryProblem) -> KaldiFault { KaldiFault(offset: count, problem: problem) }

  private mutating func begin(_ byte: UInt8) throws(KaldiFault) {
    switch byte {
    case UInt8(ascii: "["): state = .brackets
    case 0x20, 0x09: break
    default:
      guard content == .integers else { throw fault(.unexpected(byte: byte, expected: "\(content): 00 42 (binary) or [ (text)")) }
      state = .line
      try goOn(byte)
    }
  }

  private mutating func goOn(_ byte: UInt8) throws(KaldiFault) {
    switch byte {
    case 0x20, 0x09, 0x0D: endNumber()
    case 0x0A:
      endNumber()
      if state == .line {
        state = .finished
      } else if content == .matrices {
        try endRow()
      } else {
        throw fault(.unexpected(byte: byte, expected: "]"))
      }
    case UInt8(ascii: "]") where state == .brackets:
      endNumber()
      if content == .matrices { try endRow() }
      state = .behind
    case 0x21...0x7E where byte != UInt8(ascii: "[") && byte != UInt8(ascii: "]"):
      guard number.count < Self.longestNumber else { throw fault(.numberTooLong(limit: Self.longestNumber)) }
      number.append(byte)
    default:
      throw fault(.unexpected(byte: byte, expected: "a number or the end of \(content)"))
    }
  }

  private mutating func close(_ byte: UInt8) throws(KaldiFault) {
    switch byte {
    case 0x20, 0x09, 0x0D: break
    case 0x0A: state = .finished
    default: throw fault(.unexpected(byte: byte, expected: "the end of the line behind ]"))
    }
  }

  private mutating func endNumber() {
    guard !number.isEmpty else { return }
    isNumberWhole = true
    if content == .integers { rows += 1 } else { current += 1 }
  }

  private mutating func endRow() throws(KaldiFault) {
    // Nothing between two ends of lines, as behind the bracket.
    if current == 0 { return }
    if rows == 0 { columns = current }
    guard current == columns else { throw fault(.raggedRow(row: rows, columns: current, firstColumns: columns)) }
    rows += 1
    current = 0
  }
}

extension KaldiTextGrammar {
  /// The float32 nearest to a decimal number; `nan` and `inf` become what is not finite.
  static func float(_ text: [UInt8]) -> Float? {
    let isDecimal = text.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."): true
      case UInt8(ascii: "e"), UInt8(ascii: "E"): true
      default: false
      }
    }
    let word = String(decoding: text, as: UTF8.self)
    if isDecimal { return Float(word) }
    switch word.lowercased().drop(while: { $0 == "+" || $0 == "-" }) {
    case "nan", "inf", "infinity": return .nan
    default: return nil
    }
  }

  static func integer(_ text: [UInt8]) -> Int32? { Int32(String(decoding: text, as: UTF8.self)) }
}
