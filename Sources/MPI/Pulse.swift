import Tensors

/// What each rank of a node is doing, where the others see it without its help: a rank that hangs cannot answer.
///
/// Every rank has a cache line of shared memory that it alone writes: what it does and since when, and since when it waits for other ranks.
/// `Communicator`s that carry a pulse say by themselves when they wait. Any thread of the process may read: nothing changes after `init` but
/// numbers in shared memory, which are loaded and stored whole.
public final class Pulse: @unchecked Sendable {
  /// What a rank has said of itself last.
  public struct Sign: Equatable, Sendable {
    /// What it is doing: a number whose meaning is the program's.
    public var activity: Int
    /// The training step.
    public var step: Int
    /// When it was last seen to get on, in nanoseconds of the host's monotonic clock.
    public var since: UInt64
    /// When it began to wait for other ranks; nil while it does not.
    public var waitingSince: UInt64?
    /// When its process last gave a sign of life; 0 before the first.
    public var alive: UInt64

    /// A sign with these parts.
    public init(activity: Int, step: Int, since: UInt64, waitingSince: UInt64?, alive: UInt64 = 0) {
      self.alive = alive
      self.activity = activity
      self.step = step
      self.since = since
      self.waitingSince = waitingSince
    }
  }

  private struct Line {
    let activity, step, since, waitingSince, isGivingUp, alive: SharedFlag
  }

  /// The ranks of this node, in the order of `world`.
  public let ranks: [Int]
  /// Place of this rank among them.
  public let place: Int
  private let lines: [Line]
  private let mine: Line

  /// All ranks of `world` call it together.
  /// - Throws: `MPIError`.
  public init(_ world: Communicator) throws(MPIError) {
    let node = try world.splitByMemory()
    let window = try SharedWindow<UInt64>(node, count: 0, flags: 8)
    ranks = try node.allGather(world.rank)
    place = node.rank
    lines = (0..<node.size).map { rank in
      Line(
        activity: window.flag(0, of: rank), step: window.flag(1, of: rank), since: window.flag(2, of: rank),
        waitingSince: window.flag(3, of: rank),
        isGivingUp: window.flag(4, of: rank), alive: window.flag(5, of: rank))
    }
    mine = lines[node.rank]
    mine.since.store(Self.now)
    try node.barrier()
  }

  /// Nanoseconds of the host's monotonic clock, the same for all its processes.
  public static var now: UInt64 { MonotonicClock.nanoseconds }

  /// Says what this rank does from now on.
  public func begin(_ activity: Int, step: Int) {
    mine.activity.store(UInt64(activity))
    mine.step.store(UInt64(step))
    mine.since.store(Self.now)
  }

  /// Says what this rank does from now on, in the same step.
  public func begin(_ activity: Int) {
    mine.activity.store(UInt64(activity))
    mine.since.store(Self.now)
  }

  /// Says that this rank gets on.
  public func goOn() { mine.since.store(Self.now) }

  /// Says that this rank waits for others.
  public func beginWait() { mine.waitingSince.store(Self.now) }

  /// Says that the wait is over.
  public func endWait() { mine.waitingSince.store(0) }

  /// Says that this process runs.
  public func beat() { mine.alive.store(Self.now) }

  /// Says that this rank is about to end the job.
  public func giveUp() { mine.isGivingUp.store(1) }

  /// Whether some rank of the node has said that it ends the job: what ranks do from then on means nothing.
  public var hasGivenUp: Bool { lines.contains { $0.isGivingUp.value != 0 } }

  /// The last sign of the rank at `place` of the node.
  public func sign(_ place: Int) -> Sign {
    let line = lines[place], waiting = line.waitingSince.value
    return Sign(
      activity: Int(line.activity.value), step: Int(line.step.value), since: line.since.value, waitingSince: waiting == 0 ? nil : waiting,
      alive: line.alive.value)
  }
}

extension Communicator {
  /// Runs a call of MPI that may wait for other ranks, and says so meanwhile.
  @inline(__always)
  func blocking(_ call: StaticString, _ body: () -> Int32) throws(MPIError) {
    let begin = trace == nil ? 0 : MonotonicClock.nanoseconds
    pulse?.beginWait()
    let code = body()
    pulse?.endWait()
    trace?.record(.span(.training), "\(call)", from: begin)
    try check(code, call, rank: rank)
  }
}
