import ArgumentParser
import Glibc
import MPI
import Training

@main
struct Lockstep: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "lockstep",
    abstract: "Trains batch-normalised recurrent networks on any number of MPI ranks.",
    version: Version.current,
    subcommands: [Train.self, Evaluate.self, Generate.self, Inspect.self, Benchmark.self, Launch.self, Study.self])

  /// Every rank parses the same arguments; one of them says what is wrong with them.
  static func main() {
    do {
      try requireUTF8()
      var command = try parseAsRoot()
      try command.run()
    } catch {
      let code = exitCode(for: error).rawValue
      if code == 0 {
        if isFirstRank { exit(withError: error) }
        Glibc.exit(code)
      }
      if isFirstRank {
        let message = fullMessage(for: error), prefix = "Error: "
        printError(message.hasPrefix(prefix) ? String(message.dropFirst(prefix.count)) : message)
      }
      // The first rank that ends with an error makes mpirun end the others: all wait until the message is out.
      if LaunchedJob.current?.mayHaveOthers == true && LaunchedJob.current?.hasServer == true { try? onAllRanks("") { _, _ in Training.ExitCode(rawValue: code) ?? .usage } }
      Glibc.exit(code)
    }
  }

  /// Refuses an argument that is not UTF-8: what Swift makes of it is another text, and would name another file.
  private static func requireUTF8() throws {
    for number in 1..<max(1, Int(CommandLine.argc)) {
      guard let argument = unsafe CommandLine.unsafeArgv[number] else { break }
      if unsafe String(validatingCString: argument) == nil {
        throw ValidationError("argument \(number), '\(unsafe String(cString: argument))', is not UTF-8; rename the file that it names")
      }
    }
  }

  /// Whether this process is the one that prints, before MPI has started.
  static var isFirstRank: Bool { LaunchedJob.current?.rank ?? 0 == 0 }
}

/// Runs a command on all ranks and ends the process as it says.
func onAllRanks(_ command: String, _ body: (Communicator, Console) throws -> Training.ExitCode) throws -> Never {
  let environment: MPIEnvironment
  do {
    environment = try MPIEnvironment()
  } catch let error as LaunchError {
    // The first rank that ends with an error makes launchers end the others, and no message of MPI can tell when the error is out.
    if error.isMine { printError("\(error)") } else { usleep(500_000) }
    Glibc.exit(error.exitCode)
  } catch {
    printError("\(error)")
    Glibc.exit(Training.ExitCode.internalFault.rawValue)
  }
  let world = environment.world
  let console = Console(isSilent: world.rank != 0)
  switch Training.run(command, world: world, { try body(world, console) }) {
  case .orderly(let code):
    do { try environment.finalize() } catch { printError("\(error)") }
    Glibc.exit(code.rawValue)
  case .abort(let code, let message):
    printError(message)
    world.abort(code: code)
  }
}

struct Train: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Train the model of a configuration.")

  @Argument(help: "The configuration file.") var config: String
  @Option(help: "Where the run lies. (default: Runs/<config name>)") var runDirectory: String?
  @Flag(help: "Go on with the run that is there, or begin one where there is none.") var resume = false
  @Option(help: "A safetensors file with initial weights.", completion: .file(extensions: ["safetensors"]))
  var initializeFrom: String?
  @Flag(help: "Go on although the training data is not what the run began with; the epoch begins again with it.") var newData = false
  @Flag(help: "Check configuration, data, memory and run directory, say what the run takes, and write nothing.") var dryRun = false
  @Option(
    help: ArgumentHelp("Write a trace of these updates, from 1, into the run directory, for https://ui.perfetto.dev.", valueName: "first:last"),
    transform: steps)
  var traceSteps: ClosedRange<Int>?
  @OptionGroup var threads: ThreadCount
  @OptionGroup var overrides: Overrides

  func validate() throws {
    if runDirectory == "" { throw ValidationError("--run-directory is empty") }
    if dryRun && traceSteps != nil { throw ValidationError("--trace-steps writes a file, and --dry-run writes none") }
  }

  /// The updates that `text`, such as `10:20`, says.
  @Sendable private static func steps(_ text: String) throws -> ClosedRange<Int> {
    let ends = text.split(separator: ":", omittingEmptySubsequences: false).map { Int($0) }
    guard ends.count == 2, let first = ends[0], let last = ends[1], first >= 1, last >= first else {
      throw ValidationError("allowed are two numbers of updates, the first from 1 and the last not below it, such as 10:20")
    }
    return first...last
  }

  var request: TrainRequest {
    TrainRequest(
      configuration: config, runDirectory: runDirectory, resume: resume, initializeFrom: initializeFrom, newData: newData, isDryRun: dryRun, traceSteps: traceSteps,
      overrides: overrides.set, threads: threads.threads)
  }

  func run() throws {
    let request = request
    try onAllRanks("train") { world, console in try train(request, world: world, console: console) }
  }
}

struct Launch: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Start a training run under mpirun, and again from its last checkpoint whenever it fails.",
    usage: "lockstep launch -n RANKS [--restarts N] [--hosts LIST] [--mpirun-options TEXT] -- train CONFIG ...")

  @Option(name: [.customShort("n"), .long], help: "Ranks, or fewer where hosts are missing.", transform: integer) var ranks: Int
  @Option(help: "How many times the run is started again.", transform: integer) var restarts = 10
  @Option(help: ArgumentHelp("Hosts with their slots, as a:2,b:2. Those that ssh does not reach are left out.", valueName: "list"))
  var hosts: String?
  @Option(help: ArgumentHelp("Further options of mpirun, separated by spaces: --mpirun-options='--bind-to none'.", valueName: "text"))
  var mpirunOptions = ""
  @Argument(parsing: .postTerminator, help: "The training command, after --: train CONFIG and its options.") var command: [String] = []

  func validate() throws {
    guard (1...65_536).contains(ranks) else { throw ValidationError("-n is \(ranks); allowed are the integers from 1 to 65536") }
    guard (0...1_000_000).contains(restarts) else { throw ValidationError("--restarts is \(restarts); allowed are the integers from 0 to 1000000") }
    guard command.first == "train" else { throw ValidationError("the training command is missing: lockstep launch -n 4 -- train CONFIG") }
    if let hosts, LaunchHost.list(hosts) == nil {
      throw ValidationError("--hosts is '\(hosts)', and not a list such as a:2,b:2\(remark(onInvisible: hosts))")
    }
    if let job = LaunchedJob.current, job.isOfMPIRun || job.mayHaveOthers { throw ValidationError("launch starts mpirun itself, and is not to be started by it") }
  }

  func run() throws {
    let training = try Train.parse(Array(command.dropFirst()))
    Glibc.exit(launch(
      LaunchRequest(
        ranks: ranks, restarts: restarts, hosts: hosts.flatMap(LaunchHost.list),
        options: mpirunOptions.split(separator: " ").map(String.init), program: thisProgram, arguments: command, training: training.request)))
  }
}

/// The path of this program.
private var thisProgram: String {
  var program = [CChar](repeating: 0, count: 4096)
  let count = unsafe readlink("/proc/self/exe", &program, program.count)
  return count > 0 ? String(decoding: program.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self) : CommandLine.arguments[0]
}

struct Study: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Train every point of a study that is not done yet, with every seed, and go on with those that were interrupted.")

  @Argument(help: "The study file.") var study: String
  @Option(name: [.customShort("n"), .long], help: "Ranks of a run.", transform: integer) var ranks = 1
  @Option(help: "How many runs are trained at a time.", transform: integer) var jobs = 1
  @Option(help: ArgumentHelp("Points, or points with seeds, of this form: 'local,*', '*/seed-1'.", valueName: "glob")) var only: String?
  @Option(help: "One run alone, from 1, for the job arrays of a scheduler; --dry-run lists them.", transform: integer) var index: Int?
  @Flag(help: "Say which runs there are, and how long they take on this machine; write nothing.") var dryRun = false
  @Flag(help: "Say how far the runs are.") var status = false
  @Option(help: "How many times a run is started again that was killed.", transform: integer) var restarts = 10
  @Option(help: ArgumentHelp("Further options of mpirun, separated by spaces: --mpirun-options='--bind-to none'.", valueName: "text"))
  var mpirunOptions = ""
  @OptionGroup var threads: ThreadCount

  func validate() throws {
    guard (1...65_536).contains(ranks) else { throw ValidationError("-n is \(ranks); allowed are the integers from 1 to 65536") }
    guard (1...65_536).contains(jobs) else { throw ValidationError("--jobs is \(jobs); allowed are the integers from 1 to 65536") }
    guard (0...1_000_000).contains(restarts) else { throw ValidationError("--restarts is \(restarts); allowed are the integers from 0 to 1000000") }
    if dryRun && status { throw ValidationError("--dry-run and --status do not go together") }
    if only != nil && index != nil { throw ValidationError("--only and --index do not go together") }
    if !dryRun && !status, let job = LaunchedJob.current, job.isOfMPIRun || job.mayHaveOthers {
      throw ValidationError("study starts mpirun itself, and is not to be started by it")
    }
  }

  func run() throws {
    var request = StudyRequest(file: study, program: thisProgram)
    request.action = dryRun ? .rehearse : status ? .show : .train
    request.ranks = ranks
    request.threads = threads.threads
    request.jobs = jobs
    request.only = only
    request.index = index
    request.restarts = restarts
    request.mpirunOptions = mpirunOptions
    Glibc.exit(Training.study(request))
  }
}

/// The integer that an option says, in any notation: `1000`, `1e3`.
@Sendable func integer<T: FixedWidthInteger>(_ text: String) throws -> T {
  guard let value = wholeNumber(text).flatMap({ T(exactly: $0) }) else { throw ValidationError("allowed are integers") }
  return value
}

struct Overrides: ParsableArguments {
  @Option(name: .customLong("set"), parsing: .singleValue, help: "KEY=VALUE: replace a key of the configuration, such as model.hidden_size=400.")
  var set: [String] = []
}

struct ThreadCount: ParsableArguments {
  @Option(
    parsing: .unconditional, help: ArgumentHelp("How many threads a rank computes on; without compute.products: blas they change no bit of a result.", valueName: "n"),
    transform: count)
  var threads = 1

  /// The number that `text` says.
  @Sendable private static func count(_ text: String) throws -> Int {
    guard let count = wholeNumber(text).flatMap({ Int(exactly: $0) }), (1...mostThreads).contains(count) else {
      throw ValidationError("allowed are the integers from 1 to \(mostThreads)")
    }
    return count
  }
}

struct Evaluate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Print the loss and perplexity or error rate of a checkpoint on the validation data, or on other data.")

  @Argument(help: "A checkpoint, a link to one, or a run directory.") var checkpoint: String
  @Option(help: "Data in place of the validation data: a text, or an archive or index of features.") var data: String?
  @Option(help: "The labels of features in --data: an archive or index.") var labels: String?
  @Option(help: "Write log posteriors of every frame, or sequence, to this Kaldi archive, and an index of it beside it.") var posteriors: String?
  @Flag(help: "Subtract the logarithms of the classes' shares of the training labels from log posteriors.") var subtractPriors = false
  @Flag(help: "Evaluate the averaged weights (evaluation.average) with statistics of their own.") var average = false
  @Option(help: "Evaluate the weights of this tensor file, with its statistics if it has any, else with those of the training data.")
  var weights: String?
  @OptionGroup var threads: ThreadCount
  @OptionGroup var overrides: Overrides

  func validate() throws {
    if average && weights != nil { throw ValidationError("--average and --weights each name the weights to evaluate: give one") }
  }

  func run() throws {
    let request = EvaluationRequest(
      checkpoint: checkpoint, data: data, labels: labels, posteriors: posteriors, subtractsPriors: subtractPriors,
      weights: average ? .averaged : weights.map { .file($0) } ?? .trained, overrides: overrides.set, threads: threads.threads)
    try onAllRanks("evaluate") { world, console in try evaluate(request, world: world, console: console) }
  }
}

struct Generate: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Print text from the language model of a checkpoint.")

  @Argument(help: "A checkpoint, a link to one, or a run directory.") var checkpoint: String
  @Option(help: "Text that comes first.") var prompt = ""
  @Option(help: "How many tokens to add.", transform: integer) var tokens = 100
  @Option(help: "1 draws from the model's distribution, 0 takes the most likely token.") var temperature = 1.0
  @Option(help: "Seed of the draws.", transform: integer) var seed: UInt64 = 1

  func run() throws {
    try onOneProcess("generate") { console in
      try generate(
        checkpoint: checkpoint, GenerationRequest(prompt: prompt, tokens: tokens, temperature: temperature, seed: seed),
        console: console)
    }
  }
}

struct Inspect: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show what a configuration, checkpoint, tensor file, Kaldi archive or run holds: shapes, counts, checksums.")

  @Argument(help: "The file or directory.") var path: String

  func run() throws { try onOneProcess("inspect") { console in try inspect(path, console: console) } }
}

struct Benchmark: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measure training throughput, the time of each phase of a step, and the share that it reaches of the machine's limit.")

  @Argument(help: "The configuration file.") var config: String
  @Option(help: "How many steps to time.", transform: integer) var steps = 20
  @Flag(help: "Print the figures as a JSON object on the last line.") var json = false
  @Flag(help: "Measure what messages between ranks cost, and predict steps on more ranks.") var communication = false
  @Option(help: "Speeds of a node's link to predict for, in Gb/s. (default: 10,25,100,200)") var link: String?
  @Option(help: "Microseconds from one node to another to predict for. (default: 5)") var latencyUs: Double?
  @Option(help: "Ranks of a node to predict for. (default: as in this run)", transform: integer) var ranksPerNode: Int?
  @Option(help: "Write a trace of the timed steps of all ranks to this file, for https://ui.perfetto.dev.", completion: .file(extensions: ["json"]))
  var trace: String?
  @OptionGroup var threads: ThreadCount
  @OptionGroup var overrides: Overrides

  func validate() throws {
    if trace == "" { throw ValidationError("--trace is empty") }
    if !communication && (link != nil || latencyUs != nil || ranksPerNode != nil) {
      throw ValidationError("--link, --latency-us and --ranks-per-node go with --communication")
    }
  }

  func run() throws {
    let networks = CommunicationRequest(links: link ?? "10,25,100,200", latency: latencyUs ?? 5, ranksPerNode: ranksPerNode)
    let request = BenchmarkRequest(
      configuration: config, overrides: overrides.set, steps: steps, json: json, communication: communication ? networks : nil,
      threads: threads.threads, trace: trace)
    try onAllRanks("benchmark") { world, console in try benchmark(request, world: world, console: console) }
  }
}

/// Runs a command that needs no other ranks, and no MPI. Of the ranks of mpirun, which are given the same command, the first does it and the others
/// end at once; tasks of other launchers, such as `srun sh -c …`, may each have been given one of their own.
func onOneProcess(_ command: String, _ body: (Console) throws -> Void) throws -> Never {
  if LaunchedJob.current?.isOfMPIRun == true && !Lockstep.isFirstRank { Glibc.exit(0) }
  Glibc.exit(runAlone(command) { try body(Console(isSilent: false)) })
}
