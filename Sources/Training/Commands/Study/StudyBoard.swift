import Glibc
import MPI

/// How far the runs of a study are, by their directories: any number of processes may work on them.
final class StudyBoard {
  enum State: Equatable {
    case waiting, running, done
    case failed(StudyFailure)

    var word: String {
      switch self {
      case .waiting: "waiting"
      case .running: "running"
      case .done: "done"
      case .failed: "failed"
      }
    }
  }

  let study: Study
  private let system = FileSystem()
  /// Records of metrics by path, as they were when the file had so many bytes.
  private var records: [String: (bytes: Int, record: RunRecord)] = [:]

  init(_ study: Study) { self.study = study }

  /// What the metrics of a run say; nothing where they cannot be read.
  func readableRecord(_ run: Study.Run) -> RunRecord { (try? record(run)) ?? RunRecord() }

  /// What the metrics of a run say.
  func record(_ run: Study.Run) throws -> RunRecord {
    let path = RunDirectory(path: run.directory).metricsPath
    let bytes = try system.kind(path, followingLinks: true) == nil ? 0 : PosixFile(path, .read).status().bytes
    if let known = records[path], known.bytes == bytes { return known.record }
    let record = try RunRecord(path: path)
    records[path] = (bytes, record)
    return record
  }

  /// Whether a run has ended with the configuration that the study has now.
  func isDone(_ run: Study.Run) throws -> Bool {
    guard try record(run).isDone, let differences = differences(run) else { return false }
    return differences.allSatisfy { Self.changesNoResult($0.key) }
  }

  /// Keys of which no loss depends.
  private static func changesNoResult(_ key: String) -> Bool {
    ["checkpoint.", "replica_check.", "watchdog.", "logging.", "communication.overlap", "communication.bucket_megabytes"].contains { key.hasPrefix($0) }
  }

  /// Why a run of before cannot become the one that the study has now; nil where it can, by more epochs or steps, or has no checkpoint and
  /// begins again.
  func obstacle(_ run: Study.Run) throws -> String? {
    if try RunDirectory(path: run.directory).store.latestStep() == nil { return nil }
    guard let differences = differences(run), let now = try? study.configuration(run) else { return nil }
    // A learning rate that falls over the whole run is another one for every length.
    let lengths = now.optimizer.cosine == nil ? ["training.epochs", "training.maximum_steps", "training.early_stopping"] : []
    let record = try record(run)
    let changed = differences.filter { !Self.changesNoResult($0.key) && !lengths.contains($0.key) }
    let remedy = "give the point another name, or remove \(run.directory)"
    if !changed.isEmpty {
      let words = changed.prefix(3).map { "\($0.key) \($0.old ?? "absent"), and is to have \($0.new ?? "none")" }
      return "it was trained with \(words.joined(separator: "; "))\(changed.count > 3 ? "; and \(changed.count - 3) more" : ""): \(remedy)"
    }
    if record.lastStep > now.training.maximumSteps ?? .max || record.lastEpoch > now.training.epochs {
      return "it was trained for \(record.lastStep) steps, \(record.lastEpoch) epoch\(record.lastEpoch == 1 ? "" : "s"), which is more than it is to have: \(remedy)"
    }
    return nil
  }

  /// The keys in which a run was trained otherwise than the study says now; nil where it has not been, or the study's configuration is at fault.
  func differences(_ run: Study.Run) -> [ConfigurationDifference]? {
    guard let before = try? TrainingConfiguration.load(path: RunDirectory(path: run.directory).configurationPath), var now = try? study.configuration(run)
    else { return nil }
    // What depends on ranks and processors, a run decides where it begins.
    now.training.shards = now.training.shards ?? before.training.shards
    if now.compute.products == .automatic { now.compute.products = before.compute.products }
    return (try? now.resolved(rankCount: 1))?.differences(from: before)
  }

  /// A run whose files cannot be read has failed.
  func state(_ run: Study.Run) -> State {
    do {
      if try isDone(run) { return .done }
      if try isClaimed(run) { return .running }
      return try failure(run).map { .failed($0) } ?? .waiting
    } catch { return .failed(StudyFailure(error)) }
  }

  // MARK: Who has a run

  private func claimPath(_ run: Study.Run) -> String { "\(run.directory)/claim" }

  /// Makes this process and those that it starts with the claim the only ones that work on a run; nil where others do.
  func claim(_ run: Study.Run) throws -> StudyClaim? {
    try system.makeDirectories(run.directory)
    return try StudyClaim(claimPath(run))
  }

  private func isClaimed(_ run: Study.Run) throws -> Bool {
    guard try system.kind(claimPath(run)) == .file else { return false }
    return try PosixFile(claimPath(run), .update).isLockedElsewhere()
  }

  // MARK: Runs that have failed

  private func failurePath(_ run: Study.Run) -> String { "\(run.directory)/failure.json" }

  func failure(_ run: Study.Run) throws -> StudyFailure? {
    guard try system.kind(failurePath(run)) == .file, let text = systemText(failurePath(run)) else { return nil }
    return StudyFailure(json: text)
  }

  func forgetFailure(_ run: Study.Run) throws { try system.removeTree(failurePath(run)) }

  func write(_ failure: StudyFailure, of run: Study.Run) throws {
    try system.makeDirectories(run.directory)
    try writeWhole(failure.json + "\n", to: failurePath(run))
  }

  private func writeWhole(_ text: String, to path: String) throws {
    // Other processes may write the same file.
    try system.replaceFile(path, with: Array(text.utf8), temporary: "\(path).\(getpid()).partial")
  }

  // MARK: Results

  /// Writes the study's file beside its results, for whoever reads them.
  func writeDefinition() throws {
    try system.makeDirectories(study.directory)
    try writeWhole(study.text, to: "\(study.directory)/study.yaml")
  }

  var resultsPath: String { "\(study.directory)/results.csv" }

  static let columns = [
    "point", "seed", "state", "best_validation_loss", "best_step", "last_validation_loss", "test_loss", "last_training_loss", "steps",
    "seconds", "step_seconds_median", "ranks",
  ]

  /// Writes the table of all runs. One process at a time: another's could hold what was true before.
  func writeResults() throws {
    try system.makeDirectories(study.directory)
    let lock = try PosixFile("\(study.directory)/lock", .update)
    while lock.isLockedElsewhere() { usleep(20_000) }
    var text = Self.columns.joined(separator: ",") + "\n"
    for run in study.runs { text += row(run) + "\n" }
    try writeWhole(text, to: resultsPath)
  }

  /// Names of points have commas, and stand in quotes.
  private func row(_ run: Study.Run) -> String {
    let state = state(run), record = readableRecord(run)
    func number(_ value: Double?) -> String { value.map { $0.isFinite ? $0.description : "" } ?? "" }
    let cells = [
      run.point.name.contains(",") ? "\"\(run.point.name)\"" : run.point.name, "\(run.seed)", state.word, number(record.best?.loss),
      record.best.map { "\($0.step)" } ?? "", number(record.lastValidationLoss), number(record.test?.loss), number(record.lastTrainingLoss),
      "\(record.lastStep)", number(record.seconds), number(record.stepSecondsMedian), record.ranks.map { "\($0)" } ?? "",
    ]
    return cells.joined(separator: ",")
  }

  // MARK: The table that is shown

  /// Prints how far runs are.
  func show(_ runs: [Study.Run], console: Console) throws {
    var rows = [["run", "name", "state", "step", "best validation loss", "at step", "time"]], counts: [String: Int] = [:], failures: [String] = []
    for run in runs {
      let state = state(run), record = readableRecord(run)
      counts[state.word, default: 0] += 1
      if case .failed(let failure) = state { failures.append("\(run.name): \(failure)") }
      rows.append([
        "\(run.index)", run.name, state.word, record.lastStep == 0 ? "" : "\(record.lastStep)" + (record.updates.map { "/\($0)" } ?? ""),
        record.best.map { fixed($0.loss, 4) } ?? "", record.best.map { "\($0.step)" } ?? "", record.lastStep == 0 ? "" : duration(seconds: record.seconds),
      ])
    }
    let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    for row in rows {
      let cells = zip(row, widths).enumerated().map { index, cell in
        let space = String(repeating: " ", count: cell.1 - cell.0.count)
        return index == 1 || index == 2 ? cell.0 + space : space + cell.0
      }
      var line = cells.joined(separator: "  ")
      while line.last == " " { line.removeLast() }
      console.print(line)
    }
    let words = ["done", "running", "waiting", "failed"].compactMap { word in counts[word].map { "\($0) \(word)" } }
    console.print("\(runs.count) run\(runs.count == 1 ? "" : "s") of the study \(study.name): \(words.joined(separator: ", ")).")
    for failure in failures { console.print(failure) }
  }
}

/// The hold of a process on a run: it lasts until this process and all that it started with it have ended, or given it up.
final class StudyClaim {
  private let file: PosixFile

  /// Nil where others have it.
  init?(_ path: String) throws {
    file = try PosixFile(path, .update)
    if file.isLockedElsewhere() { return nil }
  }

  /// Starts a program that has the claim too.
  /// - log: where it says what it has to say.
  func spawn(_ command: [String], log: borrowing PosixFile) -> Int32 {
    file.withInheritedDescriptor { _ in
      log.withInheritedDescriptor { log in ChildProcess.spawn(command, output: log, errors: log) }
    }
  }
}

/// How a run has failed.
struct StudyFailure: Error, Equatable, CustomStringConvertible {
  var code: Int32
  var message: String
  /// Tells this failure from others of the same run.
  var time: String

  var description: String { "ended with code \(code): \(message)" }

  init(code: Int32, message: String) {
    self.code = code
    self.message = message
    var now = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &now)
    time = "\(now.tv_sec).\(now.tv_nsec) \(getpid())"
  }

  init(_ error: any Error) {
    self.init(code: (error as? any ExitCodeError)?.exitCode ?? ExitCode.internalFault.rawValue, message: "\(error)")
  }

  var json: String {
    JSONValue.object([JSONField("code", .integer(Int(code))), JSONField("message", .string(message)), JSONField("time", .string(time))]).text
  }

  init?(json: String) {
    guard case .object(let fields)? = try? JSONValue(parsing: Array(json.utf8)), let code = fields.first(where: { $0.name == "code" })?.value.integer,
      let message = fields.first(where: { $0.name == "message" })?.value.string, let time = fields.first(where: { $0.name == "time" })?.value.string
    else { return nil }
    (self.code, self.message, self.time) = (Int32(truncatingIfNeeded: code), message, time)
  }
}
