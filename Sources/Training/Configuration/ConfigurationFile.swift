import Glibc
import SequenceData

/// Reading a configuration's text from disk.
package enum ConfigurationFile {
  /// Far more than any configuration has: a corpus given by mistake is refused before it fills the memory.
  package static let largestSize = 1 << 20

  /// - content: what the file should hold, in words.
  /// - Throws: for a file that is missing, a directory, unreadable, too large or not UTF-8.
  static func read(_ path: String, content: String = "a configuration") throws(ConfigurationError) -> String {
    func unreadable(_ found: String, line: Int? = nil) -> ConfigurationError {
      ConfigurationError(.unreadable, file: path, line: line, found: found, allowed: "a text file with \(content) in YAML")
    }
    var bytes = [UInt8](repeating: 0, count: largestSize + 1)
    do throws(FileError) {
      let count = try PosixFile(path, .read).read(into: &bytes, at: 0)
      bytes.removeSubrange(count...)
    } catch {
      throw unreadable(error.code == ENOENT ? "no such file" + remark(onPath: path) : error.code == EISDIR ? "is a directory" : "cannot be read (\(error.reason))")
    }
    guard bytes.count <= largestSize else { throw unreadable("is larger than \(largestSize) bytes") }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw unreadable("is not UTF-8", line: lineOfFirstInvalidByte(bytes))
    }
    return text
  }

  private static func lineOfFirstInvalidByte(_ bytes: [UInt8]) -> Int {
    var decoder = UTF8()
    var iterator = bytes.makeIterator()
    var line = 1
    while case .scalarValue(let scalar) = decoder.decode(&iterator) {
      if scalar == "\n" { line += 1 }
    }
    return line
  }
}
