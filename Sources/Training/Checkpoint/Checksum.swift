import CXXHash

/// XXH3 with 64 bits of a file or of bytes (Collet, xxHash 0.8; `xxhsum -H3` prints the same).
///
/// It finds damage, not forgery.
public struct Checksum: Hashable, Sendable, CustomStringConvertible {
  /// The hash.
  public let value: UInt64

  /// A checksum with the given value.
  public init(value: UInt64) { self.value = value }

  /// The checksum of `bytes`.
  public init(of bytes: [UInt8]) {
    var hasher = ChecksumHasher()
    unsafe hasher.update(bytes.span.bytes)
    self = hasher.checksum
  }

  /// The checksum of a file's content, read in pieces.
  /// - Throws: `FileError`.
  public init(ofFile path: String) throws(FileError) {
    self = try Self.measure(PosixFile(path, .read)).checksum
  }

  /// Reads `hexadecimal` as 16 lower-case hexadecimal digits; anything else is nil.
  public init?(hexadecimal: String) {
    let digits = Array(hexadecimal.utf8)
    guard digits.count == 16, digits.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }),
      let value = UInt64(hexadecimal, radix: 16)
    else { return nil }
    self.value = value
  }

  /// 16 lower-case hexadecimal digits.
  public var hexadecimal: String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }

  public var description: String { hexadecimal }

  /// Checksum and size of an open file.
  static func measure(_ file: borrowing PosixFile) throws(FileError) -> (checksum: Checksum, bytes: Int) {
    var hasher = ChecksumHasher()
    var buffer = [UInt8](repeating: 0, count: 1 << 18)
    var total = 0
    while true {
      let count = try file.read(into: &buffer, at: total)
      unsafe hasher.update(buffer.span.bytes.extracting(0..<count))
      total += count
      if count < buffer.count { return (hasher.checksum, total) }
    }
  }
}

/// An XXH3 hash that is being computed. Safe: nothing outside sees the state that it owns.
@safe
struct ChecksumHasher: ~Copyable {
  /// Invariant: a state that `XXH3_createState` made and only `deinit` frees.
  private let state: OpaquePointer

  init() {
    guard let state = unsafe XXH3_createState() else { preconditionFailure("no memory for a hash state") }
    unsafe self.state = state
    unsafe XXH3_64bits_reset(state)
  }

  deinit { unsafe _ = XXH3_freeState(state) }

  /// Adds bytes.
  mutating func update(_ bytes: RawSpan) {
    if bytes.byteCount == 0 { return }
    unsafe bytes.withUnsafeBytes { unsafe _ = XXH3_64bits_update(state, $0.baseAddress, $0.count) }
  }

  /// The hash of everything added so far.
  var checksum: Checksum { Checksum(value: unsafe XXH3_64bits_digest(state)) }
}
