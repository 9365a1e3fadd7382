import Foundation
import Tensors
import Testing

import Training

@Suite struct TraceTests {
  /// A clock that runs faster by a thousandth and was 5 µs behind at first.
  @Test func alignment() {
    let first = ClockComparison(moment: 1_000_000, offset: 5000), last = ClockComparison(moment: 2_000_000, offset: 4000)
    let clock = AlignedClock(first: first, last: last)
    #expect(clock.aligned(1_000_000) == 1_005_000 && clock.aligned(2_000_000) == 2_004_000 && clock.aligned(1_500_000) == 1_504_500)
    #expect(AlignedClock(first: first, last: first).aligned(7) == 5007)
  }

  @Test(arguments: [(0, "0.000"), (7, "0.007"), (1_234_567, "1234.567"), (-1500, "-1.500"), (1000, "1.000")])
  func microseconds(_ nanoseconds: Int, _ text: String) { #expect(TraceText.microseconds(Int64(nanoseconds)) == text) }

  /// Only what begins within a recording is recorded, and a second one begins empty.
  @Test func recordings() {
    let trace = Trace(), early = MonotonicClock.nanoseconds
    trace.record(.message, "before", from: early)
    trace.begin()
    #expect(trace.isRecording)
    trace.beginStep(3)
    trace.record(.span(.training), "began before", from: early)
    trace.record(.span(.training), "within", from: MonotonicClock.nanoseconds, place: Trace.Place("output", pass: "forward"))
    #expect(Trace.span(trace, .reading, "body") { 5 } == 5)
    let (events, dropped) = trace.end()
    #expect(events.map(\.name) == ["within", "body"] && events.map(\.step) == [3, 3] && dropped == 0 && !trace.isRecording)
    #expect(events[0].place?.part == "output" && events[1].kind == .span(.reading))
    trace.record(.message, "after", from: MonotonicClock.nanoseconds)
    trace.begin()
    #expect(trace.end().events.isEmpty)
  }

  /// No more events are kept than there is room for, and the others are counted.
  @Test func capacity() {
    let trace = Trace()
    trace.begin()
    for _ in 0..<Trace.capacity + 5 { trace.record(.message, "m", from: .max - 1, to: .max) }
    let (events, dropped) = trace.end()
    #expect(events.count == Trace.capacity && dropped == 5)
  }

  /// What contains others comes first, and names are JSON whatever they are.
  @Test func text() throws {
    let clock = AlignedClock(first: ClockComparison(moment: 0, offset: 0), last: ClockComparison(moment: 0, offset: 0))
    let events = [
      Trace.Event(kind: .span(.training), name: "inner \"1\"", begin: 100, end: 200, step: 1),
      Trace.Event(kind: .span(.training), name: "outer", begin: 100, end: 900, step: 1),
      Trace.Event(kind: .message, name: "MPI", begin: 150, end: 1150, step: 1, bytes: 12),
    ]
    let bytes = TraceText.header([JSONField("ranks", .integer(1))]) + TraceText.events(events, rank: 2, host: "a\"b", clock: clock, origin: 50) + TraceText.footer
    let object = try #require(JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any])
    let lines = try #require(object["traceEvents"] as? [[String: Any]]).filter { $0["ph"] as? String != "M" }
    #expect(lines.compactMap { $0["name"] as? String } == ["outer", "inner \"1\"", "MPI", "MPI"])
    #expect(lines.compactMap { $0["ts"] as? Double } == [0.05, 0.05, 0.1, 1.1] && lines.allSatisfy { $0["pid"] as? Int == 2 })
  }
}
