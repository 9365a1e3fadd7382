extension KaldiHeader {
  /// The matrix behind this header, as float32. `R` rows, `C` columns.
  ///
  /// Each operation is rounded to float32, in the order in which `kaldiio` 2.18.1 does it with numpy 2: the same bits. (Kaldi
  /// multiplies by a constant where `kaldiio` divides by 65535 or 255, and so differs in the last bits.)
  /// - bytes: the whole object, `byteCount` of them.
  /// - values: [R, C].
  func decode(_ bytes: borrowing Span<UInt8>, into values: inout MutableSpan<Float>) {
    precondition(bytes.count == byteCount && values.count == rows * columns, "the whole object, and room for exactly its values")
    let start = format.headerBytes
    switch format {
    case .float:
      for index in values.indices { values[index] = float32(bytes, at: start + 4 * index) }
    case .double:
      for index in values.indices { values[index] = Float(float64(bytes, at: start + 8 * index)) }
    case .percentiles:
      decodePercentiles(bytes, into: &values)
    case .twoBytes:
      let scale = Scale(bytes, before: start)
      for index in values.indices { values[index] = scale.value(Float(unsigned16(bytes, at: start + 2 * index)), of: 65535) }
    case .oneByte:
      let scale = Scale(bytes, before: start)
      for index in values.indices { values[index] = scale.value(Float(bytes[start + index]), of: 255) }
    case .integers, .text:
      preconditionFailure("a header of matrices")
    }
  }

  /// The vector behind this header.
  /// - Throws: `.wrongSize` for an element whose size is not 4.
  func decode(_ bytes: borrowing Span<UInt8>, into values: inout MutableSpan<Int32>) throws(KaldiFault) {
    precondition(format == .integers && bytes.count == byteCount && values.count == rows, "the whole vector, and room for its elements")
    for index in values.indices {
      let offset = format.headerBytes + 5 * index
      guard bytes[offset] == 4 else { throw KaldiFault(offset: offset, problem: .wrongSize(found: bytes[offset])) }
      values[index] = littleEndian32(bytes, at: offset + 1)
    }
  }

  /// The minimum and the range, which end 8 bytes before the values: rows and columns stand between.
  private struct Scale {
    let minimum: Float
    let range: Float

    init(_ bytes: borrowing Span<UInt8>, before values: Int) {
      minimum = float32(bytes, at: values - 16)
      range = float32(bytes, at: values - 12)
    }

    /// minimum + steps · range / steps of the whole range.
    func value(_ steps: Float, of whole: Float) -> Float { minimum + steps * range / whole }
  }

  /// Percentiles 0, 25, 75 and 100 of each column (four uint16), then the bytes, column by column:
  /// 0 … 64 from percentile 0 to 25, … 192 to 75, … 255 to 100.
  private func decodePercentiles(_ bytes: borrowing Span<UInt8>, into values: inout MutableSpan<Float>) {
    let start = format.headerBytes
    let scale = Scale(bytes, before: start)
    for column in 0..<columns {
      func percentile(_ number: Int, _ bytes: borrowing Span<UInt8>) -> Float {
        scale.value(Float(unsigned16(bytes, at: start + 8 * column + 2 * number)), of: 65535)
      }
      let p0 = percentile(0, bytes)
      let p25 = percentile(1, bytes)
      let p75 = percentile(2, bytes)
      let p100 = percentile(3, bytes)
      let first = start + 8 * columns + rows * column
      for row in 0..<rows {
        let byte = Float(bytes[first + row])
        values[row * columns + column] =
          if byte <= 64 {
            p0 + (p25 - p0) * byte * (1 / 64)
          } else if byte <= 192 {
            p25 + (p75 - p25) * (byte - 64) * (1 / 128)
          } else {
            // Rounded once from double, as Python's 1 / 63.
            p75 + (p100 - p75) * (byte - 192) * Float(1.0 / 63.0 as Double)
          }
      }
    }
  }
}

@inline(__always)
private func unsigned16(_ bytes: borrowing Span<UInt8>, at offset: Int) -> UInt16 {
  UInt16(bytes[offset]) | UInt16(bytes[offset + 1]) << 8
}

@inline(__always)
private func float32(_ bytes: borrowing Span<UInt8>, at offset: Int) -> Float {
  Float(bitPattern: UInt32(bitPattern: littleEndian32(bytes, at: offset)))
}

@inline(__always)
private func float64(_ bytes: borrowing Span<UInt8>, at offset: Int) -> Double {
  let low = UInt32(bitPattern: littleEndian32(bytes, at: offset))
  let high = UInt32(bitPattern: littleEndian32(bytes, at: offset + 4))
  return Double(bitPattern: UInt64(low) | UInt64(high) << 32)
}
