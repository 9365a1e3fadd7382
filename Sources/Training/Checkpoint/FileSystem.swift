import Glibc

/// The directory operations that checkpoints need, each with a typed error.
///
/// A value is passed to everything that touches the disk, so that tests can make any single operation fail.
package struct FileSystem: Sendable {
  /// What stands at a path.
  package enum Kind: Sendable { case file, directory, link, other }

  /// Called before each operation; a value other than nil makes the operation fail with that `errno`. Nil in production.
  package var fault: (@Sendable (FileOperation, String) -> Int32?)?

  /// The file system of the machine; with `fault`, one that fails when told to.
  package init(fault: (@Sendable (FileOperation, String) -> Int32?)? = nil) { self.fault = fault }

  /// Runs one system call, again when a signal interrupted it.
  @discardableResult
  func call(_ operation: FileOperation, _ path: String, _ body: () -> Int) throws(FileError) -> Int {
    if let code = fault?(operation, path) { throw FileError(operation, path, code: code) }
    while true {
      let result = body()
      if result >= 0 { return result }
      let code = errno
      if code != EINTR { throw FileError(operation, path, code: code) }
    }
  }

  /// What stands at `path`, or nil if nothing does. A link is reported as a link unless `followingLinks`.
  package func kind(_ path: String, followingLinks: Bool = false) throws(FileError) -> Kind? {
    var status = stat()
    do {
      try call(.status, path) { Int(unsafe followingLinks ? stat(path, &status) : lstat(path, &status)) }
    } catch {
      if error.code == ENOENT || error.code == ENOTDIR { return nil }
      throw error
    }
    switch status.st_mode & S_IFMT {
    case S_IFREG: return .file
    case S_IFDIR: return .directory
    case S_IFLNK: return .link
    default: return .other
    }
  }

  /// Names in a directory, sorted by bytes, without `.` and `..`.
  package func names(in directory: String) throws(FileError) -> [String] {
    var stream: OpaquePointer?
    try call(.list, directory) {
      unsafe stream = opendir(directory)
      return unsafe stream == nil ? -1 : 0
    }
    guard let stream = unsafe stream else { return [] }
    defer { unsafe _ = closedir(stream) }
    var names: [String] = []
    while true {
      errno = 0
      guard let entry = unsafe readdir(stream) else {
        let code = errno
        if code != 0 { throw FileError(.list, directory, code: code) }
        break
      }
      // `d_name` ends with a zero byte inside the entry, and the entry stays valid until the next `readdir`.
      let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { field in
        unsafe field.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
  }

  /// Makes one directory, whose parent exists.
  package func makeDirectory(_ path: String) throws(FileError) {
    try call(.makeDirectory, path) { Int(unsafe mkdir(path, 0o777)) }
  }

  /// Makes a directory and all that are missing above it, and makes their names durable.
  /// - Returns: those that were not there, the outermost first.
  @discardableResult
  package func makeDirectories(_ path: String) throws(FileError) -> [String] {
    if try kind(path, followingLinks: true) == .directory { return [] }
    let parent = Self.parent(of: path)
    var made = parent == path ? [] : try makeDirectories(parent)
    do {
      try makeDirectory(path)
      made.append(path)
    } catch { if error.code != EEXIST { throw error } }
    try synchronizeDirectory(parent)
    return made
  }

  /// Renames, replacing a file or link at `target`.
  package func rename(_ source: String, to target: String) throws(FileError) {
    try call(.rename, target) { Int(unsafe Glibc.rename(source, target)) }
  }

  /// Removes a file or a link.
  package func removeFile(_ path: String) throws(FileError) {
    try call(.remove, path) { Int(unsafe unlink(path)) }
  }

  /// Removes what stands at `path`, if anything; a directory with all that is in it. Links are removed, not followed.
  package func removeTree(_ path: String) throws(FileError) {
    guard let kind = try kind(path) else { return }
    guard kind == .directory else { return try removeFile(path) }
    for name in try names(in: path) { try removeTree("\(path)/\(name)") }
    try call(.remove, path) { Int(unsafe rmdir(path)) }
  }

  /// What a link holds, or nil if `path` is not a link.
  package func linkTarget(_ path: String) throws(FileError) -> String? {
    guard try kind(path) == .link else { return nil }
    var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
    let count = try call(.readLink, path) {
      unsafe buffer.withUnsafeMutableBytes { bytes in
        unsafe readlink(path, bytes.baseAddress!.assumingMemoryBound(to: CChar.self), bytes.count)
      }
    }
    return String(decoding: buffer[..<count], as: UTF8.self)
  }

  /// The only line of a small file, without its end; nil for anything else.
  package func line(_ path: String) throws(FileError) -> String? {
    guard try kind(path) == .file else { return nil }
    var bytes = [UInt8](repeating: 0, count: 256)
    let count = try PosixFile(path, .read, system: self).read(into: &bytes, at: 0)
    guard count > 1, bytes[..<count].firstIndex(of: UInt8(ascii: "\n")) == count - 1 else { return nil }
    return String(decoding: bytes[..<(count - 1)], as: UTF8.self)
  }

  /// Writes a small file under another name, synchronised, and gives it its name when it is whole. What stands at `temporary` is removed.
  package func replaceFile(_ path: String, with bytes: [UInt8], temporary: String) throws(FileError) {
    try removeTree(temporary)
    let file = try PosixFile(temporary, .create, system: self)
    do {
      try unsafe file.write(bytes.span.bytes)
      try file.synchronize()
      try rename(temporary, to: path)
    } catch {
      // The first error is the one to report.
      try? removeFile(temporary)
      throw error
    }
  }

  /// Makes `path` a link that holds `target`, in place of a link that is there, in one step. On a file system without symbolic links (FAT, SMB, some
  /// of FUSE) it becomes a file whose only line is `target`.
  package func replaceLink(_ path: String, target: String, temporary: String) throws(FileError) {
    if try kind(temporary) != nil { try removeFile(temporary) }
    do {
      try call(.link, temporary) { Int(unsafe symlink(target, temporary)) }
    } catch {
      guard [EPERM, EOPNOTSUPP, ENOSYS].contains(error.code) else { throw error }
      let file = try PosixFile(temporary, .create, system: self)
      try unsafe file.write(Array((target + "\n").utf8).span.bytes)
      try file.synchronize()
    }
    do {
      try rename(temporary, to: path)
    } catch {
      // The first error is the one to report; the left-over is cleared when the directory is next opened for writing.
      try? removeFile(temporary)
      throw error
    }
  }

  /// Makes the names in a directory durable.
  package func synchronizeDirectory(_ path: String) throws(FileError) {
    let descriptor = try call(.open, path) { Int(unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) }
    defer { Glibc.close(Int32(descriptor)) }
    do {
      try call(.synchronize, path) { Int(fsync(Int32(descriptor))) }
    } catch {
      // File systems that cannot synchronise a directory say EINVAL: there is nothing more to do on them.
      if error.code != EINVAL { throw error }
    }
  }

  /// The directory that holds `path`.
  package static func parent(of path: String) -> String {
    var trimmed = path[...]
    while trimmed.count > 1, trimmed.last == "/" { trimmed.removeLast() }
    guard let slash = trimmed.lastIndex(of: "/") else { return "." }
    return slash == trimmed.startIndex ? "/" : String(trimmed[..<slash])
  }
}

/// The text of a file that the system makes up, such as those of /proc; nil where it cannot be read.
func systemText(_ path: String) -> String? {
  guard let file = try? PosixFile(path, .read) else { return nil }
  var text: [UInt8] = [], buffer = [UInt8](repeating: 0, count: 65_536)
  while let count = try? file.read(into: &buffer, at: text.count), count > 0 { text += buffer[..<count] }
  return String(decoding: text, as: UTF8.self)
}
