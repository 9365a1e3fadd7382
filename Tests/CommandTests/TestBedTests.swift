import Foundation
import Testing

extension CommandTests {
  /// Runs over several hosts: ranks started by ssh, messages by TCP.
  @Suite(.serialized) struct TestBed {
    /// One, two and four hosts write the same bits, also where hosts have unequal numbers of ranks.
    @Test func sameBits() throws {
      let sandbox = try Sandbox(), bed = try Bed(hosts: 4, in: sandbox)
      let settings = ["normalization.scope={group: 2}", "training.maximum_steps=20", "training.shards=4"]
      try sandbox.train("one", settings)
      let runs = [
        (2, "node1,node3", [1, 3], "messages"), (4, "node1,node2,node3,node4", [1, 2, 3, 4], "messages"),
        (4, "node1:2,node2:2", [1, 1, 2, 2], "shared memory and messages"), (3, "node2:2,node4:1", [2, 2, 4], "messages"),
      ]
      for (ranks, hosts, expected, exchange) in runs {
        let run = "on-\(hosts)"
        try bed.train(run, ranks: ranks, hosts: hosts, settings)
        let start = try #require(try sandbox.events(run, "start").first)
        #expect(start["hosts"] as? [String] == expected.map { "node\($0)" })
        #expect(start["gradient_exchange"] as? String == exchange)
        try Resuming.expectSameEnd(sandbox, run, "one", step: 20)
        #expect(try sandbox.numbers(run) == sandbox.numbers("one"))
      }
    }

    /// A signal to mpirun reaches the ranks of all hosts; the run goes on on fewer, past a cable that is pulled for a while.
    @Test func signalAndLink() throws {
      let sandbox = try Sandbox(), bed = try Bed(hosts: 3, ["--rate", "1gbit"], in: sandbox)
      let settings = ["training.shards=4", "training.epochs=100000"]
      let stopped = try bed.startTraining("run", ranks: 3, hosts: "node1,node2,node3", settings + ["training.maximum_steps=1000000"])
      try sandbox.waitForSteps(10, of: "run", stopped)
      kill(stopped.process.processIdentifier, SIGUSR1)
      let outcome = try stopped.wait()
      #expect(outcome.exitCode == 75, "\(outcome)")
      let step = try sandbox.linkedStep("run")

      let end = settings + ["training.maximum_steps=\(step + 300)"]
      let resumed = try bed.startTraining("run", ranks: 2, hosts: "node1,node2", end, ["--resume"])
      try sandbox.waitForSteps(step + 10, of: "run", resumed)
      #expect(try bed.call(["link", "node2", "down"]).exitCode == 0)
      let before = try sandbox.events("run", "step").count
      sleep(2)
      // Whatever was sent already may have been used: one update at most.
      #expect(try sandbox.events("run", "step").count <= before + 1, "the run did not need the network")
      #expect(resumed.process.isRunning)
      #expect(try bed.call(["link", "node2", "up"]).exitCode == 0)
      let last = try resumed.wait()
      try #require(last.exitCode == 0, "\(last)")
      try sandbox.train("whole", end)
      try Resuming.expectSameEnd(sandbox, "run", "whole", step: step + 300)
    }

    /// A host whose cable is pulled for good: the job ends with its name, and `launch` finishes the run on the host that is left.
    @Test func aCutLink() throws {
      let sandbox = try Sandbox(), bed = try Bed(hosts: 2, in: sandbox)
      let settings = ["training.shards=4", "training.epochs=100000", "training.maximum_steps=3000", "checkpoint.every_steps=50", "evaluation.every_epochs=1000"]
      let environment = [
        "OMPI_MCA_plm_rsh_agent=ssh -F \(bed.folder)/ssh_config", "OMPI_MCA_btl=self,vader,tcp", "OMPI_MCA_btl_tcp_if_include=eth0",
        "OMPI_MCA_oob_tcp_if_include=eth0", "OMPI_MCA_hwloc_base_binding_policy=none",
      ]
      let command = ["exec", "node1", try Sandbox.program(), "launch", "-n", "2", "--hosts", "node1:2,node2:2", "--mpirun-options=--map-by node", "--"]
      let watchdog = ["watchdog.warn_seconds=1", "watchdog.abort_seconds=4"]
      let running = try bed.start(command + sandbox.training("run", settings + watchdog), environment: environment, timeout: 150)
      try sandbox.waitForSteps(120, of: "run", running)
      #expect(try bed.call(["link", "node2", "down"]).exitCode == 0)
      let outcome = try running.wait()
      #expect(outcome.exitCode == 0, "\(outcome)")
      #expect(outcome.errorMessages.contains { $0.contains("of these, node2 cannot be reached from here") }, "\(outcome)")
      #expect(outcome.errors.contains("left out: node2") && outcome.errors.contains("mpirun -n 2 --host node1:2"), "\(outcome)")
      try sandbox.train("whole", settings)
      try Resuming.expectSameEnd(sandbox, "run", "whole", step: 3000)
    }

    /// A rank that is stopped with nobody beside it who could tell: its host is named, and the run goes on elsewhere to the same end.
    @Test func aStoppedHost() throws {
      let sandbox = try Sandbox(), bed = try Bed(hosts: 2, in: sandbox)
      let settings = ["training.shards=4", "watchdog.warn_seconds=1", "watchdog.abort_seconds=4"]
      let command = ["run", "--timeout", "60", "-n", "2", "--hosts", "node1,node2", "-x", "LOCKSTEP_FAULT=stop@exchange:rank=1,step=7"]
      let outcome = try bed.start(command + [try Sandbox.program()] + sandbox.training("run", settings), timeout: 70).wait()
      #expect(outcome.exitCode == 70 && outcome.errorMessages.count == 1, "\(outcome)")
      #expect(outcome.errorMessages.first?.contains("rank 0 has waited") == true, "\(outcome)")
      #expect(outcome.errorMessages.first?.contains("for host node2, not heard of for") == true, "\(outcome)")
      try sandbox.train("run", settings, ["--resume"])
      try sandbox.train("whole", settings)
      try Resuming.expectSameEnd(sandbox, "run", "whole", step: 12)
    }

    /// A frame is under way for as long as asked, and a host sends no faster than asked. Both are lower bounds, on a busy machine too.
    @Test func rateAndDelay() throws {
      let sandbox = try Sandbox(), bed = try Bed(hosts: 2, ["--rate", "20mbit", "--delay", "40ms"], in: sandbox)
      let connect = "start=${EPOCHREALTIME/./}; exec 3<> /dev/tcp/node2/22; echo $(( ${EPOCHREALTIME/./} - start ))"
      let connected = try bed.call(["exec", "node1", "bash", "-c", connect])
      let microseconds = try #require(Int(connected.output.trimmingCharacters(in: .whitespacesAndNewlines)), "\(connected)")
      #expect(microseconds >= 80_000, "there and back")

      // 4 MB less the 256 KiB that may go at once.
      let ssh = "ssh -F \(bed.folder)/ssh_config node2"
      let send = "start=${EPOCHREALTIME/./}; head -c 4000000 /dev/zero | \(ssh) 'cat > /dev/null'; echo $(( ${EPOCHREALTIME/./} - start ))"
      let sent = try bed.call(["exec", "node1", "bash", "-c", send])
      let duration = try #require(Int(sent.output.trimmingCharacters(in: .whitespacesAndNewlines)), "\(sent)")
      #expect(Double(duration) * 1e-6 >= (4e6 - 262_144) * 8 / 20e6, "\(sent)")

      let settings = ["training.shards=4", "training.maximum_steps=3", "evaluation.population_batches=1"]
      try bed.train("run", ranks: 2, hosts: "node1,node2", settings)
      try sandbox.train("one", settings)
      try Resuming.expectSameEnd(sandbox, "run", "one", step: 3)
    }

    /// Nothing is left of a bed: not after `down` amid a run, which may come twice, nor after a signal, nor after the end of the process that
    /// wanted it. A bed whose name begins alike stays.
    @Test func leavesNothing() throws {
      let sandbox = try Sandbox()
      func left(_ name: String) throws -> [String] {
        let folders = ["/run/netns", "/run/lockstep-testbed", "/etc/netns"].flatMap { folder in
          ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).filter { $0 == name || $0.hasPrefix("lockstep-\(name)-") }
        }
        let processes = try FileManager.default.contentsOfDirectory(atPath: "/proc").filter { pid_t($0) != nil }.compactMap {
          FileManager.default.contents(atPath: "/proc/\($0)/cmdline").map { String(decoding: $0, as: UTF8.self) }
        }.filter { $0.contains("/run/lockstep-testbed/\(name)/") }
        let mounts = try String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8).split(separator: "\n").map(String.init)
          .filter { $0.contains("lockstep-\(name)-") }
        return folders + processes + mounts
      }
      /// What killed ranks of hosts called node1, node2, ... could leave on the machine itself.
      func ofRanks() throws -> Set<String> {
        Set(try ["/dev/shm", "/tmp"].flatMap { try FileManager.default.contentsOfDirectory(atPath: $0) }.filter { $0.contains(".node") })
      }
      let before = try ofRanks()
      do {
        let bed = try Bed(hosts: 2, in: sandbox)
        #expect(try left(bed.name).count >= 7)
        let endless = ["training.shards=4", "training.epochs=100000", "training.maximum_steps=1000000"]
        let training = try bed.startTraining("run", ranks: 4, hosts: "node1:2,node2:2", endless)
        try sandbox.waitForSteps(3, of: "run", training)
        // Something that would go on for ever, away from its parent.
        let ssh = ["ssh", "-F", "\(bed.folder)/ssh_config", "node2", "sleep 1000 < /dev/null > /dev/null 2>&1 & echo $!"]
        let started = try bed.call(["exec", "node1"] + ssh)
        let sleeper = try #require(pid_t(started.output.trimmingCharacters(in: .whitespacesAndNewlines)), "\(started)")
        #expect(kill(sleeper, 0) == 0)
        for _ in 0..<2 {
          let outcome = try bed.call(["down"])
          #expect(outcome.exitCode == 0 && outcome.errors.isEmpty, "\(outcome)")
          #expect(try left(bed.name).isEmpty)
          #expect(!lives(sleeper))
          #expect(try sandbox.rankProcesses().isEmpty)
        }
        #expect(try training.wait().exitCode != 0)
        #expect(try ofRanks() == before)
        #expect(try bed.call(["status"]).output.contains("no bed"))
      }
      let files = (sandbox("output"), sandbox("errors")), name = "left-\(ProcessInfo.processInfo.processIdentifier)"
      func call(_ bed: String, _ arguments: String...) throws -> Outcome {
        try RunningCommand(["TESTBED=\(bed)", Bed.script] + arguments, in: sandbox.path, files: files).wait()
      }
      #expect(try call("\(name)-2", "up", "1", "--while", "\(ProcessInfo.processInfo.processIdentifier)").exitCode == 0)
      let similar = try left("\(name)-2")
      #expect(try call(name, "down").exitCode == 0 && left("\(name)-2") == similar)
      #expect(try call("\(name)-2", "down").exitCode == 0 && left("\(name)-2").isEmpty)
      for (signal, delay) in [(SIGINT, 0.1), (SIGTERM, 0.3), (SIGHUP, 0.6)] {
        let running = try RunningCommand(["TESTBED=\(name)", Bed.script, "up", "6"], in: sandbox.path, files: files)
        usleep(useconds_t(delay * 1e6))
        kill(running.process.processIdentifier, signal)
        let outcome = try running.wait()
        // The bed may have been up already.
        if outcome.exitCode == 0 { _ = try call(name, "down") }
        #expect([0, 130].contains(outcome.exitCode), "\(outcome)")
        #expect(try left(name).isEmpty)
      }
      let owner = "\"$1\" up 2 --while $$ && \"$1\" status"
      let owned = try RunningCommand(["TESTBED=\(name)", "bash", "-c", owner, "bash", Bed.script], in: sandbox.path, files: files).wait()
      #expect(owned.exitCode == 0 && owned.output.contains("node2 10.66.0.2 link up"), "\(owned)")
      for _ in 0..<200 where try !left(name).isEmpty { usleep(50_000) }
      #expect(try left(name).isEmpty)
    }

    /// Whether a process is there and not merely waiting to be collected.
    private func lives(_ process: pid_t) -> Bool {
      guard let status = FileManager.default.contents(atPath: "/proc/\(process)/stat") else { return false }
      return !String(decoding: status, as: UTF8.self).contains(") Z ")
    }

    @Test func refusals() throws {
      let sandbox = try Sandbox(), bed = try Bed(hosts: 2, in: sandbox)
      let refused: [([String], Int32, String)] = [
        (["up", "2"], 64, "is up already"), (["up", "0"], 64, "'0'"), (["up", "2", "--rate", "fast"], 64, "'fast'"),
        (["up", "2", "--delay", "1"], 64, "'1'"), (["exec", "node3", "true"], 64, "'node3'"), (["link", "node1", "out"], 64, "'out'"),
        (["run", "-n", "x", "true"], 64, "'x'"), (["run", "--hosts", "node1,vm", "true"], 64, "'vm'"),
      ]
      for (arguments, code, word) in refused {
        let outcome = try bed.call(arguments.first == "run" ? ["exec", "node1", Bed.script] + arguments : arguments)
        #expect(outcome.exitCode == code, "\(outcome)")
        #expect(outcome.errors.split(separator: "\n").count == 1 && outcome.errors.contains(word), "\(outcome)")
      }
      #expect(try bed.call(["exec", "node2", "hostname"]).output == "node2\n")
      #expect(try bed.call(["exec", "node2", "sh", "-c", "exit 7"]).exitCode == 7)

      // Somebody without rights, who may not even read the repository.
      for file in ["testbed", "hosts.sh"] {
        try FileManager.default.copyItem(atPath: repository.appendingPathComponent("Cluster/\(file)").path, toPath: sandbox(file))
      }
      let stranger = try RunningCommand(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sandbox("testbed"), "up", "2"], in: "/",
        files: (sandbox("output"), sandbox("errors"))).wait()
      #expect(stranger.exitCode == 69, "\(stranger)")
      #expect(stranger.errors.split(separator: "\n").count == 1 && stranger.errors.contains("root"), "\(stranger)")
    }
  }
}
