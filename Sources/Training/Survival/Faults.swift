import Glibc
import MPI
import NeuralNetwork
import Tensors

/// Faults for tests, which the environment asks for: `LOCKSTEP_FAULT=ACTION@SITE:rank=R,step=N[,NAME=VALUE]...`, several separated by `;`.
///
/// | action | does |
/// |---|---|
/// | `kill` | ends the process by SIGKILL |
/// | `stop` | stops it by SIGSTOP, as a host that hangs would |
/// | `throw` | fails with an error |
/// | `sleep`, `spin` | does nothing, or computes to no purpose, for `seconds=X`, 1 unless said |
/// | `nan` | writes a NaN into the first value of a tensor |
/// | `flip` | flips a bit, counted over the tensor from its first value's lowest |
/// | `full`, `tear` | refuses to write, or cuts a file (`FileFaults`) |
///
/// Sites: `step` before an update, `exchange` between backward and the wait for the gradients' sum, `update` after an update, `checkpoint`
/// before one is written, `validation` and `population` before those. A fault happens once, on rank R in step N, the number of the update that is
/// under way or done last. The tensor is one of the model's, of the optimiser's or a running average; the first of the model unless named.
/// Sites `write`, `rename` and `link` lie within the writing of a checkpoint, and are those of `FileFaults`.
struct Faults {
  enum Action: String, CaseIterable { case kill, stop, `throw`, sleep, spin, nan, flip, full, tear }
  enum Site: String, CaseIterable { case step, exchange, update, checkpoint, validation, population, write, rename, link }

  struct Fault: Equatable {
    var action: Action
    var site: Site
    var rank = 0
    var step = 1
    var tensor: String?
    var bit = 0
    var seconds = 1
    var file = CheckpointLayout.model
    var bytes = 0
    // How often it happens at most, at the sites of `FileFaults`.
    var times = Int.max

    /// Whether it lies within the writing of a checkpoint.
    var isOfFiles: Bool { site == .write || site == .rename || site == .link }

    /// Whether the action can happen at the site.
    var isPossible: Bool {
      switch action {
      case .kill, .stop, .throw, .sleep, .spin: true
      case .nan, .flip: !isOfFiles
      case .full: site == .write
      case .tear: site == .write || site == .rename
      }
    }

    /// Does to the process what the action says; nothing where it means something else.
    func befallProcess() {
      switch action {
      case .kill: Glibc.kill(getpid(), SIGKILL)
      case .stop: Glibc.kill(getpid(), SIGSTOP)
      case .sleep: Glibc.sleep(UInt32(seconds))
      case .spin:
        let start = ContinuousClock.now
        while ContinuousClock.now - start < .seconds(seconds) {}
      case .throw, .nan, .flip, .full, .tear: break
      }
    }
  }

  private(set) var pending: [Fault]

  /// The faults of `text` that are meant for `rank`.
  /// - Throws: `UsageError`.
  init(_ text: String, rank: Int) throws {
    pending = try text.split(separator: ";").map { try Self.parse(String($0)) }.filter { $0.rank == rank }
  }

  /// The faults that the environment asks for; nil where there are none for this rank.
  /// - Throws: `UsageError`.
  static func fromEnvironment(rank: Int) throws -> Faults? {
    guard let text = unsafe getenv("LOCKSTEP_FAULT") else { return nil }
    let faults = try Faults(unsafe String(cString: text), rank: rank)
    return faults.pending.isEmpty ? nil : faults
  }

  /// What the environments of all ranks ask for, each once, so that no run with faults passes for one without. All ranks call it together.
  static func asked(_ world: Communicator) throws -> [String] {
    let mine = unsafe getenv("LOCKSTEP_FAULT").map { unsafe String(cString: $0) } ?? ""
    let all = try world.allGather(bytes: Array(mine.utf8)).map { String(decoding: $0, as: UTF8.self) }
    return Set(all).subtracting([""]).sorted()
  }

  /// Those of the files of checkpoints; nil where there are none.
  var ofFiles: FileFaults? {
    let faults = pending.filter(\.isOfFiles)
    return faults.isEmpty ? nil : FileFaults(faults: faults)
  }

  private static func parse(_ text: String) throws -> Fault {
    func wrong(_ what: String) -> UsageError {
      UsageError(
        description: "LOCKSTEP_FAULT: '\(text)': \(what); allowed is ACTION@SITE:rank=R,step=N[,NAME=VALUE]... with the actions "
          + "\(Action.allCases.map(\.rawValue).joined(separator: ", ")) and the sites \(Site.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    let halves = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    let names = halves[0].split(separator: "@", omittingEmptySubsequences: false).map(String.init)
    guard names.count == 2, let action = Action(rawValue: names[0]), let site = Site(rawValue: names[1]) else { throw wrong("no such fault") }
    var fault = Fault(action: action, site: site)
    guard fault.isPossible else { throw wrong("no \(names[0]) happens there") }
    let links = [CheckpointLayout.latest, CheckpointLayout.best]
    if site == .link { fault.file = links[0] }
    for setting in halves.count == 2 ? halves[1].split(separator: ",") : [] {
      let parts = setting.split(separator: "=", maxSplits: 1).map(String.init)
      guard parts.count == 2 else { throw wrong("'\(setting)' is not NAME=VALUE") }
      let number = Int(parts[1]).flatMap { $0 >= 0 ? $0 : nil }
      switch (parts[0], number) {
      case ("rank", let number?): fault.rank = number
      case ("step", let number?): fault.step = number
      case ("bit", let number?): fault.bit = number
      case ("seconds", let number?) where number <= 86_400: fault.seconds = number
      case ("tensor", _): fault.tensor = parts[1]
      case ("file", _): fault.file = parts[1]
      case ("bytes", let number?): fault.bytes = number
      case ("times", let number?): fault.times = number
      default: throw wrong("'\(setting)' is unknown or no number from 0 up")
      }
    }
    if site == .link && !links.contains(fault.file) { throw wrong("there is no link '\(fault.file)'") }
    return fault
  }

  /// Lets the faults of `site` and `step` happen.
  /// - tensors: what can be damaged.
  /// - Throws: `InjectedFault`; `ImpossibleFault` for a tensor or bit that there is not.
  mutating func reach(_ site: Site, step: Int, tensors: () -> [NamedTensor]) throws {
    while let index = pending.firstIndex(where: { $0.site == site && $0.step == step }) {
      let fault = pending.remove(at: index)
      switch fault.action {
      case .kill, .stop, .sleep, .spin: fault.befallProcess()
      case .full, .tear: break
      case .throw: throw InjectedFault(fault: fault)
      case .nan, .flip: try damage(fault, tensors())
      }
    }
  }

  private func damage(_ fault: Fault, _ tensors: [NamedTensor]) throws {
    guard let tensor = fault.tensor.map({ name in tensors.first { $0.name == name } }) ?? tensors.first, fault.bit / 32 < tensor.values.count else {
      // This rank alone fails, so it is none of the errors that ranks agree on.
      throw ImpossibleFault(description: "LOCKSTEP_FAULT: no tensor \(fault.tensor ?? "at all") with bit \(fault.bit)")
    }
    let place = fault.action == .nan ? 0 : fault.bit / 32
    let value = tensor.values[place]
    tensor.values[place] = fault.action == .nan ? .nan : Float(bitPattern: value.bitPattern ^ 1 << UInt32(fault.bit % 32))
  }
}

/// A fault that cannot happen.
struct ImpossibleFault: ExitCodeError, CustomStringConvertible {
  var description: String
  var exitCode: Int32 { ExitCode.usage.rawValue }
}

/// A failure that the environment asked for.
struct InjectedFault: Error, CustomStringConvertible {
  var fault: Faults.Fault
  var description: String { "LOCKSTEP_FAULT asked for this failure at \(fault.site.rawValue) of step \(fault.step)" }
}
