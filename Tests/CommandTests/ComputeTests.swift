import Foundation
import Testing

extension CommandTests {
  /// Instruction sets, and who multiplies large matrices.
  @Suite struct Computing {
    /// Products of more than 64 rows, gates and softmax of whole vectors and parts of them.
    static let settings = [
      "data.train=wide.txt", "data.vocabulary_size=300", "model.hidden_size=40", "model.embedding_size=50", "training.batch_size=32",
      "training.shards=2", "training.maximum_steps=6", "checkpoint.every_steps=null", "evaluation.population_batches=2",
      "normalization.placement=preactivation", "initialization.scheme=orthogonal",
    ]

    static let allSets = ["x86-64-v4", "x86-64-v3", "aarch64", "portable"]

    private func sandbox() throws -> Sandbox {
      let sandbox = try Sandbox()
      try sandbox.write("wide.txt", randomText(tokens: 4000, types: 600, seed: 4))
      return sandbox
    }

    /// The sets that this processor can run; any other is refused before anything is written.
    private func usableSets(_ sandbox: Sandbox) throws -> [String] {
      try Self.allSets.filter { set in
        let outcome = try sandbox.run(
          sandbox.training("with-\(set)", Self.settings + ["compute.products=own"]), environment: ["LOCKSTEP_KERNELS=\(set)"])
        if outcome.exitCode == 0 { return true }
        #expect(outcome.exitCode == 64 && outcome.errorMessages.count == 1 && !sandbox.exists("with-\(set)"), "\(outcome)")
        #expect(outcome.errorMessages.first?.contains("LOCKSTEP_KERNELS") == true && outcome.errors.contains("'\(set)'"), "\(outcome)")
        return false
      }
    }

    /// A run on each set, and a job whose ranks have different ones, write the same bits; the start line names the sets.
    @Test func sameBitsOnEverySet() throws {
      let sandbox = try sandbox(), sets = try usableSets(sandbox)
      #expect(sets.contains("portable") || sets.contains("aarch64"))
      func model(_ run: String) throws -> Data { try sandbox.data("\(sandbox.checkpoint(run, 6))/model.safetensors") }
      let first = try model("with-\(sets[0])"), numbers = try sandbox.numbers("with-\(sets[0])")
      for set in sets {
        let run = "with-\(set)"
        #expect(try model(run) == first && sandbox.numbers(run) == numbers, "\(set)")
        #expect(try sandbox.events(run, "start").first?["instruction_set"] as? [String] == [set])
        #expect(try sandbox.events(run, "start").first?["products"] as? String == "own")
      }
      let program = try Sandbox.program()
      for (name, products) in [("mixed", "own"), ("mixed-automatic", "automatic")] {
        let arguments = sandbox.training(name, Self.settings + ["compute.products=\(products)"])
        let ranks = [sets[0], sets[sets.count - 1]].map { ["-n", "1", "env", "LOCKSTEP_KERNELS=\($0)", program] + arguments }
        let outcome = try RunningCommand(
          ["mpirun", "--oversubscribe", "--bind-to", "none", "--timeout", "60"] + ranks[0] + [":"] + ranks[1], in: sandbox.path,
          files: (sandbox("\(name)-output"), sandbox("\(name)-errors"))
        ).wait()
        #expect(outcome.exitCode == 0, "\(outcome)")
        #expect(try model(name) == first && sandbox.numbers(name) == numbers, "\(name)")
        #expect(try sandbox.events(name, "start").first?["instruction_set"] as? [String] == [sets[0], sets[sets.count - 1]])
      }
    }

    /// Products by BLAS give the same bits on every number of ranks of one machine, and others than own products.
    @Test func productsByBLAS() throws {
      let sandbox = try sandbox(), settings = Self.settings + ["training.shards=4", "training.batch_size=96", "compute.products=blas"]
      var first: Data?
      for ranks in [1, 2, 3, 4] {
        try sandbox.train("on-\(ranks)", ranks: ranks, settings)
        let model = try sandbox.data("\(sandbox.checkpoint("on-\(ranks)", 6))/model.safetensors")
        if first == nil { first = model }
        #expect(model == first, "\(ranks) ranks")
        #expect(try sandbox.events("on-\(ranks)", "start").first?["products"] as? String == "blas")
      }
      try sandbox.train("own", Array(settings.dropLast()) + ["compute.products=own"])
      #expect(try sandbox.data("\(sandbox.checkpoint("own", 6))/model.safetensors") != first)
    }

    /// A resumed run keeps the products that it began with, and says so where they are changed on purpose.
    @Test func resumedRunsKeepTheirProducts() throws {
      let sandbox = try sandbox(), settings = Self.settings.filter { !$0.hasPrefix("training.maximum_steps") }
      try sandbox.train("run", settings + ["training.maximum_steps=3", "compute.products=blas"])
      #expect(try sandbox.text("run/config.yaml").contains("products: blas"))
      let resumed = try sandbox.train("run", settings + ["training.maximum_steps=5"], ["--resume"])
      #expect(try sandbox.events("run", "start").last?["products"] as? String == "blas" && !resumed.errors.contains("compute.products"))
      let changed = try sandbox.train("run", settings + ["training.maximum_steps=6", "compute.products=own"], ["--resume"])
      #expect(changed.warnings.contains { $0.contains("compute.products is own, and was blas before") }, "\(changed)")
    }

    /// Every command that computes says where kernels lack fused multiply-add, and by which rank.
    @Test func slowKernelsAreNamed() throws {
      let sandbox = try Sandbox(), program = try Sandbox.program()
      let warning = "the kernels 'portable' use no fused multiply-add", portable = ["LOCKSTEP_KERNELS=portable"]
      let benchmark = try sandbox.run(["benchmark", "tiny.yaml", "--steps", "1"], environment: portable)
      // Not every architecture has this set.
      if benchmark.exitCode == 64 && benchmark.errors.contains("'portable'") { return }
      #expect(benchmark.exitCode == 0 && benchmark.output.contains(warning), "\(benchmark)")
      let trained = try sandbox.run(sandbox.training("run", ["training.maximum_steps=2"]), environment: portable)
      #expect(trained.exitCode == 0 && trained.warnings.count { $0.contains(warning) } == 1, "\(trained)")
      // Without tuned kernels BLAS multiplies whatever the number of rows.
      #expect(trained.output.contains("products by BLAS (kernels") && !trained.output.contains("rows on"), "\(trained)")
      for command in [["evaluate", "run"], ["generate", "run", "--tokens", "3"]] {
        let outcome = try sandbox.run(command, environment: portable)
        #expect(outcome.exitCode == 0 && outcome.warnings.count { $0.contains(warning) } == 1, "\(outcome)")
        #expect(try !sandbox.run(command).errors.contains(warning))
      }

      // One rank of two, and products that then differ.
      let ranks = ["own", "blas"].map { products in
        let arguments = sandbox.training("mixed-\(products)", ["training.maximum_steps=2", "training.shards=2", "compute.products=\(products)"])
        return ["-n", "1", program] + arguments + [":", "-n", "1", "env", "LOCKSTEP_KERNELS=portable", program] + arguments
      }
      for (products, arguments) in zip(["own", "blas"], ranks) {
        let outcome = try RunningCommand(
          ["mpirun", "--oversubscribe", "--bind-to", "none", "--timeout", "60"] + arguments, in: sandbox.path,
          files: (sandbox("\(products)-output"), sandbox("\(products)-errors"))
        ).wait()
        #expect(outcome.exitCode == 0 && outcome.warnings.contains { $0.contains("rank 1 on ") && $0.contains(warning) }, "\(outcome)")
        #expect(outcome.warnings.contains { $0.contains("bits depend on which rank") } == (products == "blas"), "\(outcome)")
      }
    }

    @Test func badInstructionSet() throws {
      let sandbox = try Sandbox()
      try sandbox.train("trained", ["training.maximum_steps=2"])
      let alone = try sandbox.run(["generate", "trained"], environment: ["LOCKSTEP_KERNELS=avx1024"])
      #expect(alone.exitCode == 64 && alone.errors.contains("LOCKSTEP_KERNELS on "), "\(alone)")
      for arguments in [sandbox.training("run", []), ["benchmark", "tiny.yaml"]] {
        for ranks in [1, 2] {
          let outcome = try sandbox.run(ranks: ranks, arguments, environment: ["LOCKSTEP_KERNELS=avx1024"])
          #expect(outcome.exitCode == 64 && outcome.errorMessages.count == 1, "\(outcome)")
          #expect(outcome.errorMessages.first?.contains("unknown instruction set 'avx1024'") == true, "\(outcome)")
        }
      }
      #expect(!sandbox.exists("run"))
    }

    /// A benchmark shows both rates by shape and who multiplies.
    @Test func benchmarkComparesProducts() throws {
      let sandbox = try Sandbox()
      for library in ["own", "blas"] {
        let outcome = try sandbox.run(["benchmark", "tiny.yaml", "--steps", "1", "--json", "--set", "compute.products=\(library)"])
        #expect(outcome.exitCode == 0 && outcome.output.contains("product, GFLOP/s"), "\(outcome)")
        #expect(outcome.output.contains("\"products\":\"\(library)\"") && outcome.output.contains("\"instruction_set\":\""), "\(outcome)")
      }
    }
  }
}
