extension Collection<UInt8> {
  /// Two digits a byte, with spaces between: `1F 8B`.
  var hexadecimal: String {
    map { ($0 < 16 ? "0" : "") + String($0, radix: 16, uppercase: true) }.joined(separator: " ")
  }
}
