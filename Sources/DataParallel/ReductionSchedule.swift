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
  /// Elements that this rank sends to others: chunks of its partial sums, and its chunk of the sum.
  let sent: Int

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
    sent = partials.local.count * (count - chunk.count) + (partials.ranks - 1) * chunk.count
  }
}
