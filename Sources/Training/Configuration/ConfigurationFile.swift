import Foundation
import SequenceData

/// Reading a configuration's text from disk.
package enum ConfigurationFile {
  /// Far more than any configuration has: a corpus given by mistake is refused before it fills the memory.
  package static let largestSize = 1 << 20

  /// - Throws: for a file that is missing, a directory, unreadable, too large or not UTF-8.
  static func read(_ path: String) throws(ConfigurationError) -> String {
    func unreadable(_ found: String, line: Int? = nil) -> ConfigurationError {
      ConfigurationError(.unreadable, file: path, line: line, found: found, allowed: "a text file with a configuration in YAML")
    }
    var isDirectory: ObjCBool = false
    guard unsafe FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) else {
      throw unreadable("no such file" + remark(onPath: path))
    }
    guard !isDirectory.boolValue else { throw unreadable("is a directory") }

    var bytes = Foundation.Data()
    do {
      let handle = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
      defer { try? handle.close() }
      while bytes.count <= largestSize, let chunk = try handle.read(upToCount: largestSize + 1), !chunk.isEmpty {
        bytes.append(chunk)
      }
    } catch {
      throw unreadable("cannot be read (\(reason(error)))")
    }
    guard bytes.count <= largestSize else { throw unreadable("is larger than \(largestSize) bytes") }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw unreadable("is not UTF-8", line: lineOfFirstInvalidByte(bytes))
    }
    return text
  }

  /// The system's words, without the path, which the message has already.
  private static func reason(_ error: any Error) -> String {
    let error = error as NSError
    let cause = error.userInfo[NSUnderlyingErrorKey] as? NSError ?? error
    guard cause.domain == NSPOSIXErrorDomain, let code = POSIXErrorCode(rawValue: Int32(cause.code)) else {
      return abbreviated(error.localizedDescription)
    }
    return switch code {
    case .EACCES, .EPERM: "permission denied"
    case .EISDIR: "it is a directory"
    case .EIO: "input/output error"
    default: "error \(code.rawValue) of the system"
    }
  }

  private static func lineOfFirstInvalidByte(_ bytes: Foundation.Data) -> Int {
    var decoder = UTF8()
    var iterator = bytes.makeIterator()
    var line = 1
    while case .scalarValue(let scalar) = decoder.decode(&iterator) {
      if scalar == "\n" { line += 1 }
    }
    return line
  }
}
