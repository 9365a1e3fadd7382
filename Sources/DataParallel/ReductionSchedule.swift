import MPI
import Tensors

/// Who sends which partial sums to whom in a reduce-scatter over ranks, for one vector length.
///
/// Rank `q` owns chunk `q` of the vector and receives that chunk of every partial sum of every other rank. A rank whose run of shards is not a
/// whole subtree holds several partial sums: round `k` of the exchange carries everybody's `k`-th.
final class ReductionSchedule {
  /// One exchange.
  struct Round {
    let send: BlockLayout
    let receive: BlockLayout
  }

  /// Length of the vector.
  let count: Int
  /// The chunk that this rank owns.
  let chunk: Range<Int>
  let rounds: [Round]
  /// The chunks of all ranks, to put the sum together.
  let chunks: BlockLayout

  /// - Throws: `MPIError` for a vector too long for one message.
  init(count: Int, partials: PartialSums) throws(MPIError) {
    let ranges = DataParallel.chunks(of: count, ranks: partials.ranks)
    let chunk = ranges[partials.rank]
    self.count = count
    self.chunk = chunk
    chunks = try BlockLayout(counts: ranges.map(\.count), displacements: ranges.map(\.lowerBound))
    var rounds: [Round] = []
    for k in 0..<partials.rounds {
      let sends = ranges.indices.map { k < partials.local.count && $0 != partials.rank ? ranges[$0].count : 0 }
      let places = ranges.indices.map { k < partials.counts[$0] ? partials.place(rank: $0, k) : nil }
      rounds.append(
        Round(
          send: try BlockLayout(counts: sends, displacements: ranges.map(\.lowerBound)),
          receive: try BlockLayout(
            counts: places.map { $0 == nil ? 0 : chunk.count }, displacements: places.map { ($0 ?? 0) * chunk.count })))
    }
    self.rounds = rounds
  }
}

/// The partial sums that ranks hold before communication: the maximal subtrees of their runs, numbered over all ranks in the order of shards.
struct PartialSums {
  let rank: Int
  let ranks: Int
  /// Number of partial sums of each rank.
  let counts: [Int]
  /// The numbers of this rank's partial sums.
  let local: Range<Int>
  /// Additions that combine all partial sums into the one at index 0.
  let merges: [(into: Int, from: Int)]

  init(layout: ShardLayout, rank: Int) {
    let subtrees = (0..<layout.ranks).map { layout.tree.maximalSubtrees(of: layout.run(of: $0)) }
    self.rank = rank
    ranks = layout.ranks
    counts = subtrees.map(\.count)
    let start = counts[..<rank].reduce(0, +)
    local = start..<start + counts[rank]
    merges = layout.tree.merges(of: subtrees.flatMap { $0 })
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
