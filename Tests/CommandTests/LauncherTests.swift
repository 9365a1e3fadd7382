import Foundation
import Testing

extension CommandTests {
  /// What starts the program: nothing, mpirun of this and other MPI libraries, Slurm.
  @Suite struct Launchers {
    // Open MPI cannot start with it.
    private static let withoutMPI = "OMPI_MCA_pml=no-such-component"

    /// One process needs no MPI, wherever it is started, and has the bits of mpirun's ranks.
    @Test func aloneWithoutMPI() throws {
      let sandbox = try Sandbox()
      try sandbox.train("whole", ranks: 2)
      for (index, environment) in [
        [], ["SLURM_JOB_ID=7", "SLURM_NTASKS=4", "SLURM_PROCID=0"],
        ["SLURM_JOB_ID=7", "SLURM_STEP_ID=0", "SLURM_NTASKS=4", "SLURM_STEP_NUM_TASKS=1", "SLURM_PROCID=0"],
        ["PMI_RANK=0", "PMI_SIZE=1"], ["PMIX_RANK=0"], ["OMPI_COMM_WORLD_RANK=0", "OMPI_COMM_WORLD_SIZE=1"],
      ].enumerated() {
        let environment = environment + [Self.withoutMPI], run = "run-\(index)"
        for arguments in [sandbox.training(run, []), ["evaluate", run], ["generate", run], ["inspect", run], ["benchmark", "tiny.yaml", "--steps", "2"]] {
          let outcome = try sandbox.run(ranks: 1, arguments, environment: environment)
          #expect(outcome.exitCode == 0 && outcome.errorMessages.isEmpty && !outcome.output.isEmpty, "\(environment) \(outcome)")
        }
        try Resuming.expectSameEnd(sandbox, run, "whole", step: 12)
      }
    }

    /// Ranks that do not find each other refuse, and say what would start them.
    @Test(arguments: [
      ["PMI_RANK=%", "PMI_SIZE=2"], ["MV2_COMM_WORLD_RANK=%", "MV2_COMM_WORLD_SIZE=2"], ["OMPI_COMM_WORLD_RANK=%", "OMPI_COMM_WORLD_SIZE=2"],
      ["SLURM_JOB_ID=7", "SLURM_STEP_ID=0", "SLURM_NTASKS=2", "SLURM_PROCID=%"],
      ["SLURM_JOB_ID=7", "SLURM_STEPID=0", "SLURM_STEP_NUM_TASKS=2", "SLURM_PROCID=%"],
    ]) func ranksApart(_ environment: [String]) throws {
      let sandbox = try Sandbox()
      for rank in 0..<2 {
        let environment = environment.map { $0.replacing("%", with: "\(rank)") } + [Self.withoutMPI]
        for arguments in [sandbox.training("run", []), ["evaluate", "run"], ["benchmark", "tiny.yaml"]] {
          let outcome = try sandbox.run(ranks: 1, arguments, environment: environment)
          #expect(outcome.exitCode == 64 && outcome.errorMessages.count == (rank == 0 ? 1 : 0), "\(outcome)")
          if rank == 0 { #expect(outcome.errors.contains("2 processes") && outcome.errors.contains("mpirun"), "\(outcome)") }
        }
        // Tasks may each have another file to look at.
        if !environment[0].hasPrefix("OMPI") {
          let inspected = try sandbox.run(ranks: 1, ["inspect", "tiny.yaml"], environment: environment)
          #expect(inspected.exitCode == 0 && inspected.output.contains("language-model"), "\(inspected)")
        }
      }
      #expect(!sandbox.exists("run"))
    }

    /// mpirun of Open MPI within a task of another launcher, which counts more of them.
    @Test func mpirunInTasks() throws {
      let sandbox = try Sandbox()
      let outcome = try sandbox.run(ranks: 2, sandbox.training("run", []), environment: ["PMI_RANK=0", "PMI_SIZE=3"])
      #expect(outcome.exitCode == 64 && outcome.errorMessages.count == 1 && !sandbox.exists("run"), "\(outcome)")
      // The daemons of mpirun are tasks of a step of Slurm; what a rank inherits of them says nothing about ranks.
      let step = ["SLURM_STEP_ID=0", "SLURM_STEP_NUM_TASKS=3", "SLURM_PROCID=2"]
      let script = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", "2", "env"] + step + [try Sandbox.program()]
      let ranks = try RunningCommand(
        script + sandbox.training("run", []), in: sandbox.path, files: (sandbox("output"), sandbox("errors"))).wait()
      #expect(ranks.exitCode == 0 && ranks.errorMessages.isEmpty, "\(ranks)")
    }

    /// `launch` in a batch script of Slurm, which counts itself as task 0, and in a step of one task.
    @Test(arguments: [["SLURM_PROCID=0"], ["SLURM_PROCID=0", "PMIX_RANK=0", "PMIX_NAMESPACE=slurm.pmix.7.0", "PMI_RANK=0", "PMI_SIZE=1"]])
    func launchInJobs(_ environment: [String]) throws {
      let sandbox = try Sandbox()
      let options = ["launch", "-n", "2", "--mpirun-options=--oversubscribe --timeout 60", "--"]
      let outcome = try sandbox.run(ranks: 1, options + sandbox.training("run", []), environment: environment)
      #expect(outcome.exitCode == 0 && outcome.errorMessages.isEmpty, "\(outcome)")
      #expect(try sandbox.events("run", "start").first?["ranks"] as? Int == 2)
    }

    /// A rank that shares its only core with another process of the program says so.
    @Test func sharedCore() throws {
      let sandbox = try Sandbox(), program = try Sandbox.program()
      let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
      let core = String(try #require(status.firstMatch(of: /Cpus_allowed_list:\s*(\d+)/)?.1))
      func start(_ name: String, _ settings: [String]) throws -> RunningCommand {
        try RunningCommand(
          ["timeout", "60", "taskset", "-c", core, program] + sandbox.training(name, settings), in: sandbox.path,
          files: (sandbox("\(name)-output"), sandbox("\(name)-errors")))
      }
      let first = try start("first", ["training.maximum_steps=1000000", "training.epochs=1000000"])
      try sandbox.waitForSteps(3, of: "first", first)
      let rank = try #require(sandbox.rankProcesses().first)
      let second = try start("second", []).wait()
      #expect(second.exitCode == 0 && second.warnings.contains { $0.contains("core \(core)") && $0.contains("--bind-to none") }, "\(second)")
      kill(rank, SIGTERM)
      #expect(try first.wait().exitCode == 75)
    }

    /// No run with faults passes for one without.
    @Test(arguments: ["nan@update:rank=1,step=99", "flip@step:step=99", "sleep@write:step=99"]) func faultsAreSaid(_ fault: String) throws {
      let sandbox = try Sandbox()
      let outcome = try sandbox.run(ranks: 2, sandbox.training("run", []), environment: ["LOCKSTEP_FAULT=\(fault)"])
      #expect(outcome.exitCode == 0 && outcome.errors.components(separatedBy: "lockstep: warning: LOCKSTEP_FAULT").count == 2 && outcome.errors.contains(fault), "\(outcome)")
      #expect(try sandbox.events("run", "start").first?["faults"] as? [String] == [fault])
    }
  }
}
