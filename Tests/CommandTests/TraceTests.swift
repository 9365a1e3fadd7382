import Foundation
import Testing

extension CommandTests {
  /// `benchmark --trace` and `train --trace-steps`.
  @Suite struct Traces {
    /// A slice of a track, in nanoseconds.
    struct Slice {
      var name: String
      var begin, end: Int
      var arguments: [String: Any]
    }

    /// What a trace holds, read as viewers read it.
    struct Content {
      var slices: [[Int]: [Slice]] = [:]
      /// Begin and end of each message, by rank.
      var messages: [Int: [(name: String, begin: Int, end: Int)]] = [:]
      var ranks: Set<Int> = []
      var names: [String] = []
      var other: [String: Any] = [:]
    }

    /// Reads a trace, and expects what viewers want of it: slices of a track lie apart or within each other, and each message that begins ends.
    private func read(_ sandbox: Sandbox, _ name: String) throws -> Content {
      let object = try JSONSerialization.jsonObject(with: sandbox.data(name)) as? [String: Any]
      let trace = try #require(object), events = try #require(trace["traceEvents"] as? [[String: Any]])
      var content = Content(), open: [String: (name: String, begin: Int)] = [:]
      content.other = try #require(trace["otherData"] as? [String: Any])
      func nanoseconds(_ value: Any?) throws -> Int { Int((try #require(value as? Double) * 1000).rounded()) }
      for event in events {
        let name = try #require(event["name"] as? String), rank = try #require(event["pid"] as? Int), track = try #require(event["tid"] as? Int)
        content.ranks.insert(rank)
        let arguments = event["args"] as? [String: Any] ?? [:]
        switch event["ph"] as? String {
        case "M": content.names.append("\(name) \(rank) \(arguments["name"] ?? "")")
        case "X":
          let begin = try nanoseconds(event["ts"]), duration = try nanoseconds(event["dur"])
          #expect(begin >= 0 && duration >= 0)
          content.slices[[rank, track], default: []].append(Slice(name: name, begin: begin, end: begin + duration, arguments: arguments))
        case "b": open["\(rank) \(event["cat"] ?? "") \(event["id"] ?? "")"] = (name, try nanoseconds(event["ts"]))
        case "e":
          let key = "\(rank) \(event["cat"] ?? "") \(event["id"] ?? "")", begun = try #require(open[key]), end = try nanoseconds(event["ts"])
          open[key] = nil
          #expect(begun.name == name && begun.begin <= end)
          content.messages[rank, default: []].append((name, begun.begin, end))
        default: Issue.record("an event of another kind: \(event)")
        }
      }
      #expect(open.isEmpty)
      for slices in content.slices.values {
        var ends: [Int] = []
        for slice in slices {
          while let end = ends.last, end <= slice.begin { ends.removeLast() }
          if let end = ends.last { #expect(slice.end <= end, "\(slice) reaches beyond what it lies in") }
          ends.append(slice.end)
        }
      }
      return content
    }

    /// Every rank shows every update with its phases, by layer and pass; the trace of a run changes no bit of it.
    @Test func updatesOfARun() throws {
      let sandbox = try Sandbox(), settings = ["normalization.scope=global"]
      let plain = try sandbox.run(ranks: 2, sandbox.training("plain", settings))
      let traced = try sandbox.run(ranks: 2, sandbox.training("traced", settings) + ["--trace-steps", "4:6"])
      #expect(plain.exitCode == 0 && traced.exitCode == 0, "\(traced)")
      #expect(traced.output.contains("The trace of updates 4 to 6 lies in \(sandbox("traced"))/trace-4-6.json"), "\(traced)")
      #expect(try sandbox.numbers("plain") == sandbox.numbers("traced"))
      #expect(try sandbox.names(in: "traced").filter { $0.hasPrefix("trace") } == ["trace-4-6.json"])
      let trace = try read(sandbox, "traced/trace-4-6.json")
      #expect(trace.ranks == [0, 1] && trace.other["first_step"] as? Int == 4 && trace.other["last_step"] as? Int == 6)
      for rank in 0..<2 {
        let slices = try #require(trace.slices[[rank, 0]])
        #expect(slices.filter { $0.name == "update" }.compactMap { $0.arguments["step"] as? Int } == [4, 5, 6])
        for (name, pass) in [("recurrence", "forward"), ("recurrence", "backward"), ("input_product", "forward"), ("weight_gradients", "backward"), ("normalization", "forward")] {
          for layer in 0..<2 {
            let found = slices.contains { $0.name == name && $0.arguments["part"] as? String == "lstm.\(layer).forward" && $0.arguments["pass"] as? String == pass }
            #expect(found, "\(name) of layer \(layer), \(pass), on rank \(rank)")
          }
        }
        #expect(slices.contains { $0.name == "softmax" && $0.arguments["part"] as? String == "output" })
        for name in ["statistics_exchange", "gradient_exchange", "optimizer"] { #expect(slices.contains { $0.name == name }, "\(name)") }
        // Updates begin on all ranks before any has ended them: all wait for one sum.
        let updates = [0, 1].compactMap { rank in trace.slices[[rank, 0]]?.filter { $0.name == "update" } }
        for (mine, other) in zip(updates[0], updates[1]) { #expect(mine.begin < other.end && other.begin < mine.end) }
      }
    }

    /// Messages lie within the updates, from start to completion, and ranks that wait for others say so.
    @Test func messages() throws {
      let sandbox = try Sandbox()
      let outcome = try sandbox.run(
        ranks: 2, sandbox.training("run", ["communication.reproducible=false"]) + ["--trace-steps", "2:3"],
        environment: ["env", "OMPI_MCA_btl=tcp,self"])
      #expect(outcome.exitCode == 0, "\(outcome)")
      let trace = try read(sandbox, "run/trace-2-3.json")
      for rank in 0..<2 {
        let slices = try #require(trace.slices[[rank, 0]])
        let updates = slices.filter { $0.name == "update" }
        for message in trace.messages[rank] ?? [] { #expect(message.begin >= updates[0].begin && message.end <= updates[1].end) }
        #expect(slices.contains { $0.name.hasPrefix("MPI_") || $0.name == "wait" }, "rank \(rank) waits for nobody")
      }
    }

    /// Utterances are read on a thread of their own, and a checkpoint is written on another.
    @Test func otherThreads() throws {
      let sandbox = try Sandbox()
      try sandbox.writeSpeech()
      let outcome = try sandbox.run(sandbox.speechTraining("run", ["training.maximum_steps=12", "checkpoint.every_steps=3"], ["--trace-steps", "1:12"]))
      #expect(outcome.exitCode == 0, "\(outcome)")
      let trace = try read(sandbox, "run/trace-1-12.json")
      #expect(trace.slices[[0, 1]]?.contains { $0.name == "read minibatch" } == true)
      #expect(trace.slices[[0, 2]]?.contains { $0.name == "write checkpoint" } == true)
      #expect(trace.names.contains { $0.hasPrefix("process_name 0 rank 0 on ") } && trace.names.contains("thread_name 0 reading ahead"))
    }

    /// A run that ends before the last update writes what there was; one that never comes to the first says so.
    @Test func endsEarly() throws {
      let sandbox = try Sandbox()
      let short = try sandbox.run(sandbox.training("short", []) + ["--trace-steps", "10:99"])
      #expect(short.exitCode == 0 && short.output.contains("The trace of updates 10 to 12 lies in \(sandbox("short"))/trace-10-99.json"), "\(short)")
      #expect(try read(sandbox, "short/trace-10-99.json").slices[[0, 0]]?.filter { $0.name == "update" }.count == 3)
      let late = try sandbox.run(sandbox.training("late", []) + ["--trace-steps", "50:60"])
      #expect(late.exitCode == 0 && late.warnings.contains { $0.contains("no update from 50 to 60 was done") }, "\(late)")
      #expect(try !sandbox.names(in: "late").contains { $0.hasPrefix("trace") })
    }

    /// A directory at the trace's place: a run goes on without one, a benchmark is refused before it measures.
    @Test func wherePathsAreTaken() throws {
      let sandbox = try Sandbox()
      let run = try sandbox.run(sandbox.training("run", ["training.maximum_steps=3"]))
      #expect(run.exitCode == 0)
      try FileManager.default.createDirectory(atPath: sandbox("run/trace-5-5.json/x"), withIntermediateDirectories: true)
      let resumed = try sandbox.run(ranks: 2, sandbox.training("run", ["training.maximum_steps=6"]) + ["--resume", "--trace-steps", "5:5"])
      #expect(resumed.exitCode == 0 && resumed.warnings.contains { $0.contains("no trace is written") }, "\(resumed)")
      #expect(try !sandbox.names(in: "run").contains { $0.hasSuffix(".partial") })
      for path in ["run", "missing/trace.json"] {
        let refused = try sandbox.run(ranks: 2, ["benchmark", "tiny.yaml", "--steps", "2", "--trace", path])
        #expect(refused.exitCode == 74 && refused.errorMessages.count == 1 && refused.errors.contains(path), "\(refused)")
      }
    }

    @Test(arguments: ["3", "0:4", "5:4", "a:b", "1:2:3", "1:"]) func stepsThatAreNone(_ steps: String) throws {
      let sandbox = try Sandbox(), refused = try sandbox.run(sandbox.training("run", []) + ["--trace-steps", steps])
      #expect(refused.exitCode == 64 && refused.errorMessages.count == 1 && refused.errors.contains("10:20") && !sandbox.exists("run"), "\(refused)")
    }

    /// The timed steps of a benchmark; with a clock of its own on one rank, which is brought into line with the other's.
    @Test func alignedClocks() throws {
      let sandbox = try Sandbox(), program = try Sandbox.program()
      let isAllowed = try RunningCommand(["unshare", "--time", "--monotonic", "1000", "true"], in: sandbox.path, files: (sandbox("o"), sandbox("e"))).wait().exitCode == 0
      let command = [program, "benchmark", "tiny.yaml", "--steps", "6", "--trace", "trace.json"]
      let other = (isAllowed ? ["unshare", "--time", "--monotonic", "100000"] : []) + command
      let outcome = try RunningCommand(
        ["mpirun", "--oversubscribe", "--bind-to", "none", "--timeout", "60", "-n", "1"] + command + [":", "-n", "1"] + other, in: sandbox.path,
        files: (sandbox("output"), sandbox("errors"))
      ).wait()
      #expect(outcome.exitCode == 0 && outcome.output.contains("The trace of updates 3 to 8 lies in trace.json"), "\(outcome)")
      let trace = try read(sandbox, "trace.json"), error = try #require(trace.other["clock_error_us"] as? Double)
      #expect(isAllowed ? error > 0 : error == 0)
      let updates = [0, 1].compactMap { rank in trace.slices[[rank, 0]]?.filter { $0.name == "update" } }
      #expect(updates.map(\.count) == [6, 6])
      for (mine, other) in zip(updates[0], updates[1]) {
        let allowed = Int(error * 1000) + 1
        #expect(mine.begin < other.end + allowed && other.begin < mine.end + allowed)
      }
    }
  }
}
