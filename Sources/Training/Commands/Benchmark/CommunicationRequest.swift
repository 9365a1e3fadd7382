/// What `lockstep benchmark --communication` is asked for.
public struct CommunicationRequest: Sendable {
  /// Speeds of a node's link in Gb/s, separated by commas.
  public var links: String
  /// Microseconds from one node to another.
  public var latency: Double
  /// Ranks of a node; nil for as many as in this run.
  public var ranksPerNode: Int?

  /// The arguments as the command line gives them.
  public init(links: String, latency: Double, ranksPerNode: Int?) {
    self.links = links
    self.latency = latency
    self.ranksPerNode = ranksPerNode
  }

  /// The networks that are asked about.
  struct Networks {
    /// Gb/s.
    var links: [Double]
    /// Seconds.
    var latency: Double
    var ranksPerNode: Int?
  }

  /// - Throws: `UsageError` for values that no network has, and for a single rank.
  func checked(ranks: Int) throws -> Networks {
    let speeds = links.split(separator: ",", omittingEmptySubsequences: false).map { Double($0.filter { $0 != " " }) }
    guard !speeds.isEmpty, speeds.allSatisfy({ $0.map { $0 > 0 && $0 <= 1e6 } ?? false }) else {
      throw UsageError(description: "--link is \(links); allowed: speeds in Gb/s above 0, up to 1e6, separated by commas, as in 10,25,100")
    }
    guard latency >= 0 && latency <= 1e6 else {
      throw UsageError(description: "--latency-us is \(latency); allowed: 0 to 1e6 microseconds")
    }
    if let ranksPerNode, ranksPerNode < 1 || ranksPerNode > 65536 {
      throw UsageError(description: "--ranks-per-node is \(ranksPerNode); allowed: 1 to 65536")
    }
    guard ranks >= 2 else {
      throw UsageError(description: "--communication measures messages between ranks: run it with mpirun -n 2 or more")
    }
    return Networks(links: speeds.compactMap(\.self), latency: latency * 1e-6, ranksPerNode: ranksPerNode)
  }
}
