import Glibc
import Tensors

/// An event file as TensorBoard reads it, also while it is being written: records of TFRecord, each an `Event` in the encoding of
/// protocol buffers (tensorflow/core/util/event.proto and framework/summary.proto).
struct EventFile: ~Copyable {
  /// What is shown of a tag at a step.
  enum Value {
    case scalar(Double)
    case histogram(Histogram)
  }

  let path: String
  private var file: PosixFile

  /// Makes the file of a process that begins after update `step`. What files of before show of later steps, TensorBoard then forgets.
  /// - directory: of the run.
  init(directory: String, host: String, afterStep step: Int) throws(FileError) {
    let now = Self.now
    // TensorBoard reads the files of a directory in the order of their names.
    let micros = String(Int(now * 1e6)), digits = String(repeating: "0", count: max(0, 16 - micros.count)) + micros
    let path = "\(directory)/events.out.tfevents.\(digits.prefix(10)).\(digits.dropFirst(10)).\(host).\(getpid())"
    let file = try PosixFile(path, .append)
    var version = ProtocolBuffer(), session = ProtocolBuffer()
    version.append(1, double: now)
    version.append(3, bytes: Array("brain.Event:2".utf8))
    var status = ProtocolBuffer()
    status.append(1, integer: 1)
    session.append(1, double: now)
    session.append(2, integer: step + 1)
    session.append(7, bytes: status.bytes)
    try unsafe file.write((Self.record(version.bytes) + Self.record(session.bytes)).span.bytes)
    self.path = path
    self.file = file
  }

  /// Appends an event, in one write.
  mutating func append(step: Int, _ values: [(tag: String, value: Value)]) throws(FileError) {
    var summary = ProtocolBuffer()
    for (tag, value) in values {
      var one = ProtocolBuffer()
      one.append(1, bytes: Array(tag.utf8))
      switch value {
      case .scalar(let number): one.append(2, single: Float(number))
      case .histogram(let histogram): one.append(5, bytes: histogram.encoded)
      }
      summary.append(1, bytes: one.bytes)
    }
    var event = ProtocolBuffer()
    event.append(1, double: Self.now)
    event.append(2, integer: step)
    event.append(5, bytes: summary.bytes)
    try unsafe file.write(Self.record(event.bytes).span.bytes)
  }

  private static var now: Double {
    var time = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }

  /// Length, checksum of it, content, checksum of that.
  private static func record(_ content: [UInt8]) -> [UInt8] {
    let length = littleEndian(UInt64(content.count))
    return length + littleEndian(masked(length)) + content + littleEndian(masked(content))
  }

  /// A checksum such that files of checksums have other ones (TFRecord).
  private static func masked(_ bytes: [UInt8]) -> UInt32 {
    let sum = CRC32C.of(bytes)
    return (sum >> 15 | sum << 17) &+ 0xA282_EAD8
  }
}

/// How the values of a tensor are spread.
struct Histogram: Equatable {
  private(set) var least = Double.infinity, greatest = -Double.infinity
  private(set) var sum = 0.0, sumOfSquares = 0.0
  private(set) var count = 0
  /// Upper bounds of the buckets, and how many values are in each.
  private(set) var limits: [Double] = [], counts: [Double] = []

  /// - values: those that are not finite are left out.
  /// - buckets: of equal width, from the least to the greatest.
  init(_ values: VectorView<Float>, buckets: Int = 30) {
    let finite = (0..<values.count).lazy.map { Double(values[$0]) }.filter(\.isFinite)
    for value in finite {
      least = min(least, value)
      greatest = max(greatest, value)
      sum += value
      sumOfSquares += value * value
      count += 1
    }
    if count == 0 {
      (least, greatest) = (0, 0)
      return
    }
    let width = (greatest - least) / Double(buckets)
    if width == 0 || !width.isFinite {
      (limits, counts) = ([greatest], [Double(count)])
      return
    }
    limits = (1...buckets).map { $0 == buckets ? greatest : least + Double($0) * width }
    counts = Array(repeating: 0, count: buckets)
    for value in finite { counts[min(buckets - 1, Int((value - least) / width))] += 1 }
  }

  /// A `HistogramProto`.
  fileprivate var encoded: [UInt8] {
    var proto = ProtocolBuffer()
    for (field, value) in [(1, least), (2, greatest), (3, Double(count)), (4, sum), (5, sumOfSquares)] { proto.append(field, double: value) }
    proto.append(6, bytes: limits.flatMap { littleEndian($0.bitPattern) })
    proto.append(7, bytes: counts.flatMap { littleEndian($0.bitPattern) })
    return proto.bytes
  }
}

/// A message of protocol buffers, field by field.
private struct ProtocolBuffer {
  private(set) var bytes: [UInt8] = []

  private mutating func append(varint value: UInt64) {
    var rest = value
    while rest > 0x7F {
      bytes.append(UInt8(rest & 0x7F) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }

  private mutating func append(_ field: Int, wire: Int) { append(varint: UInt64(field << 3 | wire)) }

  mutating func append(_ field: Int, integer: Int) {
    append(field, wire: 0)
    append(varint: UInt64(bitPattern: Int64(integer)))
  }

  mutating func append(_ field: Int, double: Double) {
    append(field, wire: 1)
    bytes += littleEndian(double.bitPattern)
  }

  mutating func append(_ field: Int, single: Float) {
    append(field, wire: 5)
    bytes += littleEndian(single.bitPattern)
  }

  mutating func append(_ field: Int, bytes content: [UInt8]) {
    append(field, wire: 2)
    append(varint: UInt64(content.count))
    bytes += content
  }
}

private func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
  (0..<value.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
}

/// The cyclic redundancy check of Castagnoli's polynomial (RFC 3720, appendix B.4).
enum CRC32C {
  private static let table: [UInt32] = (0..<256).map { index in
    (0..<8).reduce(UInt32(index)) { sum, _ in sum & 1 == 1 ? sum >> 1 ^ 0x82F6_3B78 : sum >> 1 }
  }

  static func of(_ bytes: [UInt8]) -> UInt32 {
    ~bytes.reduce(~0) { sum, byte in sum >> 8 ^ table[Int((sum ^ UInt32(byte)) & 0xFF)] }
  }
}
