/// What a key may be: UTF-8 without white space and control characters of ASCII.
enum KaldiKey {
  static let longest = 4096

  static func problem(of byte: UInt8) -> KaldiError.KeyProblem? { byte <= 0x20 || byte == 0x7F ? .unexpected(byte: byte) : nil }

  static func problem(ofLength count: Int) -> KaldiError.KeyProblem? { count > longest ? .tooLong(limit: longest) : nil }

  /// A character that cannot be seen, unless keys may need it: two of the format characters join letters or keep them apart.
  static func refused(_ scalar: Unicode.Scalar) -> InvisibleCharacter? {
    scalar == "\u{200C}" || scalar == "\u{200D}" ? nil : InvisibleCharacter(scalar)
  }

  /// The key that the bytes are.
  static func key(_ bytes: some Collection<UInt8>) throws(KaldiError.KeyProblem) -> String {
    if bytes.isEmpty { throw .empty }
    if let problem = problem(ofLength: bytes.count) { throw problem }
    for byte in bytes { if let problem = problem(of: byte) { throw problem } }
    guard let key = String(validating: bytes, as: UTF8.self) else { throw .notUTF8(bytes: Array(bytes.prefix(32))) }
    return key
  }
}

/// A key or path compared by its bytes, as Kaldi and the system do; strings are equal already if they look the same.
struct ByteString: Hashable {
  let text: String

  init(_ text: String) { self.text = text }

  static func == (left: ByteString, right: ByteString) -> Bool { left.text.utf8.elementsEqual(right.text.utf8) }

  func hash(into hasher: inout Hasher) {
    for byte in text.utf8 { hasher.combine(byte) }
  }
}
