import Glibc
import MPI
import Tensors

/// Records some updates of all ranks and writes them as one file of Chrome's trace events, which Perfetto (ui.perfetto.dev) and chrome://tracing show.
///
/// All ranks hold one and call it alike. `Communicator.trace` must have been set before whatever is to be recorded was made.
final class TraceRecording {
  /// The updates that are recorded, from 1.
  let steps: ClosedRange<Int>
  /// Where the trace goes.
  let path: String
  private let world: Communicator
  private let trace: Trace
  private let console: Console
  private let system = FileSystem()
  private var first: ClockComparison?
  // By rank 0's clock, before anything that is recorded.
  private var origin: Int64 = 0
  private var recorded: ClosedRange<Int>?

  init(steps: ClosedRange<Int>, path: String, world: Communicator, console: Console) {
    guard let trace = world.trace else { preconditionFailure("a recording without a trace") }
    (self.steps, self.path, self.world, self.trace, self.console) = (steps, path, world, trace, console)
  }

  private var temporary: String { path + ".partial" }

  /// Refuses a path that cannot be written, before the time of a run is spent.
  /// - Throws: on every rank the same error.
  func checkWritable() throws {
    try world.agree {
      guard world.rank == 0 else { return }
      if try system.kind(path, followingLinks: true) == .directory { throw FileError(.create, path, code: EISDIR) }
      try system.replaceFile(temporary, with: [], temporary: temporary + "-check")
      try system.removeFile(temporary)
    }
  }

  /// Begins to record if update `step` is the first one to be recorded.
  /// - Throws: `MPIError`.
  func begin(before step: Int) throws {
    guard steps.contains(step), !trace.isRecording, recorded == nil else { return }
    let start = try world.allGather(Int(MonotonicClock.nanoseconds))
    origin = Int64(start[0])
    first = try ClockComparison(world)
    try world.barrier()
    trace.begin()
    recorded = step...step
  }

  /// Writes the trace if update `step` was the last one to be recorded.
  /// - Throws: on every rank the same error where it cannot be written.
  func end(after step: Int) throws {
    guard let recorded, trace.isRecording else { return }
    self.recorded = recorded.lowerBound...step
    if step >= steps.upperBound { try finish() }
  }

  /// Writes what was recorded of a run that ends, or says that nothing was.
  /// - Throws: on every rank the same error where it cannot be written.
  func close() throws {
    if trace.isRecording { return try finish() }
    if recorded == nil { console.warn("no update from \(steps.lowerBound) to \(steps.upperBound) was done: no trace is written") }
  }

  private func finish() throws {
    let (events, dropped) = trace.end()
    guard let first, let recorded else { preconditionFailure("a recording that did not begin") }
    let clock = AlignedClock(first: first, last: try ClockComparison(world))
    let lost = try world.allGather(dropped).reduce(0, +)
    let error = try world.allGather(Int(max(first.error, clock.last.error))).max() ?? 0
    let mine = TraceText.events(events, rank: world.rank, host: world.hostName, clock: clock, origin: origin)
    let header = TraceText.header([
      JSONField("program", .string("Lockstep \(Version.current)")), JSONField("ranks", .integer(world.size)),
      JSONField("first_step", .integer(recorded.lowerBound)), JSONField("last_step", .integer(recorded.upperBound)),
      JSONField("clock_error_us", .double(Double(error) / 1000)), JSONField("dropped_events", .integer(lost)),
    ])
    try write(header: header, mine)
    if lost > 0 { console.warn("\(lost) events of the trace were dropped: a rank keeps \(Trace.capacity) at most; record fewer steps") }
    console.print("The trace of updates \(recorded.lowerBound) to \(recorded.upperBound) lies in \(path); open it with https://ui.perfetto.dev or chrome://tracing.")
  }

  /// Rank 0 writes what each rank sends it in turn.
  private func write(header: [UInt8], _ mine: [UInt8]) throws {
    var failure: FileError?
    var file: PosixFile?
    func attempt(_ body: () throws(FileError) -> Void) {
      guard world.rank == 0, failure == nil else { return }
      do throws(FileError) { try body() } catch { failure = error }
    }
    func append(_ bytes: [UInt8]) { attempt { () throws(FileError) in try unsafe file?.write(bytes.span.bytes) } }
    attempt { () throws(FileError) in
      try system.removeTree(temporary)
      file = try PosixFile(temporary, .create, system: system)
    }
    append(header)
    for rank in 0..<world.size {
      let bytes = try world.broadcast(bytes: rank == world.rank ? mine : nil, root: rank)
      if rank > 0 && !bytes.isEmpty { append(Array(",\n".utf8)) }
      append(bytes)
    }
    append(TraceText.footer)
    attempt { () throws(FileError) in
      try file?.synchronize()
      try system.rename(temporary, to: path)
    }
    file = nil
    if failure != nil { try? system.removeFile(temporary) }
    try world.agree { if let failure { throw failure } }
  }
}
