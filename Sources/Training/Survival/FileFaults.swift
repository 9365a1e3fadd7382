import Glibc
import Synchronization

/// Faults for tests in the files of one checkpoint (`Faults`): what the file layer asks before each of its operations.
///
/// Site `write` is before each write to file `file=NAME` (`model.safetensors`) that holds `bytes=N` (0) or more already; for `tear`, when the file
/// is closed, so that what reads it back finds it cut to `bytes`. Site `rename` is before the checkpoint gets its name, with all its files read back; `tear`
/// cuts the file then. Site `link` is between the name and a link: before `latest`, or `file=best`, is made to point to it. At `write`, `sleep` sleeps
/// before each such write, as a slow disk does. A fault happens each time that the run comes there, or `times=N` times.
final class FileFaults: Sendable {
  let faults: [Faults.Fault]
  /// How often each has happened.
  private let counts: Mutex<[Int]>

  init(faults: [Faults.Fault]) {
    self.faults = faults
    counts = Mutex(Array(repeating: 0, count: faults.count))
  }

  /// Lets faults happen that are due before an operation on `path`.
  /// - Returns: the `errno` with which the operation is to fail; nil where it is to be done.
  func reach(_ operation: FileOperation, _ path: String) -> Int32? {
    for (index, fault) in faults.enumerated() {
      let name = CheckpointLayout.name(step: fault.step)
      let file = "/\(CheckpointLayout.temporary(name, .partial))/\(fault.file)"
      let isHere =
        switch (fault.site, operation) {
        case (.write, .close): fault.action == .tear && path.hasSuffix(file)
        case (.write, .write): fault.action != .tear && path.hasSuffix(file) && size(path) >= fault.bytes
        case (.rename, .rename): path.hasSuffix("/\(name)")
        case (.link, .link): path.hasSuffix("/\(CheckpointLayout.temporary(fault.file, .partial))") && isNewest(name, in: FileSystem.parent(of: path))
        default: false
        }
      if !isHere || counts.withLock({ $0[index] == fault.times }) { continue }
      counts.withLock { $0[index] += 1 }
      if fault.action == .tear { cut(fault.site == .write ? path : FileSystem.parent(of: path) + file, to: fault.bytes) }
      if let code = befall(fault) { return code }
    }
    return nil
  }

  /// The operation on a link does not say where it is to point: the checkpoint that has just been named is the newest.
  private func isNewest(_ name: String, in folder: String) -> Bool {
    let steps = (try? FileSystem().names(in: folder).compactMap { CheckpointLayout.step(name: $0) }) ?? []
    return steps.max().map { CheckpointLayout.name(step: $0) } == name
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
