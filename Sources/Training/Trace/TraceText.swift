import Tensors

/// Chrome's trace event format: a JSON object whose `traceEvents` has one object for each event, times in microseconds.
package enum TraceText {
  /// Everything before the events.
  package static func header(_ fields: [JSONField]) -> [UInt8] {
    Array(#"{"displayTimeUnit":"ms","otherData":\#(JSONValue.object(fields).text),"traceEvents":["#.utf8) + [UInt8(ascii: "\n")]
  }

  /// Everything after the events.
  package static var footer: [UInt8] { Array("\n]}\n".utf8) }

  /// The events of a rank, which becomes a process of the trace, separated by commas.
  /// - origin: what is 0 in the trace, in nanoseconds of rank 0's clock.
  package static func events(_ events: [Trace.Event], rank: Int, host: String, clock: AlignedClock, origin: Int64) -> [UInt8] {
    var lines = [
      line("process_name", "M", rank: rank, arguments: [JSONField("name", .string("rank \(rank) on \(host)"))]),
      line("process_sort_index", "M", rank: rank, arguments: [JSONField("sort_index", .integer(rank))]),
    ]
    for track in Trace.Track.allCases {
      lines.append(line("thread_name", "M", rank: rank, track: track, arguments: [JSONField("name", .string(track.name))]))
      lines.append(line("thread_sort_index", "M", rank: rank, track: track, arguments: [JSONField("sort_index", .integer(track.rawValue))]))
    }
    // An event that contains others comes before them.
    let sorted = events.sorted { $0.begin != $1.begin ? $0.begin < $1.begin : $0.end > $1.end }
    for (number, event) in sorted.enumerated() {
      let begin = clock.aligned(event.begin) - origin, end = clock.aligned(event.end) - origin
      var arguments = event.step > 0 ? [JSONField("step", .integer(event.step))] : []
      if let place = event.place { arguments += [JSONField("part", .string(place.part)), JSONField("pass", .string(place.pass))] }
      if let bytes = event.bytes { arguments.append(JSONField("bytes", .integer(bytes))) }
      switch event.kind {
      case .span(let track):
        lines.append(
          line(event.name, "X", rank: rank, track: track, category: "work", at: begin, duration: max(0, end - begin), arguments: arguments))
      case .message:
        // Messages overlap, which slices of one thread cannot.
        let id = "rank \(rank), event \(number)"
        lines.append(line(event.name, "b", rank: rank, category: "message", id: id, at: begin, arguments: arguments))
        lines.append(line(event.name, "e", rank: rank, category: "message", id: id, at: max(begin, end)))
      }
    }
    return Array(lines.joined(separator: ",\n").utf8)
  }

  private static func line(
    _ name: String, _ phase: String, rank: Int, track: Trace.Track = .training, category: String? = nil, id: String? = nil, at time: Int64? = nil,
    duration: Int64? = nil, arguments: [JSONField] = []
  ) -> String {
    var text = "{\"name\":\(JSONValue.string(name).text),\"ph\":\"\(phase)\",\"pid\":\(rank),\"tid\":\(track.rawValue)"
    if let category { text += ",\"cat\":\"\(category)\"" }
    if let id { text += ",\"id\":\"\(id)\"" }
    if let time { text += ",\"ts\":\(microseconds(time))" }
    if let duration { text += ",\"dur\":\(microseconds(duration))" }
    if !arguments.isEmpty { text += ",\"args\":\(JSONValue.object(arguments).text)" }
    return text + "}"
  }

  /// Nanoseconds as microseconds, exactly.
  package static func microseconds(_ nanoseconds: Int64) -> String {
    let whole = abs(nanoseconds), rest = String(whole % 1000)
    return "\(nanoseconds < 0 ? "-" : "")\(whole / 1000).\(String(repeating: "0", count: 3 - rest.count))\(rest)"
  }
}
