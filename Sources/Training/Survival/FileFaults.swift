import Glibc

/// Faults for tests in the files of one checkpoint (`Faults`): what the file layer asks before each of its operations.
///
/// Site `write` is before each write to file `file=NAME` (`model.safetensors`) that holds `bytes=N` (0) or more already; for `tear`, when the file
/// is closed, so that what reads it back finds it cut to `bytes`. Site `rename` is before the checkpoint gets its name, with all its files read back; `tear`
/// cuts the file then. At `write`, `sleep` sleeps before each such write, as a slow disk does.
struct FileFaults: Sendable {
  let faults: [Faults.Fault]

  /// Lets faults happen that are due before an operation on `path`.
  /// - Returns: the `errno` with which the operation is to fail; nil where it is to be done.
  func reach(_ operation: FileOperation, _ path: String) -> Int32? {
    for fault in faults {
      let name = CheckpointLayout.name(step: fault.step)
      let file = "/\(CheckpointLayout.temporary(name, .partial))/\(fault.file)"
      switch (fault.site, operation) {
      case (.write, .close) where fault.action == .tear && path.hasSuffix(file): cut(path, to: fault.bytes)
      case (.write, .write) where fault.action != .tear && path.hasSuffix(file) && size(path) >= fault.bytes:
        if let code = befall(fault) { return code }
      case (.rename, .rename) where path.hasSuffix("/\(name)"):
        if fault.action == .tear { cut(FileSystem.parent(of: path) + file, to: fault.bytes) }
        if let code = befall(fault) { return code }
      default: break
      }
    }
    return nil
  }

  private func befall(_ fault: Faults.Fault) -> Int32? {
    fault.befallProcess()
    return fault.action == .full ? ENOSPC : fault.action == .throw ? EIO : nil
  }

  private func cut(_ path: String, to bytes: Int) {
    if size(path) > bytes { unsafe _ = truncate(path, off_t(bytes)) }
  }

  private func size(_ path: String) -> Int {
    var status = stat()
    return unsafe stat(path, &status) == 0 ? Int(status.st_size) : 0
  }
}
