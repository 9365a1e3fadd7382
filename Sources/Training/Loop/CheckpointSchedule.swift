import DataParallel
import MPI

/// When checkpoints are written, and what becomes of them. Training waits only while a copy is taken; rank 0 writes it behind the next steps.
///
/// All ranks hold one and call it alike: that a checkpoint is due, and that one has been written, reaches them with the sums of a step.
final class CheckpointSchedule {
  /// A checkpoint that is being written, or that could not be, in a run that goes on.
  struct Lost {
    var step: Int
    /// Whether it was that of the best validation.
    var isBest: Bool
    /// What is known of validations with it, and without.
    var validation, validationBefore: CheckpointState.Validation?
  }

  private let configuration: TrainingConfiguration.Checkpoint
  private let contents: Checkpointing
  private let context: RankContext
  private let journal: Journal
  private let console: Console
  private let patience: Double
  private let writer: CheckpointWriter
  private let clock = ContinuousClock()
  private var lastBegin: ContinuousClock.Instant
  private var standingStep: Int?
  private var pending: Lost?
  // The best model that was lost, as long as its copy is there; the copy is rank 0's.
  private var lostBest: Lost?
  private var copy: CheckpointJob?

  /// - patience: seconds that a run which fails waits for a disk that does not answer.
  init(
    _ configuration: TrainingConfiguration.Checkpoint, contents: Checkpointing, context: RankContext, journal: Journal, console: Console,
    patience: Double
  ) {
    self.configuration = configuration
    self.contents = contents
    self.context = context
    self.journal = journal
    self.console = console
    self.patience = patience
    writer = CheckpointWriter(trace: context.world.trace)
    lastBegin = clock.now
  }

  /// The step of the last checkpoint that stands or is being written.
  var lastStep: Int? { pending?.step ?? standingStep }

  /// Whether a checkpoint is being written, or waits to be settled.
  var isWriting: Bool { pending != nil }

  /// The run goes on from a checkpoint.
  func resume(step: Int) { standingStep = step }

  /// What this rank asks of all: a checkpoint by the clock; a look at one that has been written.
  var request: Request {
    guard context.isFirst else { return [] }
    var request: Request = []
    if let minutes = configuration.everyMinutes, (clock.now - lastBegin) / .seconds(60) >= minutes { request.insert(.checkpoint) }
    if pending != nil && writer.isFinished { request.insert(.written) }
    return request
  }

  /// Whether a checkpoint is due after `step` updates, at the last of which ranks asked for `requests`.
  func isDue(step: Int, _ requests: Request) -> Bool {
    lastStep != step && (requests.contains(.checkpoint) || configuration.everySteps.map { step % $0 == 0 } ?? false)
  }

  /// Takes a copy of everything and begins to write it. The one before must have been settled.
  /// - validationBefore: what was known of validations before that of this step.
  /// - Throws: on every rank the error of the rank that failed.
  func begin(
    _ progress: Progress, statistics: CheckpointState.Statistics, isBest: Bool, validationBefore: CheckpointState.Validation?
  ) throws {
    precondition(pending == nil, "a checkpoint while another one is being written")
    lostBest = nil
    copy = try contents.copy(progress, statistics: statistics, isBest: isBest)
    start(Lost(step: progress.step, isBest: isBest, validation: progress.validation, validationBefore: validationBefore))
  }

  private func start(_ checkpoint: Lost) {
    lastBegin = clock.now
    pending = checkpoint
    if let copy { writer.start(copy) }
  }

  /// Tries once more to write the best model, if it was lost and nothing has been copied since; waits for the end of that.
  /// - Returns: what is known of validations, if the checkpoint stands now.
  /// - Throws: as `settle`.
  func rescueBest() throws -> CheckpointState.Validation? {
    guard pending == nil, let lost = lostBest else { return nil }
    lostBest = nil
    start(lost)
    return try settle() == nil ? lost.validation : nil
  }

  /// Waits for the checkpoint that is being written, if there is one, and says what came of it.
  /// - isLast: whether the run ends with it: then it must stand.
  /// - Returns: the checkpoint, if it does not stand and the run is to go on.
  /// - Throws: on every rank why it could not be written, or older ones not be removed.
  func settle(isLast: Bool = false) throws -> Lost? {
    guard let written = pending else { return nil }
    pending = nil
    let mustStop = configuration.onError == .stop
    let stands = try context.world.agree {
      guard context.isFirst else { return true }
      let outcome = writer.wait()
      if let path = outcome.path { try report(step: written.step, path: path) }
      guard let error = outcome.error else { return true }
      if mustStop || isLast && outcome.path == nil { throw error }
      console.warn(
        "step \(written.step): \(outcome.path == nil ? "no checkpoint was written" : "old checkpoints stay"), and the run goes on: \(error)")
      try journal.write(
        "checkpoint_failed", [JSONField("step", .integer(written.step)), JSONField("message", .string("\(error)"))])
      return outcome.path != nil
    }
    // Only rank 0 knows; the others need it where the run goes on without the checkpoint.
    let isThere = try mustStop || context.world.allGather(stands ? 1 : 0)[0] == 1
    if isThere { standingStep = written.step }
    if !isThere && written.isBest { lostBest = written }
    return isThere ? nil : written
  }

  /// Waits for the checkpoint that is being written without the other ranks, in a run that ends by an error they all know; for so long as
  /// the run has patience.
  /// - Throws: on rank 0 `HungDiskError` with `error` if it is not done by then: nothing else may touch the run directory.
  func abandon(_ error: any Error) throws {
    guard let step = pending?.step, context.isFirst else { return }
    pending = nil
    guard let outcome = writer.wait(atMost: patience) else {
      throw HungDiskError(error: error, step: step, path: contents.path(step: step), seconds: patience)
    }
    // The error that ends the run is the one to report.
    if let path = outcome.path { try? report(step: step, path: path) }
    if let error = outcome.error { console.warn("step \(step): \(error)") }
  }

  private func report(step: Int, path: String) throws {
    try journal.write("checkpoint", [JSONField("step", .integer(step)), JSONField("path", .string(path))])
  }
}

/// A run that has failed, and whose last checkpoint its disk does not take. It is no error that ranks agree on: rank 0 ends the job at once, since
/// to end in order it would have to write and close files.
struct HungDiskError: ExitCodeError, CustomStringConvertible {
  /// What the run has failed by.
  var error: any Error
  var step: Int
  var path: String
  var seconds: Double

  var exitCode: Int32 { (error as? any ExitCodeError)?.exitCode ?? ExitCode.internalFault.rawValue }
  var description: String {
    "\(error). The checkpoint of step \(step) (\(path)) was still being written after \(fixed(seconds, seconds < 10 ? 1 : 0)) s, and is abandoned: the disk does not answer, or is slow; "
      + "--resume goes on from the last one that stands"
  }
}
