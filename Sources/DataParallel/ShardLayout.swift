import Tensors

/// Which shards of the global minibatch each rank computes: consecutive runs whose lengths differ by at most one, the longer ones first.
public struct ShardLayout: Sendable, Equatable {
  /// Number of shards, S.
  public let shards: Int
  /// Number of ranks, P ≤ S.
  public let ranks: Int

  /// S shards over P ranks, 1 ≤ P ≤ S.
  public init(shards: Int, ranks: Int) {
    precondition(ranks >= 1 && shards >= ranks, "\(shards) shards for \(ranks) ranks")
    self.shards = shards
    self.ranks = ranks
  }

  /// The shards of a rank; never empty.
  public func run(of rank: Int) -> Range<Int> {
    precondition(rank >= 0 && rank < ranks, "no rank \(rank) among \(ranks)")
    let start = rank * (shards / ranks) + min(rank, shards % ranks)
    return start..<start + shards / ranks + (rank < shards % ranks ? 1 : 0)
  }

  /// The shards of all ranks.
  var runs: [Range<Int>] { (0..<ranks).map(run) }

  /// The tree along which shards are summed.
  public var tree: ReductionTree { ReductionTree(leaves: shards) }

  /// How a rank sums its own shards one after another.
  public func accumulationPlan(of rank: Int) -> AccumulationPlan { AccumulationPlan(tree: tree, run: run(of: rank)) }
}

/// Cuts `count` elements into one chunk a rank, nearly equal and, but for the end, whole cache lines.
func chunks(of count: Int, ranks: Int) -> [Range<Int>] { (0..<ranks).map { chunk($0, of: count, ranks: ranks) } }

/// The chunk of one rank.
/// - unit: what is not cut, but for the end: elements of a cache line, unless more belong together.
func chunk(_ rank: Int, of count: Int, ranks: Int, unit: Int = 16) -> Range<Int> {
  let units = (count + unit - 1) / unit
  let start = rank * (units / ranks) + min(rank, units % ranks)
  let end = start + units / ranks + (rank < units % ranks ? 1 : 0)
  return min(start * unit, count)..<min(end * unit, count)
}
