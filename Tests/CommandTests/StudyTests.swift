import Foundation
import Testing

extension CommandTests {
  /// `lockstep study`: every point of a study, with every seed.
  @Suite struct Studying {
    private static let header =
      "point,seed,state,best_validation_loss,best_step,last_validation_loss,test_loss,last_training_loss,steps,seconds,step_seconds_median,ranks"

    private func study(_ sandbox: Sandbox, _ yaml: String, name: String = "study.yaml") throws {
      try sandbox.write(name, yaml)
    }

    private func start(_ sandbox: Sandbox, _ options: [String] = [], timeout: Int = 100) throws -> RunningCommand {
      try sandbox.start(ranks: 1, ["study", "study.yaml", "--mpirun-options=--oversubscribe --timeout 60"] + options, timeout: timeout)
    }

    private func run(_ sandbox: Sandbox, _ options: [String] = []) throws -> Outcome { try start(sandbox, options).wait() }

    /// The rows of the results, each a dictionary, without the columns that say times where those are not wanted.
    private func results(_ sandbox: Sandbox, _ name: String = "tiny", withTimes: Bool = false) throws -> [[String: String]] {
      var lines = try sandbox.text("Runs/\(name)/results.csv").split(separator: "\n").map(String.init)
      #expect(lines.removeFirst() == Self.header)
      return lines.map { line in
        // The only cells with commas are names of points, in quotes.
        var cells: [String] = [], rest = line[...]
        if rest.first == "\"" {
          let end = rest.dropFirst().firstIndex(of: "\"")!
          cells.append(String(rest[rest.index(after: rest.startIndex)..<end]))
          rest = rest[rest.index(end, offsetBy: 2)...]
        }
        cells += rest.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        var row = Dictionary(uniqueKeysWithValues: zip(Self.header.split(separator: ",").map(String.init), cells))
        #expect(cells.count == 12, "\(line)")
        if !withTimes { for column in ["seconds", "step_seconds_median"] { row[column] = nil } }
        return row
      }
    }

    /// Every study of the repository is one, and its baseline is one of its points.
    @Test func studiesOfTheRepository() throws {
      let sandbox = try Sandbox()
      let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
      try FileManager.default.createSymbolicLink(atPath: sandbox("Configs"), withDestinationPath: root.appending(path: "Configs").path)
      let names = try sandbox.names(in: "Configs/studies").filter { $0.hasSuffix(".yaml") }
      #expect(names.count >= 8)
      for name in names {
        let outcome = try sandbox.run(["study", "Configs/studies/\(name)", "--status"])
        #expect(outcome.exitCode == 0 && outcome.output.contains(" waiting."), "\(outcome)")
        #expect(try sandbox.text("Configs/studies/\(name)").contains("\nname: \(name.dropLast(5))\n"), "\(name)")
      }
    }

    private static let grid = """
      name: tiny
      base: tiny.yaml
      set: {training.maximum_steps: 8}
      axes:
        placement:
          plain: {normalization.placement: none}
          input: {normalization.placement: input}
        rate:
          slow: {optimizer.learning_rate: 0.1}
          fast: {optimizer: {learning_rate: 1, decay: {factor: 2, after: 1}}}
      leave_out: ["plain,fast"]
      seeds: [1, 7]
      baseline: plain,slow

      """

    /// Every run is what `train` makes of the same keys, and the table says what its metrics say.
    @Test func trainsEveryPoint() throws {
      let sandbox = try Sandbox()
      try study(sandbox, Self.grid)
      let outcome = try run(sandbox, ["-n", "2"])
      #expect(outcome.exitCode == 0 && outcome.errorMessages.isEmpty, "\(outcome)")
      #expect(outcome.output.contains("6 of 6 runs of the study tiny are done"), "\(outcome)")
      let rows = try results(sandbox, withTimes: true)
      // All points with the first seed come first.
      #expect(rows.map { "\($0["point"]!) \($0["seed"]!)" } == [
        "plain,slow 1", "input,slow 1", "input,fast 1", "plain,slow 7", "input,slow 7", "input,fast 7",
      ])
      for row in rows {
        #expect(row["state"] == "done" && row["steps"] == "8" && row["ranks"] == "2" && row["best_step"] == "8", "\(row)")
        #expect(Double(row["seconds"]!)! > 0 && Double(row["step_seconds_median"]!)! > 0, "\(row)")
      }
      try sandbox.train(
        "alone", ranks: 2,
        ["training.maximum_steps=8", "normalization.placement=input", "optimizer.learning_rate=1", "optimizer.decay={factor: 2, after: 1}", "training.seed=7"])
      let model = "checkpoints/latest/model.safetensors"
      #expect(try sandbox.data("alone/\(model)") == sandbox.data("Runs/tiny/input,fast/seed-7/\(model)"))
      let events = try sandbox.text("alone/metrics.jsonl").split(separator: "\n").map { try JSONSerialization.jsonObject(with: Data($0.utf8)) as! [String: Any] }
      func number(_ kind: String, _ key: String) -> [Double] { events.filter { $0["event"] as? String == kind }.map { $0[key] as! Double } }
      let last = try #require(rows.last)
      #expect(Double(last["best_validation_loss"]!) == number("validation", "loss").last)
      #expect(Double(last["last_validation_loss"]!) == number("validation", "loss").last)
      #expect(Double(last["test_loss"]!) == number("test", "loss").last)
      #expect(abs(Double(last["last_training_loss"]!)! - number("step", "loss").reduce(0, +) / 8) < 1e-12)

      // What is done is not done again.
      let before = try sandbox.text("Runs/tiny/results.csv")
      let again = try run(sandbox, ["-n", "2"])
      #expect(again.exitCode == 0 && !again.output.contains("Begins"), "\(again)")
      #expect(try sandbox.text("Runs/tiny/results.csv") == before)
      let status = try run(sandbox, ["--status", "--only", "input,*"])
      #expect(status.exitCode == 0 && status.output.contains("4 runs of the study tiny: 4 done."), "\(status)")
    }

    /// A study that has become longer goes on with runs that were done.
    @Test func goesOnWhereTheStudyHasChanged() throws {
      let sandbox = try Sandbox()
      let yaml = "name: tiny\nbase: tiny.yaml\nset: {training.maximum_steps: 5}\nseeds: [3]\n"
      try study(sandbox, yaml)
      #expect(try run(sandbox).exitCode == 0)
      try study(sandbox, yaml.replacingOccurrences(of: "5", with: "9"))
      let outcome = try run(sandbox)
      #expect(outcome.exitCode == 0 && outcome.output.contains("Goes on with run 1 of 1, base/seed-3"), "\(outcome)")
      #expect(try results(sandbox).map { $0["steps"] } == ["9"])
      // Another model is another run.
      try study(sandbox, yaml.replacingOccurrences(of: "5}", with: "9, model.hidden_size: 9}"))
      for options in [[], ["--dry-run"]] {
        let other = try run(sandbox, options)
        #expect(other.exitCode == 64, "\(other)")
        #expect((other.output + other.errors).contains("it was trained with model.hidden_size 8, and is to have 9: give the point another name"), "\(other)")
      }
      // So is another rate, and a shorter one.
      for (change, words) in [("9, optimizer.learning_rate: 0.5", "optimizer.learning_rate 1, and is to have 0.5"), ("4", "for 9 steps, 1 epoch, which is more")] {
        try study(sandbox, yaml.replacingOccurrences(of: "5}", with: "\(change)}"))
        let other = try run(sandbox)
        #expect(other.exitCode == 64 && other.errors.contains(words), "\(other)")
        #expect(try results(sandbox).map { $0["state"] } == ["failed"])
      }
      // What changes no result does not matter.
      try study(sandbox, yaml.replacingOccurrences(of: "5}", with: "9, checkpoint.keep: 1}"))
      let same = try run(sandbox)
      #expect(same.exitCode == 0 && !same.output.contains("run 1 of 1,"), "\(same)")
      #expect(try results(sandbox).map { $0["state"] } == ["done"])
    }

    /// A directory that is in the way of one run does not stop the others.
    @Test(arguments: ["log.txt", "claim", "metrics.jsonl", ""]) func damagedRunDirectories(_ name: String) throws {
      let sandbox = try Sandbox()
      try study(sandbox, "name: tiny\nbase: tiny.yaml\nset: {training.maximum_steps: 4}\naxes: {a: {bad: {}, good: {}}}\n")
      let manager = FileManager.default
      if name.isEmpty {
        try manager.createDirectory(atPath: sandbox("Runs/tiny"), withIntermediateDirectories: true)
        try sandbox.write("Runs/tiny/bad", "")
      } else {
        try manager.createDirectory(atPath: sandbox("Runs/tiny/bad/seed-1/\(name)"), withIntermediateDirectories: true)
      }
      let outcome = try run(sandbox)
      #expect([65, 74].contains(outcome.exitCode) && outcome.errorMessages.count == 1, "\(outcome)")
      #expect(outcome.output.contains("1 of 2 runs") && outcome.output.contains("Failed: bad/seed-1 ended with code "), "\(outcome)")
      #expect(try run(sandbox, ["--status"]).output.contains("1 done"))
    }

    /// Numbers that no run can have, as damage makes them, cost nothing but themselves.
    @Test func damagedMetrics() throws {
      let sandbox = try Sandbox()
      try study(sandbox, "name: tiny\nbase: tiny.yaml\nset: {training.maximum_steps: 4}\n")
      #expect(try run(sandbox).exitCode == 0)
      let metrics = "Runs/tiny/base/seed-1/metrics.jsonl"
      try sandbox.write(metrics, sandbox.text(metrics) + """
        {"event":"step","step":-9223372036854775808,"epoch":1,"loss":1,"seconds":1}
        {"event":"step","step":9223372036854775807,"epoch":9223372036854775807,"loss":1,"seconds":1}
        {"event":"validation","step":4,"epoch":1,"loss":3,"seconds":1e300}
        {"event":

        """)
      for option in ["--status", "--dry-run"] {
        let outcome = try run(sandbox, [option])
        #expect(outcome.exitCode == 0 && outcome.output.contains("done"), "\(outcome)")
      }
      #expect(try run(sandbox).exitCode == 0)
      #expect(try results(sandbox).map { $0["steps"] } == ["4"])
    }

    /// A rank that needs longer than some seconds for its step is waited for.
    @Test func stopsSlowRuns() throws {
      let sandbox = try Sandbox()
      try study(sandbox, "name: tiny\nbase: tiny.yaml\nset: {training.maximum_steps: 1000000, training.epochs: 1000000}\n")
      let fault = "LOCKSTEP_FAULT=sleep@update:rank=0,step=7,seconds=5"
      let running = try sandbox.start(ranks: 1, ["study", "study.yaml"], environment: [fault], timeout: 60)
      try sandbox.waitForSteps(7, of: "Runs/tiny/base/seed-1", running)
      kill(try #require(processes(of: "study", in: sandbox).first), SIGTERM)
      let outcome = try running.wait()
      #expect(outcome.exitCode == 75 && outcome.errorMessages.isEmpty, "\(outcome)")
      #expect(processes(of: "train", in: sandbox).isEmpty && processes(of: "launch", in: sandbox).isEmpty)
      #expect(try sandbox.linkedStep("Runs/tiny/base/seed-1") >= 7)
    }

    /// A point that cannot be trained does not keep the others from it, and is tried again when the study is started again.
    @Test func goesOnAfterAFailure() throws {
      let sandbox = try Sandbox()
      try study(sandbox, """
        name: tiny
        base: tiny.yaml
        set: {training.maximum_steps: 4}
        axes:
          what:
            wild: {optimizer.learning_rate: 1e30, optimizer.clip_norm: 1e30}
            impossible: {model.hidden_size: 0}
            missing: {data.train: no such file.txt}
            good: {model.hidden_size: 4}

        """)
      for time in 1...2 {
        let outcome = try run(sandbox)
        #expect(outcome.exitCode == 65, "\(outcome)")
        #expect(outcome.errorMessages.count == 1 && outcome.errorMessages[0].contains("3 runs of the study failed"), "\(outcome)")
        #expect(outcome.output.contains("1 of 4 runs of the study tiny is done"), "\(outcome)")
        for words in [
          "wild/seed-1 ended with code 65: step ", "impossible/seed-1 ended with code 64: study.yaml:7: model.hidden_size: found 0",
          "missing/seed-1 ended with code 65: no such file.txt",
        ] {
          #expect(outcome.errors.contains(words) && outcome.output.contains("Failed: \(words)"), "no \(words) in \(outcome)")
        }
        #expect(try results(sandbox).map { $0["state"] } == ["failed", "failed", "failed", "done"])
        #expect(outcome.output.contains("good/seed-1") == (time == 1), "\(outcome)")
      }
      let status = try run(sandbox, ["--status"])
      #expect(status.exitCode == 0 && status.output.contains("1 done, 3 failed."), "\(status)")
      try sandbox.write("no such file.txt", sandbox.data("train.txt"))
      let outcome = try run(sandbox, ["--only", "missing"])
      #expect(outcome.exitCode == 0 && outcome.output.contains("1 of 1 run"), "\(outcome)")
      #expect(try results(sandbox).map { $0["state"] } == ["failed", "failed", "done", "done"])
    }

    private static let many = """
      name: tiny
      base: tiny.yaml
      set: {training.maximum_steps: 150, checkpoint.every_steps: 10, evaluation.every_epochs: 5}
      axes:
        width: {w4: {model.hidden_size: 4}, w5: {model.hidden_size: 5}, w6: {model.hidden_size: 6}}
        depth: {d1: {model.layers: 1}, d2: {model.layers: 2}}
      seeds: [1, 2]

      """

    /// A study of 12 runs whose process is killed ten times, mpirun and ranks with it or not, ends with the results of one that is left alone.
    @Test func survivesKills() throws {
      let whole = try Sandbox(), killed = try Sandbox()
      for sandbox in [whole, killed] { try study(sandbox, Self.many) }
      let outcome = try run(whole, ["--jobs", "2"])
      #expect(outcome.exitCode == 0, "\(outcome)")
      for kill in 0..<10 {
        let running = try start(killed, kill % 2 == 0 ? ["--jobs", "2"] : [])
        usleep(UInt32.random(in: 100_000...1_500_000))
        // Every third time a rank too, and the study right after it.
        if kill % 3 == 2, let rank = processes(of: "train", in: killed).last { Glibc.kill(rank, SIGKILL) }
        for process in processes(of: "study", in: killed) { Glibc.kill(process, SIGKILL) }
        _ = try running.wait()
      }
      let last = try run(killed, ["--jobs", "2"])
      #expect(last.exitCode == 0, "\(last)")
      #expect(try results(killed) == results(whole))
    }

    /// The processes of this program that carry out a command in a sandbox.
    private func processes(of command: String, in sandbox: Sandbox) -> [pid_t] {
      let numbers = ((try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []).compactMap { pid_t($0) }
      return numbers.sorted().filter { number in
        func link(_ name: String) -> String? { try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(number)/\(name)") }
        let arguments = (FileManager.default.contents(atPath: "/proc/\(number)/cmdline") ?? Data()).split(separator: 0)
        let isThere = link("cwd").map { URL(fileURLWithPath: $0).lastPathComponent } == URL(fileURLWithPath: sandbox.path).lastPathComponent
        return link("exe") == (try? Sandbox.program()) && isThere && arguments.count > 1 && String(decoding: arguments[1], as: UTF8.self) == command
      }
    }

    /// Two processes share the runs: none is trained twice, and both end when all are done.
    @Test func sharesTheWork() throws {
      let sandbox = try Sandbox()
      try study(sandbox, Self.many)
      let first = try start(sandbox), second = try start(sandbox)
      for outcome in [try first.wait(), try second.wait()] {
        #expect(outcome.exitCode == 0 && outcome.output.contains("12 of 12 runs"), "\(outcome)")
        #expect(outcome.output.contains("Begins run"), "\(outcome)")
      }
      for row in try results(sandbox) {
        #expect(row["state"] == "done" && row["steps"] == "150", "\(row)")
        let metrics = try sandbox.text("Runs/tiny/\(row["point"]!)/seed-\(row["seed"]!)/metrics.jsonl")
        #expect(metrics.components(separatedBy: "\"event\":\"start\"").count == 2)
      }
    }

    /// A signal lets the runs write checkpoints, and the study goes on from them.
    @Test(arguments: [SIGTERM, SIGINT, SIGHUP]) func stopsForSignals(_ signal: Int32) throws {
      let sandbox = try Sandbox()
      try study(sandbox, "name: tiny\nbase: tiny.yaml\nset: {training.maximum_steps: 1000000, training.epochs: 1000000, checkpoint.every_steps: null, evaluation.every_epochs: 100000}\n")
      let running = try start(sandbox)
      try sandbox.waitForSteps(5, of: "Runs/tiny/base/seed-1", running)
      let process = try #require(processes(of: "study", in: sandbox).first)
      kill(process, signal)
      let outcome = try running.wait()
      #expect(outcome.exitCode == 75 && outcome.errorMessages.isEmpty, "\(outcome)")
      #expect(try sandbox.linkedStep("Runs/tiny/base/seed-1") >= 5)
      #expect(try results(sandbox).map { $0["state"] } == ["waiting"])
      try study(sandbox, "name: tiny\nbase: tiny.yaml\nset: {training.maximum_steps: 5, training.epochs: 1000000, checkpoint.every_steps: null, evaluation.every_epochs: 100000}\n")
      #expect(try run(sandbox, ["--status"]).output.contains("1 waiting"))
    }

    @Test func oneRunByItsNumber() throws {
      let sandbox = try Sandbox()
      try study(sandbox, Self.grid)
      let outcome = try run(sandbox, ["--index", "5"])
      #expect(outcome.exitCode == 0 && outcome.output.contains("run 5 of 6, input,slow/seed-7"), "\(outcome)")
      #expect(try results(sandbox).map { $0["state"] } == ["waiting", "waiting", "waiting", "waiting", "done", "waiting"])
      try sandbox.expectFailure(64, ["--index is 7; the study tiny has the runs 1 to 6"], ranks: [1], ["study", "study.yaml", "--index", "7"])
      try sandbox.expectFailure(64, ["--only 'x*': no point", "plain,slow; input,slow; input,fast"], ranks: [1], ["study", "study.yaml", "--only", "x*"])
      try sandbox.expectFailure(64, ["study starts mpirun itself"], ranks: [2], ["study", "study.yaml"])
    }

    /// What a study takes is said beforehand, and nothing is written.
    @Test func dryRun() throws {
      let sandbox = try Sandbox()
      try study(sandbox, Self.grid + "targets: {training_loss: 3}\n")
      let outcome = try run(sandbox, ["--dry-run", "-n", "2"])
      #expect(outcome.exitCode == 0, "\(outcome)")
      #expect(outcome.output.firstMatch(of: /3  input,fast\/seed-1: 8 steps of [0-9.]+ ms, 0 s; .*optimizer.decay=\{factor: 2, after: 1\}/) != nil, "\(outcome)")
      #expect(outcome.output.contains("6 runs of the study tiny, 6 to be trained: about "), "\(outcome)")
      #expect(!sandbox.exists("Runs"))
      try study(sandbox, Self.grid.replacingOccurrences(of: "0.1", with: "-1"))
      let bad = try run(sandbox, ["--dry-run"])
      #expect(bad.exitCode == 64 && bad.output.contains("plain,slow/seed-1: cannot be trained: study.yaml:9: optimizer.learning_rate: found -1"), "\(bad)")
      #expect(!sandbox.exists("Runs"))
    }

    private static let mistakes: [(yaml: String, words: [String])] = [
      ("", ["study.yaml: holds no study"]),
      ("base: tiny.yaml", ["study.yaml: name: missing", "a name of letters"]),
      ("name: x", ["study.yaml: base: missing"]),
      ("name: ../x\nbase: tiny.yaml", ["study.yaml:1: name: found \"../x\""]),
      ("name: x\nbase: tiny.yaml\nseed: [1]", ["study.yaml:3: seed: unknown key", "nearest known key is seeds"]),
      ("name: x\nbase: tiny.yaml\nseeds: 5", ["study.yaml:3: seeds: found 5", "a list of distinct integers"]),
      ("name: x\nbase: tiny.yaml\nseeds: [1, 1]", ["study.yaml:3: seeds: 1 stands twice"]),
      ("name: x\nbase: tiny.yaml\nseeds: []", ["study.yaml:3: seeds: found an empty list"]),
      ("name: x\nbase: tiny.yaml\naxes: {a: {results.csv: {}}}", ["study.yaml:3: axes: a point is named results.csv"]),
      ("name: x\nbase: nowhere.yaml", ["nowhere.yaml: no such file"]),
      ("name: x\nbase: tiny.yaml\nset: {model.hiden_size: 3}", ["study.yaml:3: model.hiden_size: unknown key", "model.hidden_size"]),
      ("name: x\nbase: tiny.yaml\nset: {model.layers: two}", ["study.yaml:3: model.layers: found \"two\""]),
      ("name: x\nbase: tiny.yaml\nset: {training.seed: 2}", ["study.yaml:3: training.seed: is set", "the key seeds"]),
      ("name: x\nbase: tiny.yaml\nset: {model.layers: 1, model: {layers: 2}}", ["model.layers: is set twice"]),
      ("name: x\nbase: tiny.yaml\nset: {model.layers: [1, 2]}", ["study.yaml:3: model.layers: found a list"]),
      ("name: x\nbase: tiny.yaml\naxes: {a: {}}", ["study.yaml:3: axes.a: has no entries"]),
      ("name: x\nbase: tiny.yaml\naxes: {a: {\"b,c\": {}}}", ["study.yaml:3: axes.a.b,c: found \"b,c\""]),
      ("name: x\nbase: tiny.yaml\naxes: {a: {b: {model.layers: 1}}, c: {d: {model.layers: 2}}}", ["model.layers: is set by the axes a and c"]),
      ("name: x\nbase: tiny.yaml\naxes: {a: {b: {}}}\nleave_out: [c*]", ["study.yaml:4: leave_out: no point is of the form \"c*\""]),
      ("name: x\nbase: tiny.yaml\naxes: {a: {b: {}}}\nleave_out: ['*']", ["study.yaml:4: leave_out: leaves no point"]),
      ("name: x\nbase: tiny.yaml\naxes: {a: {b: {}}}\nbaseline: c", ["study.yaml:4: baseline: no point is named \"c\"", "b"]),
      ("name: x\nbase: tiny.yaml\ntargets: {loss: 3}", ["study.yaml:3: targets.loss: unknown key", "training_loss"]),
      ("name: x\nbase: tiny.yaml\ntargets: {training_loss: low}", ["study.yaml:3: targets.training_loss: found \"low\""]),
      ("name: x\nbase: tiny.yaml\naxes:\n\u{a0} a: {b: {}}", ["U+00A0"]),
      ("name: x\nname: y\nbase: tiny.yaml", ["name: stands twice"]),
      ("- a", ["study.yaml:1: found a list"]),
    ]

    @Test func namesMistakes() throws {
      let sandbox = try Sandbox()
      for (yaml, words) in Self.mistakes {
        try study(sandbox, yaml + "\n")
        try sandbox.expectFailure(64, words, ranks: [1], ["study", "study.yaml"])
        #expect(!sandbox.exists("Runs"), "\(yaml)")
      }
      try sandbox.expectFailure(64, ["nothing.yaml: no such file"], ranks: [1], ["study", "nothing.yaml"])
    }
  }
}
