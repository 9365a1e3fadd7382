import Foundation
import Testing
import Training

@Suite struct MetricsTests {
  private func log(_ path: String, _ events: [MetricsEvent]) throws {
    var log = try MetricsLog(path: path)
    for event in events { try log.append(event) }
  }

  private func read(_ path: String) throws -> (events: [MetricsEvent], tornBytes: Int) {
    var reader = try MetricsReader(path: path)
    return (try reader.remaining(), reader.tornBytes)
  }

  private func step(_ step: Int, loss: Double = 1.5) -> MetricsEvent {
    MetricsEvent("step", [JSONField("step", .integer(step)), JSONField("loss", .double(loss))])
  }

  @Test func linesAreExact() throws {
    let scratch = try CheckpointScratch()
    let path = scratch.file("metrics.jsonl")
    try log(
      path,
      [
        MetricsEvent(
          "start",
          [
            JSONField("version", .string("0.1 \"é\" \\ \n\u{1}\u{1F}")), JSONField("seed", .integer(UInt64.max)), JSONField("small", .integer(UInt64(7))),
            JSONField("hosts", .array([.string("a"), .string("b")])), JSONField("blas", .object([JSONField("threads", .integer(-1))])),
            JSONField("ok", .boolean(true)), JSONField("none", .null), JSONField("empty", .array([])),
          ]),
        MetricsEvent(
          "step",
          [0.1, 1, -0.0, 1e-7, .leastNonzeroMagnitude, .greatestFiniteMagnitude, .nan, .infinity].enumerated().map { JSONField("d\($0)", .double($1)) }),
        MetricsEvent("end"),
      ])
    let expected = #"""
      {"event":"start","version":"0.1 \"é\" \\ \n\u0001\u001f","seed":18446744073709551615,"small":7,"hosts":["a","b"],"blas":{"threads":-1},"ok":true,"none":null,"empty":[]}
      {"event":"step","d0":0.1,"d1":1.0,"d2":-0.0,"d3":1e-07,"d4":5e-324,"d5":1.7976931348623157e+308,"d6":null,"d7":null}
      {"event":"end"}

      """#
    #expect(try String(decoding: bytes(ofFile: path), as: UTF8.self) == expected)
    let events = try read(path).events
    #expect(events.map(\.kind) == ["start", "step", "end"])
    #expect(events[0]["seed"] == .unsigned(.max) && events[0]["small"] == .integer(7) && events[0]["none"] == .null)
    #expect(events[0]["version"]?.string == "0.1 \"é\" \\ \n\u{1}\u{1F}" && events[0]["hosts"] == .array([.string("a"), .string("b")]))
    #expect(events[1]["d2"]?.number?.sign == .minus && events[1]["d6"] == .null && events[1]["other"] == nil)
  }

  @Test func doublesReadBackBitForBit() throws {
    let scratch = try CheckpointScratch()
    let path = scratch.file("metrics.jsonl")
    var random = CheckpointTestRandom(state: 9)
    let doubles = (0..<5000).map { _ in Double(bitPattern: random.next()) }.filter(\.isFinite)
    #expect(doubles.count > 4900)
    try log(path, doubles.enumerated().map { step($0, loss: $1) })
    let (events, torn) = try read(path)
    #expect(torn == 0 && events.map { $0["loss"]?.number?.bitPattern } == doubles.map(\.bitPattern))
    #expect(events.compactMap { $0["step"]?.integer } == Array(doubles.indices))
  }

  @Test func linesAreThereAsSoonAsTheyAreAppended() throws {
    let scratch = try CheckpointScratch()
    let path = scratch.file("metrics.jsonl")
    var log = try MetricsLog(path: path)
    var reader = try MetricsReader(path: path)
    #expect(try reader.next() == nil)
    for number in 1...3 {
      try log.append(step(number))
      #expect(try reader.next() == step(number))
      #expect(try reader.next() == nil)
    }
  }

  @Test func aTornLastLineIsCutWhenTheRunGoesOn() throws {
    let scratch = try CheckpointScratch()
    let path = scratch.file("metrics.jsonl")
    try log(path, [step(1), step(2)])
    let whole = try bytes(ofFile: path)
    let firstLine = try #require(whole.firstIndex(of: UInt8(ascii: "\n"))) + 1
    for length in 0..<whole.count {
      try write(Array(whole[..<length]), toFile: path)
      let kept = length < firstLine ? 0 : firstLine
      let before = try read(path)
      #expect(before.events == (kept == 0 ? [] : [step(1)]) && before.tornBytes == length - kept, "\(length) bytes")
      var log = try MetricsLog(path: path)
      #expect(log.tornBytes == length - kept)
      try log.append(step(3))
      let after = try read(path)
      #expect(after.events == before.events + [step(3)] && after.tornBytes == 0)
    }
    // A long torn line, past the pieces in which the end is looked for.
    try write(whole + [UInt8](repeating: UInt8(ascii: "x"), count: 200_000), toFile: path)
    let log = try MetricsLog(path: path)
    #expect(log.tornBytes == 200_000)
    #expect(try bytes(ofFile: path) == whole)
  }

  @Test func brokenLinesAreNamed() throws {
    let scratch = try CheckpointScratch()
    let path = scratch.file("metrics.jsonl")
    for bad in [
      "", "{", "[]", "1", "{\"step\":1}", "{\"event\":1}", "{\"event\":\"a\",\"event\":\"b\"}", "{\"event\":\"a\",\"x\":1,\"x\":1}",
      "{\"event\":\"a\"} x", "{\"event\":\"a\",\"x\":NaN}", "{\"event\":\"a\",\"x\":1e999}", "{\"event\":\"a\",\"x\":01}", "{\"event\":\"a\",\"x\":1.}",
      "{\"event\":\"a\",\"x\":+1}", "{\"event\":\"a\",}", "{\"event\":\"\\x\"}", "{\"event\":\"\\udc00\"}", String(repeating: "[", count: 100_000),
    ] {
      try write(Array("{\"event\":\"a\"}\n\(bad)\n{\"event\":\"b\"}\n".utf8), toFile: path)
      var reader = try MetricsReader(path: path)
      #expect(try reader.next()?.kind == "a")
      do {
        _ = try reader.next()
        Issue.record("\(bad.prefix(40)) was read")
      } catch {
        #expect(error.line == 2 && error.file == path && !error.isInputOutput)
        #expect(error.description.hasPrefix("\(path), line 2: "))
      }
    }
    try write(Array("{\"event\":\"".utf8) + [0xFF] + Array("\"}\n".utf8), toFile: path)
    #expect(throws: MetricsError.self) { try read(path) }
  }

  @Test func escapesAndWhiteSpaceOfOtherWritersAreRead() throws {
    let scratch = try CheckpointScratch()
    let path = scratch.file("metrics.jsonl")
    try write(Array(#" { "x" : 1e2 , "event" : "\u0061\ud83d\ude42\/\b\f\r\t" } "#.utf8) + [10], toFile: path)
    let event = try #require(try read(path).events.first)
    #expect(event.kind == "a🙂/\u{8}\u{C}\r\t" && event["x"] == .double(100))
  }

  @Test func aLineWithoutEndDoesNotFillTheMemory() throws {
    let scratch = try CheckpointScratch()
    let path = scratch.file("metrics.jsonl")
    try write([UInt8](repeating: UInt8(ascii: "x"), count: MetricsReader.maximumLineBytes + 200_000), toFile: path)
    do {
      _ = try read(path)
      Issue.record("the line was read")
    } catch let error as MetricsError {
      #expect(error.problem == .lineTooLong(allowed: MetricsReader.maximumLineBytes) && error.line == 1)
    }
  }

  /// What a link leads to belongs to somebody else, and a device or a pipe has no lines that could be cut off.
  @Test func onlyRegularFiles() throws {
    let scratch = try CheckpointScratch()
    try write(Array("precious\nwithout an end".utf8), toFile: scratch.file("other"))
    unsafe symlink(scratch.file("other"), scratch.file("link"))
    unsafe symlink(scratch.file("nowhere"), scratch.file("dangling"))
    unsafe mkfifo(scratch.file("pipe"), 0o600)
    for (path, words) in [
      (scratch.file("link"), "it is a symbolic link"), (scratch.file("dangling"), "it is a symbolic link"),
      (scratch.file("pipe"), "it is a pipe"), ("/dev/full", "it is a device"),
    ] {
      do {
        _ = try MetricsLog(path: path)
        Issue.record("\(path) was opened")
      } catch {
        #expect(!error.isInputOutput && error.description == "cannot open \(path): \(words), and not a regular file")
      }
    }
    #expect(try String(contentsOfFile: scratch.file("other"), encoding: .utf8) == "precious\nwithout an end")
    #expect(!FileManager.default.fileExists(atPath: scratch.file("nowhere")))
  }

  @Test func aFullDiskLeavesWholeLines() throws {
    let disk = try CheckpointSmallDisk(kilobytes: 16)
    let path = "\(disk.path)/metrics.jsonl"
    var log = try MetricsLog(path: path)
    var written = 0
    do {
      while written < 10_000 {
        try log.append(step(written))
        written += 1
      }
      Issue.record("the disk never became full")
    } catch {
      #expect(error.isInputOutput && error.description.contains("No space left on device"))
    }
    #expect(written > 100)
    let (events, torn) = try read(path)
    #expect(torn == 0 && events == (0..<written).map { step($0) })
  }

  @Test func missingAndRefusedFiles() throws {
    let scratch = try CheckpointScratch()
    do {
      _ = try MetricsReader(path: scratch.file("none"))
      Issue.record("a missing file was opened")
    } catch { #expect(!error.isInputOutput && error.description.contains("No such file")) }
    do {
      _ = try MetricsLog(path: scratch.file("none"), system: FileSystem { _, _ in EROFS })
      Issue.record("a refused file was opened")
    } catch { #expect(error.isInputOutput) }
  }
}
