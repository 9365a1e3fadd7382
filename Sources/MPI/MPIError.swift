import CMPI

/// A call of MPI that failed, or could not be made.
public struct MPIError: Error, CustomStringConvertible {
  /// Name of the MPI function.
  public let call: String
  /// The code that MPI returned; nil when the call was never made.
  public let code: Int32?
  /// MPI's own words for `code`, or why the call was not made.
  public let text: String
  /// Rank of the process in the communicator of the call; nil before there is one.
  public let rank: Int?

  public var description: String {
    let place = rank.map { " on rank \($0)" } ?? ""
    let number = code.map { " (error \($0))" } ?? ""
    return "\(call) failed\(place): \(text)\(number)"
  }

  init(call: String, code: Int32?, text: String, rank: Int?) {
    self.call = call
    self.code = code
    self.text = text
    self.rank = rank
  }
}

/// Throws when an MPI call returned anything but success.
@inline(__always)
func check(_ code: Int32, _ call: StaticString, rank: Int?) throws(MPIError) {
  if code != MPI_SUCCESS { throw failure(code, call, rank: rank) }
}

@inline(never)
private func failure(_ code: Int32, _ call: StaticString, rank: Int?) -> MPIError {
  let text = unsafe textFromMPI(capacity: Int(MPI_MAX_ERROR_STRING)) { buffer, length in
    unsafe MPI_Error_string(code, buffer, length)
  }
  return MPIError(call: "\(call)", code: code, text: text ?? "unknown error", rank: rank)
}

/// The text that an MPI function writes into a buffer of `capacity` bytes, or nil if it fails.
func textFromMPI(
  capacity: Int, _ write: (UnsafeMutablePointer<CChar>, UnsafeMutablePointer<Int32>) -> Int32
) -> String? {
  var length: Int32 = 0
  // Invariant: MPI writes at most `capacity` bytes, `capacity` being the constant that MPI names for this function.
  let bytes = unsafe [CChar](unsafeUninitializedCapacity: capacity + 1) { buffer, count in
    unsafe buffer.initialize(repeating: 0)
    count = unsafe write(buffer.baseAddress!, &length) == MPI_SUCCESS ? Int(length) : 0
  }
  // Some libraries count the terminating zero.
  return bytes.isEmpty ? nil : String(decoding: bytes.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// A count as MPI takes it, or an error that says which call it does not fit.
func messageCount(_ count: Int, _ call: StaticString, rank: Int?) throws(MPIError) -> Int32 {
  guard let small = Int32(exactly: count) else {
    throw MPIError(
      call: "\(call)", code: nil, text: "\(count) elements do not fit one message, which holds at most \(Int32.max)", rank: rank)
  }
  return small
}
