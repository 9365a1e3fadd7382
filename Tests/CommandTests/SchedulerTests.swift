import Foundation
import Testing

extension CommandTests {
  /// The job scripts in `Cluster`: stopped before a time limit, run again, and ended with the bits of a run that nothing disturbed.
  @Suite(.serialized) struct Schedulers {
    static let settings = ["training.shards=4", "training.epochs=100000", "checkpoint.every_steps=null"]

    /// What a job script finds: `Cluster` in the folder it was submitted from, and a program that takes its last settings from a file.
    /// A run that was stopped by a signal waits for that file when it goes on, so that it can be given an end.
    private func prepare() throws -> (sandbox: Sandbox, environment: [String]) {
      let sandbox = try Sandbox()
      try FileManager.default.createSymbolicLink(
        atPath: sandbox("Cluster"), withDestinationPath: repository.appendingPathComponent("Cluster").path)
      try sandbox.write("program", """
        #!/bin/bash
        cd '\(sandbox.path)'
        if grep -qs '"reason":"signal"' run/metrics.jsonl; then
          until [[ -s settings ]]; do sleep 0.1; done
        fi
        exec '\(try Sandbox.program())' "$@" \(Self.settings.map { "--set \($0)" }.joined(separator: " ")) \
          --set training.maximum_steps=$(cat settings 2> /dev/null || echo 1000000)

        """)
      try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: sandbox("program"))
      return (sandbox, ["CONFIG=tiny.yaml", "RUN=\(sandbox("run"))", "LOCKSTEP=\(sandbox("program"))"])
    }

    private func end(_ sandbox: Sandbox, after step: Int) throws { try sandbox.write("settings", "\(step)") }

    /// Waits until a condition holds.
    private func wait(seconds: Int, for what: String, _ isReached: () throws -> Bool) throws {
      let start = ContinuousClock.now
      while try !isReached() {
        try #require(ContinuousClock.now - start < .seconds(seconds), "\(what) did not come")
        usleep(100_000)
      }
    }

    private func stopReasons(_ sandbox: Sandbox) -> [String] {
      // The line may be half written.
      ((try? sandbox.events("run", "end")) ?? []).compactMap { $0["reason"] as? String }
    }

    private func expectUndisturbedEnd(_ sandbox: Sandbox, step: Int) throws {
      #expect(stopReasons(sandbox).last == "done")
      try sandbox.train("whole", Self.settings + ["training.maximum_steps=\(step)"])
      try Resuming.expectSameEnd(sandbox, "run", "whole", step: step)
    }

    /// Slurm itself: the job comes near its time limit, goes back into the queue and is run to its end. LAUNCHER=srun is left out: now and then a
    /// rank that srun starts ends by a null pointer within MPI_Init of Open MPI 4.1.4.
    @Test func slurm() throws {
      let (sandbox, environment) = try prepare(), bed = try Bed(hosts: 2, withSlurm: true, in: sandbox)
      // The shortest limit is a minute; the warning may come that long before.
      let submitted = try bed.call(
        ["run", "sbatch", "--parsable", "-n", "4", "-N", "2", "-t", "1", "--signal=B:USR1@55", "-o", sandbox("log"), "Cluster/slurm"],
        environment: environment)
      let job = submitted.output.trimmingCharacters(in: .whitespacesAndNewlines)
      try #require(submitted.exitCode == 0 && Int(job) != nil, "\(submitted)")
      try wait(seconds: 150, for: "Slurm's warning") { stopReasons(sandbox).contains("signal") }
      let step = try sandbox.linkedStep("run") + 20
      // Only the first time limit is to be hit.
      #expect(try bed.call(["run", "scontrol", "update", "JobId=\(job)", "TimeLimit=10"]).exitCode == 0)
      try end(sandbox, after: step)

      var shown = ""
      try wait(seconds: 150, for: "the job's end, \((try? sandbox.text("log")) ?? "")") {
        usleep(400_000)
        shown = try bed.call(["run", "scontrol", "show", "job", job]).output
        return shown.contains("JobState=COMPLETED") || shown.contains("JobState=FAILED")
      }
      let log = try sandbox.text("log")
      #expect(shown.contains("JobState=COMPLETED") && shown.contains("ExitCode=0:0"), "\(shown)\(log)")
      #expect(!shown.contains("Restarts=0"), "\(shown)")
      #expect(try sandbox.events("run", "start").first?["hosts"] as? [String] == ["node1", "node1", "node2", "node2"])
      try expectUndisturbedEnd(sandbox, step: step)
    }

    /// A job array of Slurm: every task trains one run of a study.
    @Test func slurmArray() throws {
      let sandbox = try Sandbox()
      try FileManager.default.createSymbolicLink(
        atPath: sandbox("Cluster"), withDestinationPath: repository.appendingPathComponent("Cluster").path)
      try sandbox.write("study.yaml", """
        name: tiny
        base: tiny.yaml
        axes: {width: {w4: {model.hidden_size: 4}, w5: {model.hidden_size: 5}}}
        seeds: [1, 2]

        """)
      let bed = try Bed(hosts: 2, withSlurm: true, in: sandbox)
      let submitted = try bed.call(
        ["run", "sbatch", "--parsable", "--array=1-4", "-n", "2", "-N", "1", "-t", "5", "-o", sandbox("log-%a"), "Cluster/study"],
        environment: ["STUDY=study.yaml", "LOCKSTEP=\(try Sandbox.program())"])
      #expect(submitted.exitCode == 0, "\(submitted)")
      func logs() -> String { (1...4).map { (try? sandbox.text("log-\($0)")) ?? "" }.joined() }
      try wait(seconds: 150, for: "the end of the array, \(logs())") {
        let table = (try? sandbox.text("Runs/tiny/results.csv")) ?? ""
        return table.split(separator: "\n").count { $0.contains(",done,") } == 4
      }
      for index in 1...4 { #expect(logs().contains("Begins run \(index) of 4"), "\(logs())") }
      for run in ["w4/seed-1", "w5/seed-2"] {
        #expect(try sandbox.events("Runs/tiny/\(run)", "start").map { $0["ranks"] as? Int } == [2])
      }
    }

    /// The others as `Cluster/play-scheduler` plays them.
    @Test(arguments: ["pbs", "sge", "lsf"]) func played(_ scheduler: String) throws {
      let (sandbox, environment) = try prepare(), bed = try Bed(hosts: 2, in: sandbox)
      let site = [
        "OMPI_MCA_plm_rsh_agent=ssh -F \(bed.folder)/ssh_config", "OMPI_MCA_hwloc_base_binding_policy=none",
        "OMPI_MCA_mpi_yield_when_idle=1",
      ]
      let running = try bed.start(
        ["exec", "node1", "Cluster/play-scheduler", scheduler, "node1:2,node2:2", "Cluster/\(scheduler)"],
        // PBS says nothing before the time limit: its script looks at the clock itself.
        environment: environment + site + ["STOP_AFTER=8"], timeout: 120)
      try sandbox.waitForSteps(10, of: "run", running)
      if scheduler != "pbs" { kill(running.process.processIdentifier, SIGUSR1) }
      try wait(seconds: 60, for: "the stop") { stopReasons(sandbox).contains("signal") }
      let stopped = try sandbox.linkedStep("run"), step = stopped + 20
      try end(sandbox, after: step)
      let outcome = try running.wait()
      #expect(outcome.exitCode == 0, "\(outcome)")
      #expect(outcome.errors.contains(", once more"), "\(outcome)")
      #expect(outcome.output.contains("Resumed at step \(stopped)"), "\(outcome)")
      #expect(try sandbox.events("run", "start").first?["hosts"] as? [String] == ["node1", "node1", "node2", "node2"])
      try expectUndisturbedEnd(sandbox, step: step)
    }

    /// Without a scheduler: a time to stop after, and a signal.
    @Test func local() throws {
      let (sandbox, environment) = try prepare()
      func start(_ options: [String], _ further: [String] = []) throws -> RunningCommand {
        try RunningCommand(
          environment + further + ["OMPI_MCA_hwloc_base_binding_policy=none", "OMPI_MCA_rmaps_base_oversubscribe=1", "Cluster/run-local"] + options,
          in: sandbox.path, files: (sandbox("output"), sandbox("errors")))
      }
      // A signal that comes before mpirun listens is not lost.
      let hasty = try start(["-n", "2"])
      for _ in 0..<400 where !catchesSignal(SIGUSR1, hasty.process.processIdentifier) { usleep(5000) }
      kill(hasty.process.processIdentifier, SIGUSR1)
      let hastyOutcome = try hasty.wait()
      #expect(hastyOutcome.exitCode == 75, "\(hastyOutcome)")

      try? FileManager.default.removeItem(atPath: sandbox("run"))
      let limited = try start(["-n", "2", "--for", "4"]).wait()
      #expect(limited.exitCode == 75, "\(limited)")
      let step = try sandbox.linkedStep("run")
      try end(sandbox, after: 1_000_000)
      let signalled = try start(["-n", "3"])
      try sandbox.waitForSteps(step + 10, of: "run", signalled)
      // A second signal does no harm.
      for _ in 0..<2 { kill(signalled.process.processIdentifier, SIGUSR1) }
      let outcome = try signalled.wait()
      #expect(outcome.exitCode == 75, "\(outcome)")
      let last = try sandbox.linkedStep("run") + 10
      try end(sandbox, after: last)
      let done = try start(["-n", "1", "--for", "60"], ["THREADS=2"]).wait()
      #expect(done.exitCode == 0, "\(done)")
      #expect(done.output.contains("1 rank × 2 threads"), "\(done)")
      try expectUndisturbedEnd(sandbox, step: last)

      for options in [["--for", "soon"], ["--for"], ["--hours", "1"]] {
        let refused = try start(options).wait()
        #expect(refused.exitCode == 64 && refused.errors.contains("Cluster/run-local"), "\(refused)")
      }
    }

    /// Scripts without a configuration or a run say so.
    @Test(arguments: ["slurm", "sge", "lsf", "pbs", "run-local"]) func withoutConfiguration(_ script: String) throws {
      let (sandbox, _) = try prepare()
      let outcome = try RunningCommand(
        ["PBS_O_WORKDIR=\(sandbox.path)", "PBS_NODEFILE=nodes", "LSB_DJOB_HOSTFILE=nodes", "bash", "Cluster/\(script)"], in: sandbox.path,
        files: (sandbox("output"), sandbox("errors"))).wait()
      #expect(outcome.exitCode == 64, "\(outcome)")
      #expect(outcome.errors.split(separator: "\n").count == 1 && outcome.errors.contains("CONFIG and RUN"), "\(outcome)")
    }
  }
}
