import MPI
import SequenceData

/// The arguments of `lockstep launch`.
public struct LaunchRequest: Sendable {
  /// The most ranks.
  public var ranks: Int
  /// How many times the run is started again.
  public var restarts: Int
  /// Hosts and their slots; nil: this host alone, or those that mpirun finds by itself.
  public var hosts: [LaunchHost]?
  /// Further options of mpirun.
  public var options: [String]
  /// The program and its arguments.
  public var program: String
  public var arguments: [String]
  /// What the arguments ask for.
  public var training: TrainRequest

  /// The arguments as the command line gives them.
  public init(
    ranks: Int, restarts: Int, hosts: [LaunchHost]?, options: [String], program: String, arguments: [String], training: TrainRequest
  ) {
    self.ranks = ranks
    self.restarts = restarts
    self.hosts = hosts
    self.options = options
    self.program = program
    self.arguments = arguments
    self.training = training
  }

  /// The command that starts the run.
  /// - hosts: those that can be reached; nil where none are named.
  /// - isAgain: whether the run has been started before.
  /// - Returns: nil where no host is left.
  package func command(hosts: [LaunchHost]?, isAgain: Bool) -> [String]? {
    let slots = hosts.map { $0.reduce(0) { $0 + $1.slots } } ?? ranks
    if slots == 0 { return nil }
    var command = ["mpirun", "-n", "\(min(ranks, slots))"]
    if let hosts { command += MPILibrary.current.options(hosts: hosts.map { ($0.name, $0.slots) }) }
    command += options + [program] + arguments
    if isAgain && !training.resume { command.append("--resume") }
    return command
  }
}

/// A host with room for so many ranks.
public struct LaunchHost: Equatable, Sendable {
  public var name: String
  public var slots: Int

  /// A host with `slots` from 1.
  public init(name: String, slots: Int) {
    self.name = name
    self.slots = slots
  }

  /// Reads `a:2,b:2,c`; a host without a number has one slot. Nil for what is no such list.
  public static func list(_ text: String) -> [LaunchHost]? {
    var hosts: [LaunchHost] = []
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      let halves = part.split(separator: ":", omittingEmptySubsequences: false)
      guard halves.count <= 2, !halves[0].isEmpty, !halves[0].hasPrefix("-"), !halves[0].contains(where: \.isWhitespace),
        InvisibleCharacter.first(in: String(halves[0])) == nil
      else { return nil }
      guard let slots = halves.count == 2 ? Int(halves[1]) : 1, (1...65_536).contains(slots) else { return nil }
      hosts.append(LaunchHost(name: String(halves[0]), slots: slots))
    }
    return hosts
  }
}

/// The first character of a text that cannot be seen, in words for the end of a message; empty where there is none.
public func remark(onInvisible text: String) -> String {
  InvisibleCharacter.first(in: text).map { "; it has \($0.character) as character \($0.column)" } ?? ""
}
