import Glibc
import Tensors

/// Trains the runs of a study that are not done: each as `lockstep launch` does, some at a time.
final class StudyRunner {
  private let board: StudyBoard
  private let study: Study
  private let request: StudyRequest
  private let runs: [Study.Run]
  private let console: Console
  /// What there is still to do.
  private var pending: [Study.Run]
  private var children: [StudyChild] = []
  private var done = 0
  private var failed: [(run: Study.Run, failure: StudyFailure)] = []
  /// Failures of before this process began: those runs are tried again.
  private var old: [Int: StudyFailure] = [:]
  /// Runs of which it was said that they begin.
  private var announced: Set<Int> = []
  /// How often a run was ended by a signal that was not sent to this process.
  private var interruptions: [Int: Int] = [:]
  /// When runs that others work on are looked at again.
  private var nextLook = ContinuousClock.now
  private var hasSaidThatItWaits = false
  /// Seconds that runs of this process and others took from beginning to end.
  private var durations: [Double] = []

  /// Microseconds between two looks at what goes on.
  private static let pause: UInt32 = 100_000

  init(_ board: StudyBoard, _ runs: [Study.Run], _ request: StudyRequest, console: Console) {
    self.board = board
    study = board.study
    self.request = request
    self.runs = runs
    self.console = console
    pending = runs
  }

  func run() throws -> Int32 {
    Signals.catchAll()
    for run in runs { old[run.index] = (try? board.failure(run)) ?? nil }
    warnOfCores()
    try board.writeDefinition()
    try board.writeResults()
    do { return try train() } catch {
      // What concerns all runs, such as a table that cannot be written: those under way write checkpoints and end.
      for child in children { child.stop() }
      while !children.isEmpty {
        children.removeAll { ChildProcess.exitCode($0.process) != nil }
        usleep(Self.pause)
      }
      throw error
    }
  }

  private func train() throws -> Int32 {
    while true {
      try reap()
      if Signals.received {
        for child in children { child.stop() }
        if children.isEmpty { return try stop() }
      } else {
        try begin()
        if children.isEmpty && pending.isEmpty { return try finish() }
      }
      for child in children { child.follow(console) }
      console.progress(progressLine)
      usleep(Self.pause)
    }
  }

  private func warnOfCores() {
    let wanted = request.jobs * request.ranks * request.threads, cores = UsableCores.numbers?.count
    if let cores, wanted > cores {
      console.warn("\(request.jobs) runs of \(request.ranks) ranks × \(request.threads) threads at a time on \(cores) cores: each will be slower")
    }
  }

  // MARK: Beginning runs

  /// Begins runs as long as there is room. Runs that others have are looked at again from time to time.
  private func begin() throws {
    guard children.count < request.jobs, !pending.isEmpty, ContinuousClock.now >= nextLook else { return }
    var elsewhere: [Study.Run] = []
    for (position, run) in pending.enumerated() {
      if children.count == request.jobs {
        pending = elsewhere + pending[position...]
        return
      }
      do {
        if try !begin(run) { elsewhere.append(run) }
      } catch { try fail(run, StudyFailure(error)) }
    }
    pending = elsewhere
    if elsewhere.isEmpty { return }
    nextLook = ContinuousClock.now + .seconds(1)
    if children.isEmpty && !hasSaidThatItWaits {
      hasSaidThatItWaits = true
      console.print("Waits for \(elsewhere.count) run\(elsewhere.count == 1 ? "" : "s") that other processes work on: \(elsewhere[0].name)\(elsewhere.count > 1 ? " and others" : "").")
    }
  }

  /// Begins a run, or finds that there is nothing to do. False if others work on it.
  private func begin(_ run: Study.Run) throws -> Bool {
    if try settleFinished(run) { return true }
    _ = try study.configuration(run)
    if let obstacle = try board.obstacle(run) { throw UsageError(description: obstacle) }
    guard let claim = try board.claim(run) else { return false }
    // Others may have ended it in between.
    if try settleFinished(run) { return true }
    try board.forgetFailure(run)
    old[run.index] = nil
    let child = try StudyChild(run, command: command(run), claim: claim)
    children.append(child)
    // A run that others train by hand is tried again and again.
    if !announced.insert(run.index).inserted { return true }
    let step = (try? RunDirectory(path: run.directory).store.latestStep()) ?? nil
    console.print("\(step == nil ? "Begins" : "Goes on with") run \(run.index) of \(study.runs.count), \(run.name)\(step.map { ", from step \($0)" } ?? "").")
    return true
  }

  /// Notes a run that is done, or that another process has seen fail.
  private func settleFinished(_ run: Study.Run) throws -> Bool {
    if try board.isDone(run) {
      done += 1
      durations.append(try board.record(run).seconds)
      try board.forgetFailure(run)
      return true
    }
    guard let failure = try board.failure(run), failure != old[run.index] else { return false }
    failed.append((run, failure))
    return true
  }

  /// The command that trains a run. It can be given by hand, too.
  private func command(_ run: Study.Run) -> [String] {
    request.launch(restarts: request.restarts, study.arguments(run, threads: request.threads) + ["--resume"])
  }

  // MARK: The ends of runs

  private func reap() throws {
    for (position, child) in children.enumerated().reversed() {
      guard let code = ChildProcess.exitCode(child.process) else { continue }
      children.remove(at: position)
      do { try settle(child, code: code) } catch { try fail(child.run, StudyFailure(error)) }
    }
  }

  private func settle(_ child: StudyChild, code: Int32) throws {
    let run = child.run
    if code == 0, try board.isDone(run) {
      let record = try board.record(run)
      done += 1
      durations.append(record.seconds)
      let best = record.best.map { "best validation loss \(fixed($0.loss, 4)) at step \($0.step), " } ?? ""
      console.print("Done: \(run.name): \(best)\(record.lastStep) steps, \(duration(seconds: record.seconds)).")
    } else if Signals.received {
      pending.append(run)
    } else if code == ExitCode.usage.rawValue && child.error?.contains(RunLock.isHeld) == true {
      // Ranks of a process that was killed still write their last checkpoint.
      pending.append(run)
      nextLook = ContinuousClock.now + .seconds(2)
    } else if code == ExitCode.stoppedBySignal.rawValue || code > 128, interruptions[run.index, default: 0] < request.restarts {
      // Somebody has ended the run itself, and not the study.
      interruptions[run.index, default: 0] += 1
      pending.append(run)
      console.warn("\(run.name) was interrupted (code \(code)), and is begun again")
    } else if code == 0 {
      let keys = board.differences(run)?.map(\.key) ?? []
      let words = keys.isEmpty ? "it has not trained to its end" : "the file of the study, or its base, has changed: \(keys.joined(separator: ", "))"
      try fail(run, StudyFailure(code: ExitCode.internalFault.rawValue, message: words))
    } else {
      try fail(run, StudyFailure(code: code, message: child.error ?? "no error was printed; see \(child.logPath)"))
    }
    try board.writeResults()
  }

  private func fail(_ run: Study.Run, _ failure: StudyFailure) throws {
    failed.append((run, failure))
    console.warn("\(run.name) \(failure)")
    do { try board.write(failure, of: run) } catch { console.warn("\(error)") }
    try board.writeResults()
  }

  // MARK: The end

  private func stop() throws -> Int32 {
    try board.writeResults()
    console.print("Stopped by a signal: \(done) of \(runs.count) runs are done\(failed.isEmpty ? "" : ", \(failed.count) failed"). Give the same command to go on.")
    return ExitCode.stoppedBySignal.rawValue
  }

  private func finish() throws -> Int32 {
    try board.writeResults()
    console.print("\(done) of \(runs.count) run\(runs.count == 1 ? "" : "s") of the study \(study.name) \(done == 1 ? "is" : "are") done; results: \(board.resultsPath)")
    guard !failed.isEmpty else { return ExitCode.success.rawValue }
    for (run, failure) in failed.sorted(by: { $0.run.index < $1.run.index }) { console.print("Failed: \(run.name) \(failure)") }
    let names = failed.map(\.run.name).sorted()
    printError("\(failed.count) run\(failed.count == 1 ? "" : "s") of the study failed: \(names.prefix(3).joined(separator: "; "))\(names.count > 3 ? " and \(names.count - 3) more" : "")")
    return failed.min { $0.run.index < $1.run.index }!.failure.code
  }

  // MARK: Progress

  private func progressLine() -> String {
    var line = "\(study.name): \(done) of \(runs.count) done" + (failed.isEmpty ? "" : ", \(failed.count) failed")
    for child in children.prefix(3) {
      line += "; \(child.run.name) step \(child.record.lastStep)" + (child.record.updates.map { "/\($0)" } ?? "")
    }
    if children.count > 3 { line += "; and \(children.count - 3) more" }
    return line + (secondsLeft.map { "; \(duration(seconds: $0)) left" } ?? "")
  }

  /// Seconds of what is left, as long as it takes what is done; nil before anything says how long that is.
  private var secondsLeft: Double? {
    let underWay = children.compactMap { child -> (whole: Double, left: Double)? in
      guard let updates = child.record.updates, child.record.lastStep > 0 else { return nil }
      let whole = child.record.seconds / Double(child.record.lastStep) * Double(updates)
      return (whole, max(0, whole - child.record.seconds))
    }
    let known = durations + underWay.map(\.whole)
    guard !known.isEmpty, !children.isEmpty else { return nil }
    let mean = known.reduce(0, +) / Double(known.count)
    let left = Double(pending.count + children.count - underWay.count) * mean + underWay.map(\.left).reduce(0, +)
    return left / Double(min(request.jobs, max(1, children.count + pending.count)))
  }
}

/// A run that is under way in a process of its own.
final class StudyChild {
  let run: Study.Run
  let process: Int32
  let logPath: String
  /// What its metrics have said so far.
  private(set) var record = RunRecord()
  private let claim: StudyClaim
  private let logStart: Int
  private let metricsPath: String
  private var reader: MetricsReader?
  private let log: PosixFile
  /// How much of the log has been looked at.
  private var logRead: Int
  private var isTold = false

  init(_ run: Study.Run, command: [String], claim: StudyClaim) throws {
    self.run = run
    self.claim = claim
    logPath = "\(run.directory)/log.txt"
    metricsPath = RunDirectory(path: run.directory).metricsPath
    let log = try PosixFile(logPath, .append)
    logStart = try log.status().bytes
    logRead = logStart
    process = claim.spawn(command, log: log)
    self.log = log
    if process < 0 { throw FileError(.open, command[0], code: -process) }
  }

  /// Reads what the metrics say that is new. For show only: a line that was torn by a kill may be missed.
  func follow(_ console: Console) {
    for line in newLines where line.hasPrefix(Self.ended) && !line.hasPrefix(Self.ended + "0") {
      console.warn("\(run.name) ended with code \(line.dropFirst(Self.ended.count))\(error.map { ": \($0)" } ?? "")")
    }
    if reader == nil { reader = try? MetricsReader(path: metricsPath) }
    while let event = try? reader?.next() { record.add(event) }
  }

  /// How `launch` says that a start of a run has ended.
  private static let ended = "lockstep: launch: ended with code "

  /// Whole lines of the log that were not looked at.
  private var newLines: [String] {
    guard let bytes = try? log.status().bytes, bytes > logRead else { return [] }
    var piece = [UInt8](repeating: 0, count: min(bytes - logRead, 1 << 16))
    guard let count = try? log.read(into: &piece, at: logRead), let end = piece[..<count].lastIndex(of: UInt8(ascii: "\n")) else { return [] }
    logRead += end + 1
    return String(decoding: piece[..<end], as: UTF8.self).split(separator: "\n").map(String.init)
  }

  /// Makes it write a checkpoint and end. A second signal would end `launch` at once.
  func stop() {
    if !isTold { kill(process, SIGTERM) }
    isTold = true
  }

  /// What the process wrote since it began.
  private var words: String { (systemText(logPath)?.utf8.dropFirst(logStart)).map { String(decoding: $0, as: UTF8.self) } ?? "" }

  /// The last error that it printed.
  var error: String? { lastError(in: words) }
}
