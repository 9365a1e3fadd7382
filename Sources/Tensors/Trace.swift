import Glibc
import Synchronization

/// The host's monotonic clock.
public enum MonotonicClock {
  /// Nanoseconds since the host started, the same for all its processes.
  public static var nanoseconds: UInt64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }
}

/// What the threads of one rank did and when, recorded between `begin` and `end`.
///
/// Any thread may record. Outside a recording, an event costs the comparison of two numbers; without a trace, that of a pointer with nil.
public final class Trace: Sendable {
  /// A thread of a rank, or what stands for one.
  public enum Track: Int, CaseIterable, Sendable {
    /// Computes updates.
    case training
    /// Reads minibatches ahead.
    case reading
    /// Writes checkpoints.
    case checkpoint

    /// The track in words.
    public var name: String {
      switch self {
      case .training: "training"
      case .reading: "reading ahead"
      case .checkpoint: "checkpoint writer"
      }
    }
  }

  /// What part of the network an event is about.
  public struct Place: Sendable, Equatable {
    /// The beginning of its tensors' names, such as `lstm.0.forward`.
    public var part: String
    /// `forward` or `backward`, through the network.
    public var pass: String

    /// A part in a pass.
    public init(_ part: String, pass: String) {
      self.part = part
      self.pass = pass
    }
  }

  /// Something that took time.
  public struct Event: Sendable {
    /// What kind of event it is.
    public enum Kind: Sendable, Equatable {
      /// Work of a thread. Spans of one track lie apart or within each other.
      case span(Track)
      /// A message from its start to its completion. Messages overlap.
      case message
    }

    public var kind: Kind
    public var name: String
    /// Nanoseconds by `MonotonicClock`.
    public var begin, end: UInt64
    /// The update that was under way, from 1; 0 before the first.
    public var step: Int
    public var place: Place?
    /// Bytes that this rank sends; nil where that says nothing.
    public var bytes: Int?

    /// An event with these parts.
    public init(kind: Kind, name: String, begin: UInt64, end: UInt64, step: Int, place: Place? = nil, bytes: Int? = nil) {
      self.kind = kind
      self.name = name
      self.begin = begin
      self.end = end
      self.step = step
      self.place = place
      self.bytes = bytes
    }
  }

  private struct State: ~Copyable {
    var events: [Event] = []
    var dropped = 0
  }

  /// The most events of a recording: 100 bytes each.
  public static let capacity = 1 << 20
  // Events that begin earlier are not recorded.
  private let start = Atomic<UInt64>(.max)
  private let step = Atomic<Int>(0)
  private let state = Mutex(State())

  /// A trace that records nothing yet.
  public init() {}

  /// Whether a recording is under way.
  public var isRecording: Bool { start.load(ordering: .relaxed) != .max }

  /// Records events that begin from now on.
  public func begin() {
    state.withLock {
      $0.events.removeAll(keepingCapacity: true)
      $0.events.reserveCapacity(1 << 14)
      $0.dropped = 0
    }
    start.store(MonotonicClock.nanoseconds, ordering: .relaxed)
  }

  /// Ends the recording.
  /// - Returns: what was recorded, and how many events there was no room for.
  public func end() -> (events: [Event], dropped: Int) {
    start.store(.max, ordering: .relaxed)
    return state.withLock { state in
      defer { state.events = [] }
      return (state.events, state.dropped)
    }
  }

  /// Says which update is under way.
  public func beginStep(_ number: Int) { step.store(number, ordering: .relaxed) }

  /// Records an event that has ended, unless it began before the recording or there is none.
  public func record(
    _ kind: Event.Kind, _ name: @autoclosure () -> String, from begin: UInt64, to end: UInt64 = MonotonicClock.nanoseconds,
    place: Place? = nil, bytes: Int? = nil
  ) {
    guard begin >= start.load(ordering: .relaxed) else { return }
    let event = Event(kind: kind, name: name(), begin: begin, end: end, step: step.load(ordering: .relaxed), place: place, bytes: bytes)
    state.withLock {
      if $0.events.count < Self.capacity { $0.events.append(event) } else { $0.dropped += 1 }
    }
  }

  /// Runs `body` and records it as a span.
  public static func span<R, E: Error>(_ trace: Trace?, _ track: Track, _ name: String, _ body: () throws(E) -> R) throws(E) -> R {
    guard let trace, trace.isRecording else { return try body() }
    let begin = MonotonicClock.nanoseconds
    defer { trace.record(.span(track), name, from: begin) }
    return try body()
  }
}
