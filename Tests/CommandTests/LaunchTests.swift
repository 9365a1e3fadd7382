import Foundation
import Testing

extension CommandTests {
  /// `lockstep launch`: runs that are started again.
  @Suite struct Launching {
    private func launch(_ sandbox: Sandbox, _ options: [String], _ settings: [String], environment: [String] = []) throws -> RunningCommand {
      let options = ["launch"] + options + ["--mpirun-options=--oversubscribe --bind-to none --timeout 60", "--"]
      return try sandbox.start(ranks: 1, options + sandbox.training("run", settings), environment: environment, timeout: 100)
    }

    private let endless = ["training.maximum_steps=1000000", "training.epochs=1000000", "checkpoint.every_steps=3"]

    /// What fails at the same step each time is given up after a while.
    @Test func givesUp() throws {
      let sandbox = try Sandbox()
      let fault = "LOCKSTEP_FAULT=kill@update:rank=1,step=7"
      let settings = ["training.maximum_steps=16", "checkpoint.every_steps=1"]
      let outcome = try launch(sandbox, ["-n", "3", "--restarts", "3"], settings, environment: [fault]).wait()
      // Killed after the seventh update, before its checkpoint, each time: the fault comes again with the step. That of the sixth may still have
      // been under way.
      #expect(outcome.exitCode == 137, "\(outcome)")
      #expect(outcome.errors.components(separatedBy: "lockstep: launch: start ").count == 5, "\(outcome)")
      #expect(outcome.errors.firstMatch(of: /start 4, from step [56]: mpirun -n 3/) != nil, "\(outcome)")
      #expect(outcome.errors.contains("given up after 3 restarts"), "\(outcome)")
      #expect(try [5, 6].contains(sandbox.linkedStep("run")))
    }

    /// Ranks and mpirun itself are killed: the run goes on from its last checkpoint, to the same end.
    @Test func goesOnAfterKills() throws {
      let sandbox = try Sandbox()
      let settings = ["training.maximum_steps=900", "training.epochs=1000000", "checkpoint.every_steps=50", "evaluation.every_epochs=1000"]
      let running = try launch(sandbox, ["-n", "2"], settings)
      for (start, isLauncher) in [(1, false), (2, true)] {
        try sandbox.waitForStart(start, steps: 60, of: "run", running)
        let rank = try #require(sandbox.rankProcesses().last { parent(of: $0) != running.process.processIdentifier })
        kill(isLauncher ? parent(of: rank) : rank, SIGKILL)
      }
      let outcome = try running.wait()
      #expect(outcome.exitCode == 0, "\(outcome)")
      // Open MPI fails by itself now and then when ranks of the job before are about to end.
      #expect(outcome.errors.components(separatedBy: "lockstep: launch: start ").count >= 4, "\(outcome)")
      #expect(outcome.errors.contains("--resume") && outcome.errors.contains("by signal 9"), "\(outcome)")
      try sandbox.train("whole", settings)
      try Resuming.expectSameEnd(sandbox, "run", "whole", step: 900)
    }

    private func parent(of process: pid_t) -> pid_t {
      let status = FileManager.default.contents(atPath: "/proc/\(process)/status").map { String(decoding: $0, as: UTF8.self) } ?? ""
      return status.firstMatch(of: /PPid:\s*(\d+)/).flatMap { pid_t($0.1) } ?? -1
    }

    /// A signal reaches the ranks, and nothing is started again.
    @Test(arguments: [SIGUSR1, SIGTERM, SIGINT, SIGHUP]) func signals(_ signal: Int32) throws {
      let sandbox = try Sandbox()
      let running = try launch(sandbox, ["-n", "2"], endless)
      try sandbox.waitForSteps(5, of: "run", running)
      let launcher = try #require(sandbox.rankProcesses().first { parent(of: $0) == running.process.processIdentifier })
      kill(launcher, signal)
      let outcome = try running.wait()
      #expect(outcome.exitCode == 75, "\(outcome)")
      #expect(outcome.errors.components(separatedBy: "lockstep: launch: start ").count == 2, "\(outcome)")
      #expect(try sandbox.rankProcesses().isEmpty)
    }

    /// A signal that comes before the ranks listen to it.
    @Test(arguments: [0, 100, 200, 300, 450, 600]) func earlySignals(milliseconds: UInt32) throws {
      let sandbox = try Sandbox()
      let running = try launch(sandbox, ["-n", "2"], endless)
      var launcher: pid_t?
      while running.process.isRunning, launcher == nil { launcher = try sandbox.rankProcesses().first { catchesSignal(SIGTERM, $0) } }
      usleep(milliseconds * 1000)
      kill(try #require(launcher), SIGTERM)
      let outcome = try running.wait()
      #expect(outcome.exitCode == 75 && outcome.errorMessages.isEmpty, "\(outcome)")
      #expect(try sandbox.rankProcesses().isEmpty)
    }

    /// Ctrl-C at a terminal, which sends SIGINT to all of its foreground group: the ranks write a checkpoint all the same.
    @Test func interruptAtATerminal() throws {
      let sandbox = try Sandbox()
      let master = unsafe open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)
      defer { close(master) }
      // Unlocks the terminal, and asks for its number: TIOCSPTLCK and TIOCGPTN.
      var lock: Int32 = 0, number: Int32 = 0
      unsafe try #require(master >= 0 && ioctl(master, 0x4004_5431, &lock) == 0 && ioctl(master, 0x8004_5430, &number) == 0)
      let launch = try [Sandbox.program(), "launch", "-n", "2", "--mpirun-options=--oversubscribe --bind-to none --timeout 60", "--"]
        + sandbox.training("run", endless)
      let running = try RunningCommand(
        ["setsid", "--fork", "--wait", "--ctty", "sh", "-c", "stty tostop; exec \"$@\"", "sh"] + launch, in: sandbox.path,
        files: (sandbox("output"), sandbox("errors")), terminal: "/dev/pts/\(number)")
      try sandbox.waitForSteps(5, of: "run", running)
      unsafe _ = write(master, "\u{3}", 1)
      let outcome = try running.wait()
      #expect(outcome.exitCode == 75 && outcome.errorMessages.isEmpty, "\(outcome)")
      #expect(outcome.errors.components(separatedBy: "lockstep: launch: start ").count == 2, "\(outcome)")
      #expect(try sandbox.events("run").last?["reason"] as? String == "signal")
      #expect(try sandbox.linkedStep("run") == sandbox.events("run", "step").last?["step"] as? Int)
      #expect(try sandbox.rankProcesses().isEmpty)
    }

    /// Whatever ends `launch` without a word ends mpirun and its ranks.
    @Test func killed() throws {
      let sandbox = try Sandbox()
      let running = try launch(sandbox, ["-n", "2"], endless)
      try sandbox.waitForSteps(5, of: "run", running)
      let launcher = try #require(sandbox.rankProcesses().first { parent(of: $0) == running.process.processIdentifier })
      kill(launcher, SIGKILL)
      _ = try running.wait()
      for _ in 0..<2000 where try !sandbox.rankProcesses().isEmpty { usleep(5000) }
      #expect(try sandbox.rankProcesses().isEmpty)
    }

    /// A checkpoint that reads back damaged is the disk's fault, and may be better next time.
    @Test func aDiskThatForgets() throws {
      let sandbox = try Sandbox()
      try FileManager.default.createDirectory(atPath: sandbox("bin"), withIntermediateDirectories: false)
      try sandbox.write("bin/mpirun", """
        #!/bin/sh
        # The fault is that of the first start.
        if mkdir started 2> /dev/null; then export LOCKSTEP_FAULT=tear@write:step=10,bytes=700; fi
        PATH=${PATH#*:} exec mpirun "$@"

        """)
      try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: sandbox("bin/mpirun"))
      let path = "PATH=\(sandbox("bin")):\(ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin")"
      let outcome = try launch(sandbox, ["-n", "2"], [], environment: [path]).wait()
      #expect(outcome.exitCode == 0 && outcome.errors.contains("ended with code 74, a file could not be read or written"), "\(outcome)")
      #expect(outcome.errors.contains("start 2, from step 5"), "\(outcome)")
      try sandbox.train("whole")
      try Resuming.expectSameEnd(sandbox, "run", "whole", step: 12)
    }

    /// The file server of the run directory stops answering `launch`: a signal reaches the ranks all the same.
    @Test func aServerThatIsSilent() throws {
      let sandbox = try Sandbox()
      let options = ["launch", "-n", "2", "--mpirun-options=--oversubscribe --bind-to none --timeout 60", "--"]
      let running = try sandbox.start(
        ranks: 1, options + sandbox.training("run", endless), environment: ["SILENT_SERVER=\(sandbox("silent"))"], timeout: 60,
        preloading: "libSilentServer.so")
      try sandbox.waitForSteps(5, of: "run", running)
      try sandbox.write("silent", "")
      usleep(300_000)
      let launcher = try #require(sandbox.rankProcesses().first { parent(of: $0) == running.process.processIdentifier })
      kill(launcher, SIGTERM)
      let outcome = try running.wait()
      #expect(outcome.exitCode == 75 && outcome.errors.contains("ended with code 75"), "\(outcome)")
      #expect(try sandbox.rankProcesses().isEmpty)
    }

    /// What can never work is said once, with mpirun's words, and not tried again.
    @Test func noRankEverRuns() throws {
      let sandbox = try Sandbox()
      let arguments = { (directory: String) in ["--", "train", "tiny.yaml", "--run-directory", directory] }
      func expect(_ code: Int32, _ words: String, _ launch: [String], environment: [String] = [], sourceLocation: SourceLocation = #_sourceLocation) throws {
        let outcome = try sandbox.start(ranks: 1, ["launch"] + launch, environment: environment).wait()
        #expect(outcome.exitCode == code, "\(outcome)", sourceLocation: sourceLocation)
        #expect(outcome.errorMessages.count == 1 && outcome.errorMessages.first?.contains(words) == true, "\(outcome)", sourceLocation: sourceLocation)
        #expect(outcome.errors.components(separatedBy: "launch: start ").count <= 2, "\(outcome)", sourceLocation: sourceLocation)
      }
      try expect(64, "not enough slots", ["-n", "4000"] + arguments(sandbox("run")))
      try expect(64, "unknown option", ["-n", "1", "--mpirun-options=--nonsense"] + arguments(sandbox("run")))
      try expect(64, "--run-directory is empty", ["-n", "1"] + arguments(""))
      try expect(64, "can be reached", ["-n", "1", "--hosts", "no-such-host.invalid:2"] + arguments(sandbox("run")))
      try FileManager.default.createDirectory(atPath: sandbox("bin"), withIntermediateDirectories: false)
      try FileManager.default.createSymbolicLink(atPath: sandbox("bin/timeout"), withDestinationPath: "/usr/bin/timeout")
      try expect(64, "no mpirun", ["-n", "1"] + arguments(sandbox("run")), environment: ["PATH=\(sandbox("bin"))"])
      try sandbox.write("file", "")
      try expect(74, "file/run", ["-n", "1"] + arguments(sandbox("file/run")))
      #expect(!sandbox.exists("run"))
    }

    /// Who is root has decided to be.
    @Test func asRoot() throws {
      let sandbox = try Sandbox()
      let permission = ["-u", "OMPI_ALLOW_RUN_AS_ROOT", "-u", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"]
      let outcome = try launch(sandbox, ["-n", "2"], [], environment: permission).wait()
      #expect(outcome.exitCode == 0 && outcome.errorMessages.isEmpty, "\(outcome)")
    }

    /// Segments of shared memory and files that a killed mpirun leaves go with `launch`.
    @Test func clearsWhatAKillLeaves() throws {
      let sandbox = try Sandbox()
      let running = try launch(sandbox, ["-n", "2"], ["training.maximum_steps=1500", "training.epochs=1000000"])
      try sandbox.waitForStart(1, steps: 20, of: "run", running)
      let ranks = try sandbox.rankProcesses().filter { parent(of: $0) != running.process.processIdentifier }
      // Each rank has its own at least; that of another it maps when it first needs it.
      let maps = ranks.map { String(decoding: FileManager.default.contents(atPath: "/proc/\($0)/maps") ?? Data(), as: UTF8.self) }.joined()
      let segments = Set(maps.matches(of: /\/dev\/shm\/vader_segment\S+/).map { String($0.0) })
      #expect(segments.count == 2, "\(segments)")
      kill(parent(of: ranks[0]), SIGKILL)
      for rank in ranks { kill(rank, SIGKILL) }
      let outcome = try running.wait()
      #expect(outcome.exitCode == 0, "\(outcome)")
      #expect(!segments.contains { FileManager.default.fileExists(atPath: $0) }, "\(segments)")
    }

    /// What is wrong with the command or the data would be wrong again.
    @Test func mistakes() throws {
      let sandbox = try Sandbox()
      let wrong = try launch(sandbox, ["-n", "2"], ["model.hidden_size=0"]).wait()
      #expect(wrong.exitCode == 64 && wrong.errors.components(separatedBy: "launch: start ").count == 2, "\(wrong)")
      for arguments in [
        ["-n", "2"], ["-n", "0", "--", "train", "tiny.yaml"], ["--", "train", "tiny.yaml"], ["-n", "2", "--", "evaluate", "tiny.yaml"],
        ["-n", "2", "--", "train"], ["-n", "2", "--hosts", "a:0", "--", "train", "tiny.yaml"], ["-n", "2", "--restarts", "-1", "--", "train", "tiny.yaml"],
      ] {
        try sandbox.expectFailure(64, [], ranks: [1], ["launch"] + arguments)
      }
      // Its second start would go on with a run that nobody meant.
      try sandbox.train("run", ["training.maximum_steps=1"])
      let held = try launch(sandbox, ["-n", "2"], []).wait()
      #expect(held.exitCode == 64 && held.errorMessages.count == 1 && held.errors.contains("--resume") && !held.errors.contains("launch: start "), "\(held)")
    }

    /// Hosts that cannot be reached are left out; the others finish the run, with the same result.
    @Test func missingHosts() throws {
      let sandbox = try Sandbox()
      let host = ProcessInfo.processInfo.hostName
      let running = try launch(sandbox, ["-n", "4", "--hosts", "\(host):2,no-such-host.invalid:2"], [])
      let outcome = try running.wait()
      #expect(outcome.exitCode == 0, "\(outcome)")
      #expect(outcome.errors.contains("left out: no-such-host.invalid") && outcome.errors.contains("mpirun -n 2 --host \(host):2"), "\(outcome)")
      try sandbox.train("whole")
      try Resuming.expectSameEnd(sandbox, "run", "whole", step: 12)
    }
  }
}
