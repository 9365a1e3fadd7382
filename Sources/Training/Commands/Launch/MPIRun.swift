import CKernels
import Glibc
import MPI
import Synchronization
import Tensors

/// One mpirun of `lockstep launch`: a process, what it says on standard error, and what it leaves behind.
final class MPIRun {
  private let process: Int32
  private let errors: ErrorStream
  private let session: SessionFolder

  /// Starts `command`, whose first word is `mpirun`; nil where no process or thread can be made. To be called by the main thread.
  init?(_ command: [String], session: SessionFolder) {
    var pipes: [Int32] = [-1, -1]
    guard unsafe pipe(&pipes) == 0 else { return nil }
    for end in pipes { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    do throws(ThreadError) { errors = try ErrorStream(pipes[0]) } catch {
      for end in pipes { close(end) }
      return nil
    }
    let environment = Self.environment(options: command, folder: session.path)
    process = ChildProcess.spawn([Self.program] + command.dropFirst(), environment: environment.map { "\($0.key)=\($0.value)" }, errors: pipes[1])
    close(pipes[1])
    self.session = session
    if process < 0 { return nil }
  }

  /// What mpirun finds in its environment, beside what is there anyway.
  static func environment(options: [String], folder: String?) -> [String: String] {
    // A step of Slurm, or another launcher, has told this process about itself, which mpirun would hand on to its ranks.
    var environment = LaunchedJob.environment.filter { name, _ in !["PMI_", "PMIX_", "PMI2_"].contains { name.hasPrefix($0) } }
    // Open MPI refuses to run as root unless it is told twice. Who starts `launch` as root has decided that.
    if geteuid() == 0 {
      environment["OMPI_ALLOW_RUN_AS_ROOT"] = "1"
      environment["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    }
    // Open MPI binds one or two ranks each to a core, from the first one on: two jobs of a host would share it.
    if environment["OMPI_MCA_hwloc_base_binding_policy"] == nil && !options.contains(where: { $0.contains("bind") || $0.contains("PE=") }) {
      environment["OMPI_MCA_hwloc_base_binding_policy"] = "none"
      // The same for Open MPI 5.
      environment["PRTE_MCA_hwloc_default_binding_policy"] = environment["PRTE_MCA_hwloc_default_binding_policy"] ?? "none"
    }
    // Several mpiruns of a user make and remove the same folder, and now and then one removes it under the other's hands.
    if let folder, environment["OMPI_MCA_orte_tmpdir_base"] == nil { environment["TMPDIR"] = folder }
    return environment
  }

  /// `mpirun`, unless it is that of another family of MPI libraries: then the one that belongs to the library of this program.
  private static var program: String {
    let folders = unsafe getenv("PATH").map { unsafe String(cString: $0) } ?? "/usr/bin:/bin"
    let places = folders.split(separator: ":").map { "\($0)/mpirun" }
    guard let found = places.first(where: { (path: String) in unsafe access(path, X_OK) == 0 }), let target = unsafe realpath(found, nil)
    else { return "mpirun" }
    defer { unsafe free(target) }
    let name = unsafe String(cString: target).split(separator: "/").last ?? ""
    return MPILibrary.current.isForeign(mpirun: name) ? MPILibrary.current.mpirun : "mpirun"
  }

  /// The exit code; nil while it runs. Clears what mpirun has left when it is over.
  var exitCode: Int32? {
    guard let code = ChildProcess.exitCode(process) else { return nil }
    errors.waitForEnd()
    session.clearDeadJob(process)
    return code
  }

  func send(_ signal: Int32) { kill(process, signal) }

  /// Why no rank has run, in mpirun's words.
  func cause(_ code: Int32) -> String {
    let words = errors.firstWords
    return words.isEmpty ? code == 127 ? "there is no mpirun in PATH" : "mpirun ended with code \(code)" : words
  }

  /// Whether mpirun has ranks or daemons: processes of its own, or connections to daemons on other hosts, whose ssh may have ended. True where the
  /// system does not say.
  var isAtWork: Bool { hasChildren || hasConnections }

  private var hasChildren: Bool {
    guard let threads = try? FileSystem().names(in: "/proc/\(process)/task") else { return true }
    return threads.contains { !text("/proc/\(process)/task/\($0)/children").isEmpty }
  }

  private var hasConnections: Bool {
    guard let files = try? FileSystem().names(in: "/proc/\(process)/fd") else { return true }
    var sockets: Set<Substring> = []
    for file in files {
      var target = [CChar](repeating: 0, count: 64)
      let count = unsafe readlink("/proc/\(process)/fd/\(file)", &target, target.count)
      let name = String(decoding: target.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
      if name.hasPrefix("socket:[") { sockets.insert(name.dropFirst(8).dropLast()) }
    }
    // Of each connection its state, 01 where it stands, and the number of its socket.
    return ["tcp", "tcp6"].contains { table in
      text("/proc/\(process)/net/\(table)").split(separator: "\n").contains { line in
        let words = line.split(separator: " ")
        return words.count > 9 && words[3] == "01" && sockets.contains(words[9])
      }
    }
  }

  private func text(_ path: String) -> String { systemText(path) ?? "" }
}

/// Standard error of mpirun and its ranks: handed on, and its beginning kept.
private final class ErrorStream: Sendable {
  private let state = Mutex((text: [UInt8](), isOver: false))

  /// - source: a pipe's end, which this closes.
  /// - Throws: `ThreadError` where the system starts no thread for it.
  init(_ source: Int32) throws(ThreadError) {
    try BackgroundThread.start { [self] in
      var buffer = [UInt8](repeating: 0, count: 65_536)
      while true {
        let count = unsafe read(source, &buffer, buffer.count)
        if count < 0 && errno == EINTR { continue }
        if count <= 0 { break }
        Console(isSilent: false).writeErrors(buffer[..<count])
        state.withLock { if $0.text.count < 8192 { $0.text += buffer[..<count] } }
      }
      close(source)
      state.withLock { $0.isOver = true }
    }
  }

  /// Waits until all is handed on. Ranks that outlive mpirun may hold the pipe for long.
  func waitForEnd() {
    for _ in 0..<100 where !state.withLock({ $0.isOver }) { usleep(10_000) }
  }

  /// The first paragraph of what was said, in one line, without ruled lines.
  var firstWords: String {
    let lines = String(decoding: state.withLock { $0.text }, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
      .map { $0.split(whereSeparator: \.isWhitespace).joined(separator: " ") }.filter { !$0.hasPrefix("----") }
    let paragraph = lines.drop(while: \.isEmpty).prefix { !$0.isEmpty }
    return String(paragraph.joined(separator: " ").prefix(400))
  }
}
