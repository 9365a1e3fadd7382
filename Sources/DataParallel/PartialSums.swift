import Tensors

/// The partial sums that ranks, or nodes as a whole, hold before they communicate: the maximal subtrees of their runs of shards, numbered
/// over all of them in the order of shards.
struct PartialSums {
  let rank: Int
  let ranks: Int
  /// Number of partial sums of each rank.
  let counts: [Int]
  /// The numbers of this rank's partial sums.
  let local: Range<Int>
  /// Additions that combine all partial sums into the one at index 0.
  let merges: [(into: Int, from: Int)]

  /// - runs: the shards of each rank, consecutive and in the order of ranks.
  init(tree: ReductionTree, runs: [Range<Int>], rank: Int) {
    let subtrees = runs.map(tree.maximalSubtrees)
    self.rank = rank
    ranks = runs.count
    counts = subtrees.map(\.count)
    let start = counts[..<rank].reduce(0, +)
    local = start..<start + counts[rank]
    merges = tree.merges(of: subtrees.flatMap { $0 })
  }

  /// Exchanges needed: the largest number of partial sums that a rank holds.
  var rounds: Int { counts.max() ?? 0 }

  /// Number of partial sums of other ranks.
  var remote: Int { counts.reduce(0, +) - local.count }

  /// Place of a partial sum among the remote ones, in the order of shards; nil for those of this rank.
  func place(_ number: Int) -> Int? {
    local.contains(number) ? nil : number < local.lowerBound ? number : number - local.count
  }

  /// Place of the `k`-th partial sum of a rank.
  func place(rank: Int, _ k: Int) -> Int? { place(counts[..<rank].reduce(0, +) + k) }
}
