import CKernels
import Glibc
import MPI

/// `lockstep launch`: starts a training run under mpirun, and again from its last checkpoint when it has failed.
public func launch(_ request: LaunchRequest) -> Int32 { Supervisor(request).run() }

/// Starts mpirun until the run is done.
private final class Supervisor {
  let request: LaunchRequest
  private let shell: String
  private let session = SessionFolder()
  /// The step of the last checkpoint, as it was when the run directory answered last.
  private var knownStep: Int?
  /// Whether training has begun in some start.
  private var hasRun = false
  /// Starts that ended before training began.
  private var early = 0

  /// Seconds of the first pause and of the longest; each is twice the one before.
  private static let pauses = (first: 1.0, longest: 60.0)
  /// Seconds after which an mpirun without ranks and daemons, or with a job that a rank has ended, has hung: Open MPI's sometimes does when its job has ended,
  /// and always does when it cannot reach a host.
  private static let patience = 15.0

  init(_ request: LaunchRequest) {
    self.request = request
    shell = unsafe getenv("OMPI_MCA_plm_rsh_agent").map { unsafe String(cString: $0) } ?? "ssh"
  }

  func run() -> Int32 {
    Signals.catchAll()
    if let refusal { return refusal }
    defer { session.remove() }
    var pause = Self.pauses.first, code: Int32 = 0
    for start in 0...request.restarts {
      let before = step
      let reached = request.hosts.map { $0.filter(isReachable) }
      if Signals.received { return ExitCode.stoppedBySignal.rawValue }
      if let reached, reached.count < request.hosts!.count {
        say("left out: \(request.hosts!.filter { !reached.contains($0) }.map(\.name).joined(separator: ", ")), which cannot be reached")
      }
      if let command = request.command(hosts: reached, isAgain: start > 0) {
        say("start \(start + 1)\(before.map { ", from step \($0)" } ?? ""): \(command.joined(separator: " "))")
        let end = attend(command)
        code = end.code
        // A signal that comes before all ranks listen ends them with a code of its own; the run can go on all the same.
        if Signals.received && !isOfProgram(code) { code = ExitCode.stoppedBySignal.rawValue }
        if [ExitCode.success, .usage, .badData, .stoppedBySignal].contains(where: { $0.rawValue == code }) || Signals.received {
          if start > 0 || code != 0 { say("ended with code \(code)\(step.map { " at step \($0)" } ?? "")") }
          return code
        }
        if let code = hopeless(end) { return code }
        say("ended with code \(code), \(Self.meaning(code)); the last checkpoint is \(step.map { "of step \($0)" } ?? "still to come")")
      } else if hasRun {
        say("no host can be reached")
        code = ExitCode.internalFault.rawValue
      } else {
        printError("no rank has run: none of the hosts can be reached by \(shell)")
        return ExitCode.usage.rawValue
      }
      if start == request.restarts { break }
      // Who gets on is not made to wait ever longer.
      if step ?? 0 > before ?? 0 { pause = Self.pauses.first }
      if !sleep(pause) || !waitForRanks() { return ExitCode.stoppedBySignal.rawValue }
      pause = min(2 * pause, Self.pauses.longest)
    }
    say("given up after \(request.restarts) restart\(request.restarts == 1 ? "" : "s")")
    return code
  }

  /// How an mpirun ended, and why no rank has run if none has.
  private struct End {
    var code: Int32
    var cause = ""
  }

  private func isOfProgram(_ code: Int32) -> Bool {
    [ExitCode.success, .usage, .badData, .internalFault, .inputOutput].contains { $0.rawValue == code }
  }

  /// The exit code where to start again would be no use: no start has begun to train yet, and it was no kill that came in between, twice in a row.
  private func hopeless(_ end: End) -> Int32? {
    if hasRun { return nil }
    if isOfProgram(end.code) {
      say("ended with code \(end.code) before training began")
      return end.code
    }
    early += 1
    let isOfRank = end.cause.contains("exited on signal")
    let isKilled = MPILibrary.current.signal(ofCode: end.code) == SIGKILL
    if isKilled && early < 2 { return nil }
    printError("\(isOfRank || isKilled ? "training has not begun" : "no rank has run"): \(end.cause)")
    return (isOfRank || isKilled ? ExitCode.internalFault : .usage).rawValue
  }

  /// The exit code where a run is there that is not to be resumed, nil else. Starts after the first do resume, so that this is to be known before.
  private var refusal: Int32? {
    let directory = request.training.directory
    if request.training.resume { return nil }
    guard let holdsRun = FileWork({ (try? directory.holdsRun()) ?? false }).wait(unless: { Signals.received }) else {
      return ExitCode.stoppedBySignal.rawValue
    }
    if !holdsRun { return nil }
    printError(oneLine(UsageError.holdsRun(directory), of: "launch"))
    return ExitCode.usage.rawValue
  }

  /// The step of the last checkpoint. Where the run directory does not answer within some seconds, or a signal has come, the last one known.
  private var step: Int? {
    let directory = request.training.directory, end = ContinuousClock.now + .seconds(5)
    let work = FileWork { (try? directory.store.latestStep()) ?? nil }
    if let step = work.wait(unless: { Signals.received || ContinuousClock.now > end }) { knownStep = step }
    return knownStep
  }

  private static func meaning(_ code: Int32) -> String {
    switch code {
    case 1: "as mpirun ends when it is told to"
    case 70: "a fault of a rank"
    case 74: "a file could not be read or written"
    case 127: "mpirun could not be started"
    default: MPILibrary.current.signal(ofCode: code).map { "by signal \($0), or a host was lost" } ?? "an unknown exit code"
    }
  }

  private func say(_ message: String) { Console(isSilent: false).writeLine("lockstep: launch: \(message)") }

  /// False if a signal came.
  private func sleep(_ seconds: Double) -> Bool {
    let end = ContinuousClock.now + .seconds(seconds)
    while ContinuousClock.now < end {
      if Signals.received { return false }
      usleep(50_000)
    }
    return !Signals.received
  }

  /// Ranks whose mpirun was killed end by themselves, a little later: until then they hold the lock of the run directory. False if a
  /// signal came.
  private func waitForRanks() -> Bool {
    let directory = request.training.directory
    for second in 0..<600 {
      if second == 10 { say("waits for ranks of the start before, which still hold the lock of \(directory.path)") }
      let work = FileWork {
        do {
          _ = try directory.lock(host: "of lockstep launch")
          return false
        } catch {
          // Else there is no directory yet, or it cannot be written: the run will say so.
          return error is UsageError
        }
      }
      guard let isHeld = work.wait(unless: { Signals.received }) else { return false }
      if !isHeld { return true }
      if !sleep(1) { return false }
    }
    return true
  }

  /// Runs a command to its end; hands on signals as SIGUSR1, which makes all ranks write a checkpoint and end.
  private func attend(_ command: [String]) -> End {
    let directory = request.training.directory, metrics = metricsBytes
    // Before the run directory answers nothing can be started in it.
    if FileWork({ directory.clearNodes() }).wait(unless: { Signals.received }) == nil { return End(code: ExitCode.stoppedBySignal.rawValue) }
    guard let run = MPIRun(command, session: session) else { return End(code: 127, cause: "no process or thread can be started (see ulimit -u)") }
    var idle: ContinuousClock.Instant?, told: ContinuousClock.Instant?
    var look = FileWork { directory.isEnded }, isEnded = false
    while true {
      if let code = run.exitCode {
        // A start that the run directory does not tell of counts as none; where the directory does not answer, as one.
        if metricsBytes.map({ $0 != metrics ?? 0 }) ?? true { hasRun = true }
        return End(code: code, cause: run.cause(code))
      }
      let now = ContinuousClock.now
      // mpirun loses a signal that comes while it begins, and one more does no harm.
      if Signals.received, told.map({ now - $0 > .seconds(2) }) ?? true {
        run.send(SIGUSR1)
        told = now
      }
      if let found = look.value {
        isEnded = found
        look = FileWork { directory.isEnded }
      }
      if run.isAtWork && !isEnded {
        idle = nil
      } else if let since = idle, now - since > .seconds(Self.patience) {
        say("mpirun \(isEnded ? "goes on though a rank has ended the job" : "has had no process left") for \(Int(Self.patience)) s, and is ended")
        run.send(SIGKILL)
        idle = now
      } else if idle == nil {
        idle = now
      }
      usleep(100_000)
    }
  }

  /// Length of the run's metrics, which grow when training begins; nil where the run directory does not answer within some seconds.
  private var metricsBytes: Int? {
    let path = request.training.directory.metricsPath, end = ContinuousClock.now + .seconds(5)
    return FileWork { (try? PosixFile(path, .read).status().bytes) ?? 0 }.wait(unless: { ContinuousClock.now > end })
  }

  /// Whether ranks can be started on a host: this one, or one that answers.
  private func isReachable(_ host: LaunchHost) -> Bool {
    if host.name == ProcessInformation.hostName || host.name == "localhost" { return true }
    let process = ChildProcess.spawn(shell.split(separator: " ").map(String.init) + ["-o", "BatchMode=yes", "-o", "ConnectTimeout=5", host.name, "true"])
    if process < 0 { return false }
    for _ in 0..<200 where !Signals.received {
      if let code = ChildProcess.exitCode(process) { return code == 0 }
      usleep(50_000)
    }
    kill(process, SIGKILL)
    while ChildProcess.exitCode(process) == nil { usleep(10_000) }
    return false
  }
}
