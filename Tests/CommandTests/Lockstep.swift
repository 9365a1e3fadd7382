import Foundation
import MPI
import Testing

/// All tests of whole commands, one at a time: each starts several processes.
@Suite(.serialized) struct CommandTests {}

/// How a command ended.
struct Outcome: CustomStringConvertible {
  let command: String
  let exitCode: Int32
  let output: String
  let errors: String

  /// The messages with which the program itself, not mpirun, said what is wrong.
  var errorMessages: [String] { lines(of: errors).filter { $0.contains("lockstep: error:") } }
  /// All warnings but that a test has asked for faults.
  var warnings: [String] { lines(of: errors).filter { $0.contains("lockstep: warning:") && !$0.contains("LOCKSTEP_FAULT is set") } }

  var description: String { "\(command)\nexit code \(exitCode)\n--- output\n\(output)--- errors\n\(errors)" }

  private func lines(of text: String) -> [String] { text.split(separator: "\n").map(String.init) }
}

/// A command that runs.
final class RunningCommand {
  let process = Process()
  /// Whether mpirun was still there long after its own time-out: Open MPI 4.1.4 with PMIx 4.2 sometimes never ends after all its ranks have.
  private(set) var launcherHung = false
  private let command: String
  private let limit: Int
  private let files: (output: String, errors: String)
  // Commands at once would make and remove the same folder of Open MPI.
  private let temporary = NSTemporaryDirectory() + "lockstep-mpi-" + UUID().uuidString

  /// - limit: seconds after which mpirun's own time-out must have passed.
  /// - terminal: what it reads from, if anything.
  init(
    _ arguments: [String], in directory: String, files: (output: String, errors: String), limit: Int = 75, terminal: String? = nil
  ) throws {
    self.files = files
    self.limit = limit
    command = arguments.joined(separator: " ")
    for path in [files.output, files.errors] { #expect(FileManager.default.createFile(atPath: path, contents: nil)) }
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = arguments
    try FileManager.default.createDirectory(atPath: temporary, withIntermediateDirectories: true)
    process.environment = Self.environment().merging(["TMPDIR": temporary]) { $1 }
    process.currentDirectoryURL = URL(fileURLWithPath: directory)
    process.standardInput = try terminal.map { try FileHandle(forUpdating: URL(fileURLWithPath: $0)) } ?? FileHandle.nullDevice
    process.standardOutput = try FileHandle(forWritingTo: URL(fileURLWithPath: files.output))
    process.standardError = try FileHandle(forWritingTo: URL(fileURLWithPath: files.errors))
    // Threads of the test's runtime block signals, which mpirun would inherit and not pass on.
    var none = sigset_t(), before = sigset_t()
    unsafe sigemptyset(&none)
    unsafe pthread_sigmask(SIG_SETMASK, &none, &before)
    defer { unsafe pthread_sigmask(SIG_SETMASK, &before, nil) }
    try process.run()
  }

  /// Waits for the end. A command whose ranks hang is ended by its own time-out.
  func wait() throws -> Outcome {
    let start = ContinuousClock.now
    while process.isRunning {
      usleep(5000)
      if ContinuousClock.now - start > .seconds(limit) {
        launcherHung = true
        kill(process.processIdentifier, SIGKILL)
        break
      }
    }
    process.waitUntilExit()
    try? FileManager.default.removeItem(atPath: temporary)
    let code = process.terminationReason == .exit ? process.terminationStatus : 128 + process.terminationStatus
    func text(_ path: String) throws -> String { String(decoding: try Data(contentsOf: URL(fileURLWithPath: path)), as: UTF8.self) }
    return Outcome(command: command, exitCode: code, output: try text(files.output), errors: try text(files.errors))
  }

  /// The environment without what an MPI around the tests has left in it; containers run tests as root.
  private static func environment() -> [String: String] {
    var environment = ProcessInfo.processInfo.environment.filter {
      name, _ in !["OMPI_", "PMIX_", "PMI_", "SLURM_"].contains { name.hasPrefix($0) }
    }
    environment["OMPI_ALLOW_RUN_AS_ROOT"] = "1"
    environment["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    return environment
  }
}

/// A directory of one test, with texts and a configuration in it; commands run in it.
final class Sandbox {
  let path: String
  private var commands = 0

  /// Writes texts of random words and a configuration of a tiny model: 8 shards, 10 windows an epoch.
  init() throws {
    path = NSTemporaryDirectory() + "lockstep-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    try write("train.txt", randomText(tokens: 1300, types: 60, seed: 1))
    try write("valid.txt", randomText(tokens: 200, types: 60, seed: 2))
    try write("test.txt", randomText(tokens: 150, types: 60, seed: 3))
    try write("tiny.yaml", """
      task: language-model
      data: {train: train.txt, validation: valid.txt, test: test.txt, vocabulary_size: 40}
      model: {embedding_size: 6, hidden_size: 8, layers: 2, dropout: 0.2}
      training: {batch_size: 24, shards: 8, unroll_steps: 5, epochs: 1000, maximum_steps: 12}
      checkpoint: {every_steps: 5}
      evaluation: {population_batches: 3}

      """)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// The path of a name in the sandbox.
  func callAsFunction(_ name: String) -> String { "\(path)/\(name)" }

  func write(_ name: String, _ text: String) throws { try write(name, Data(text.utf8)) }
  func write(_ name: String, _ data: Data) throws { try data.write(to: URL(fileURLWithPath: self(name))) }
  func data(_ name: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: self(name))) }
  func text(_ name: String) throws -> String { String(decoding: try data(name), as: UTF8.self) }
  func exists(_ name: String) -> Bool { FileManager.default.fileExists(atPath: self(name)) }
  func names(in directory: String) throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: self(directory)).sorted() }

  /// The program, which lies beside the test bundle.
  static func program() throws -> String {
    URL(fileURLWithPath: try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"))
      .deletingLastPathComponent().appendingPathComponent("lockstep").path
  }

  /// Starts `lockstep ARGUMENTS`; without mpirun for one rank.
  /// - environment: `NAME=VALUE`, on all ranks.
  /// - library: loaded before the program: one that lies beside it.
  func start(
    ranks: Int, _ arguments: [String], environment: [String] = [], timeout: Int = 60, preloading library: String? = nil
  ) throws -> RunningCommand {
    commands += 1
    let launcher = ranks == 1
      ? ["timeout", "\(timeout)"]
      : MPILibrary.current.localCommand(ranks: ranks, timeout: timeout)
    let program = try Self.program()
    let preload = library.map { ["env", "LD_PRELOAD=" + URL(fileURLWithPath: program).deletingLastPathComponent().appendingPathComponent($0).path] }
    return try RunningCommand(
      environment + launcher + (preload ?? []) + [program] + arguments, in: path, files: (self("output-\(commands)"), self("errors-\(commands)")),
      limit: timeout + 15)
  }

  /// Runs `lockstep ARGUMENTS` to its end; again without what it has made if mpirun hung, which is not what is tested.
  func run(ranks: Int = 1, _ arguments: [String], environment: [String] = []) throws -> Outcome {
    let command = try start(ranks: ranks, arguments, environment: environment), outcome = try command.wait()
    guard command.launcherHung else { return outcome }
    if let index = arguments.firstIndex(of: "--run-directory"), !arguments.contains("--resume") {
      try? FileManager.default.removeItem(atPath: arguments[index + 1])
    }
    return try start(ranks: ranks, arguments, environment: environment).wait()
  }

  /// The arguments of a training run of `tiny.yaml` in `directory`.
  func training(_ directory: String, _ settings: [String], _ further: [String] = []) -> [String] {
    ["train", "tiny.yaml", "--run-directory", self(directory)] + further + settings.flatMap { ["--set", $0] }
  }

  /// Trains to the end, which must be a good one.
  @discardableResult
  func train(
    _ directory: String, ranks: Int = 1, _ settings: [String] = [], _ further: [String] = [], sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> Outcome {
    let outcome = try run(ranks: ranks, training(directory, settings, further))
    try #require(outcome.exitCode == 0 && outcome.errorMessages.isEmpty, "\(outcome)", sourceLocation: sourceLocation)
    return outcome
  }

  /// Runs a command that must fail with one message that holds each of `words`, on every number of ranks.
  func expectFailure(
    _ code: Int32, _ words: [String], ranks: [Int] = [1, 3], _ arguments: [String], sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    for ranks in ranks {
      let outcome = try run(ranks: ranks, arguments)
      #expect(outcome.exitCode == code, "\(outcome)", sourceLocation: sourceLocation)
      #expect(outcome.errorMessages.count == 1, "\(outcome)", sourceLocation: sourceLocation)
      for word in words {
        #expect(outcome.errorMessages.first?.contains(word) == true, "no \(word) in: \(outcome)", sourceLocation: sourceLocation)
      }
    }
  }

  /// Process numbers of the program's ranks that work in this sandbox.
  func rankProcesses() throws -> [pid_t] {
    let program = try Self.program()
    return try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap { pid_t($0) }.filter { number in
      guard (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(number)/exe")) == program,
        let arguments = FileManager.default.contents(atPath: "/proc/\(number)/cmdline")
      else { return false }
      return String(decoding: arguments, as: UTF8.self).contains(path)
    }.sorted()
  }

  /// Waits until a rank of a command is there.
  func waitForRank(_ running: RunningCommand) throws -> pid_t {
    while running.process.isRunning {
      if let rank = try rankProcesses().first(where: { catchesSignal(SIGUSR1, $0) }) { return rank }
      usleep(2000)
    }
    throw CancellationError()
  }

  /// Waits until a run has been started so many times and has done `steps` updates since.
  func waitForStart(_ start: Int, steps: Int, of directory: String, _ running: RunningCommand) throws {
    for _ in 0..<12_000 where running.process.isRunning {
      let lines = ((try? text("\(directory)/metrics.jsonl")) ?? "").split(separator: "\n")
      let starts = lines.indices.filter { lines[$0].contains("\"event\":\"start\"") }
      if starts.count >= start, lines[starts[start - 1]...].count(where: { $0.contains("\"event\":\"step\"") }) >= steps { return }
      usleep(5000)
    }
    Issue.record("the run ended, or hung, before step \(steps) of start \(start)")
  }

  /// Waits until a run has done `steps` updates.
  func waitForSteps(_ steps: Int, of directory: String, _ running: RunningCommand) throws {
    for _ in 0..<6000 {
      if let text = try? text("\(directory)/metrics.jsonl"), text.split(separator: "\n").count(where: { $0.contains("\"event\":\"step\"") }) >= steps {
        return
      }
      if !running.process.isRunning { break }
      usleep(5000)
    }
    Issue.record("the run ended, or hung, before step \(steps)")
  }
}

/// Waits until a process has stopped, as `LOCKSTEP_FAULT=stop@…` makes it do at a place of its own.
func waitUntilStopped(_ process: pid_t, _ running: RunningCommand) {
  while running.process.isRunning {
    if hasStopped(process) { return }
    usleep(2000)
  }
  Issue.record("process \(process) did not stop")
}

/// Whether a process stands, until SIGCONT.
func hasStopped(_ process: pid_t) -> Bool {
  let status = FileManager.default.contents(atPath: "/proc/\(process)/status").map { String(decoding: $0, as: UTF8.self) } ?? ""
  return status.contains("State:\tT")
}

/// Whether a signal has been sent to a process that has not taken it yet.
func isPending(_ signal: Int32, _ process: pid_t) -> Bool {
  let status = FileManager.default.contents(atPath: "/proc/\(process)/status").map { String(decoding: $0, as: UTF8.self) } ?? ""
  return status.matches(of: /(?:SigPnd|ShdPnd):\s*([0-9a-f]+)/).contains { UInt64($0.1, radix: 16).map { $0 >> (signal - 1) & 1 == 1 } ?? false }
}

/// Whether a process has a handler of a signal.
func catchesSignal(_ signal: Int32, _ process: pid_t) -> Bool {
  guard let status = FileManager.default.contents(atPath: "/proc/\(process)/status").map({ String(decoding: $0, as: UTF8.self) }),
    let mask = status.firstMatch(of: /SigCgt:\s*([0-9a-f]+)/).flatMap({ UInt64($0.1, radix: 16) })
  else { return false }
  return mask >> (signal - 1) & 1 == 1
}

/// Lines of nine words each: words of low numbers are frequent, as in languages, and each word makes some others likely.
func randomText(tokens: Int, types: Int, seed: UInt64) -> String {
  var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
  func uniform() -> Double {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Double(state >> 11) / 9_007_199_254_740_992
  }
  var text = "", word = 0
  for token in 1...tokens {
    if token % 10 == 0 {
      text += "\n"
    } else {
      let drawn = Int(Double(types) * uniform() * uniform())
      word = (uniform() < 0.5 ? drawn : word + drawn) % types
      text += (token % 10 == 1 ? "" : " ") + "w\(word)"
    }
  }
  return text
}
