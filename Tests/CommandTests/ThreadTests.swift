import Foundation
import Testing

extension CommandTests {
  /// Threads of a rank: the same bits on any number of them, a warning where they share cores, and one error for a number that is none.
  @Suite struct ThreadCounts {
    /// Large enough that products, gates, softmax and updates are divided.
    static let settings = [
      "data.train=wide.txt", "data.vocabulary_size=500", "model.hidden_size=320", "model.embedding_size=96", "training.batch_size=96",
      "training.shards=2", "training.maximum_steps=6", "evaluation.population_batches=2", "optimizer.momentum=0.5",
    ]

    @Test(arguments: [
      [], ["normalization.placement=preactivation", "model.peepholes=all"], ["normalization.statistics=sequence", "model.cell=rnn"],
    ])
    func sameBits(_ further: [String]) throws {
      let sandbox = try Sandbox()
      try sandbox.write("wide.txt", randomText(tokens: 4000, types: 600, seed: 4))
      var first: (numbers: [String], files: [Data])?
      for ranks in [1, 2] {
        for threads in [1, 2, 3] {
          let run = "on-\(ranks)-\(threads)"
          try sandbox.train(run, ranks: ranks, Self.settings + further, ["--threads", "\(threads)"])
          #expect(try sandbox.events(run, "start").first?["threads"] as? Int == threads)
          let files = try ["model.safetensors", "training.safetensors"].map { try sandbox.data("\(sandbox.checkpoint(run, 6))/\($0)") }
          let numbers = try sandbox.numbers(run)
          guard let expected = first else {
            first = (numbers, files)
            continue
          }
          #expect(numbers == expected.numbers, "metrics on \(ranks) × \(threads)")
          #expect(files == expected.files, "checkpoint on \(ranks) × \(threads)")
        }
      }
    }

    @Test func evaluateAndBenchmark() throws {
      let sandbox = try Sandbox()
      try sandbox.write("wide.txt", randomText(tokens: 4000, types: 600, seed: 4))
      try sandbox.train("run", Self.settings)
      let alone = try sandbox.run(["evaluate", "run"]), two = try sandbox.run(["evaluate", "run", "--threads", "2"])
      #expect(alone.exitCode == 0 && two.exitCode == 0 && alone.output == two.output && !alone.output.isEmpty, "\(alone)\n\(two)")
      let outcome = try sandbox.run(["benchmark", "tiny.yaml", "--steps", "1", "--threads", "2", "--json"])
      #expect(outcome.exitCode == 0 && outcome.output.contains("1 rank × 2 threads on 1 host"), "\(outcome)")
      #expect(outcome.output.contains("\"threads_per_rank\":2"), "\(outcome)")
    }

    /// Without the option there is one thread, and nothing is said about cores.
    @Test func oneByDefault() throws {
      let sandbox = try Sandbox()
      let outcome = try sandbox.train("run", ranks: 2)
      #expect(outcome.warnings.isEmpty && !outcome.output.contains("threads"), "\(outcome)")
      #expect(try sandbox.events("run", "start").first?["threads"] as? Int == 1)
    }

    /// What the launcher allows counts, not what the machine has.
    @Test func sharedCore() throws {
      let sandbox = try Sandbox()
      let program = try Sandbox.program(), arguments = sandbox.training("run", [], ["--threads", "2"])
      let cores = try #require(
        try String(contentsOfFile: "/proc/self/status", encoding: .utf8).firstMatch(of: /Cpus_allowed_list:\s*(\d+)/)?.1)
      let bound = try RunningCommand(
        ["timeout", "60", "taskset", "-c", String(cores), program] + arguments, in: sandbox.path,
        files: (sandbox("bound-output"), sandbox("bound-errors"))
      ).wait()
      #expect(bound.exitCode == 0 && bound.warnings.count == 1, "\(bound)")
      for words in ["1 rank × 2 threads = 2 threads", "1 core", "mpirun --map-by slot:PE=2 --bind-to core"] {
        #expect(bound.warnings.first?.contains(words) == true, "\(words) in \(bound)")
      }
    }

    @Test(arguments: ["0", "-1", "many", "1025", "1.5", "", "99999999999999999999"]) func badNumbers(_ number: String) throws {
      let sandbox = try Sandbox()
      let words = ["--threads", "'\(number)'", "1 to 1024"]
      try sandbox.expectFailure(64, words, ranks: number == "0" ? [1, 2] : [1], sandbox.training("run", []) + ["--threads", number])
      for arguments in [["evaluate", "run"], ["benchmark", "tiny.yaml"]] {
        try sandbox.expectFailure(64, words, ranks: [1], arguments + ["--threads", number])
      }
      #expect(!sandbox.exists("run"))
    }
  }
}
