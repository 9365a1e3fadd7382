import MPI
import Tensors

/// Collects and sums a few values of every shard, such as losses and counts of frames. All ranks make the same calls in the same order.
public final class ShardValues {
  private let communicator: Communicator
  private let layout: ShardLayout
  private let merges: [(into: Int, from: Int)]
  // Where the values of all shards arrive, for each number of values a shard that was asked for.
  private var memory: [Int: (all: MatrixView<Double>, blocks: BlockLayout)] = [:]

  /// All ranks call it together.
  /// - Throws: `MPIError`.
  public init(communicator: Communicator, layout: ShardLayout) throws(MPIError) {
    precondition(layout.ranks == communicator.size, "a layout for \(layout.ranks) ranks among \(communicator.size)")
    self.communicator = communicator.size > 1 ? try communicator.duplicate() : communicator
    self.layout = layout
    merges = layout.tree.merges(of: (0..<layout.shards).map { $0..<$0 + 1 })
  }

  /// The sum along the tree of one value a shard; the same bits on every rank and every number of ranks.
  /// - local: a value for each shard of this rank.
  /// - Throws: `MPIError`.
  public func sum(_ local: [Double]) throws(MPIError) -> Double { try sums(local.map { [$0] })[0] }

  /// Several sums in one message.
  /// - local: for each shard of this rank its values, equally many for all shards.
  /// - Throws: `MPIError`.
  public func sums(_ local: [[Double]]) throws(MPIError) -> [Double] {
    let width = local.first?.count ?? 0
    precondition(local.allSatisfy { $0.count == width }, "shards with different numbers of values")
    return try sums(VectorView(local.flatMap { $0 }).matrix(rows: local.count, columns: width)).array
  }

  /// The same from and into memory that is there: after the first call of a width nothing is allocated.
  /// - local: the values of this rank's shards, [local shards, n]; it may be overwritten.
  /// - Returns: the sums [n], until the next call.
  /// - Throws: `MPIError`.
  public func sums(_ local: MatrixView<Double>) throws(MPIError) -> VectorView<Double> {
    precondition(local.rows == layout.run(of: communicator.rank).count, "values of other shards")
    var all = local
    if communicator.size > 1 {
      let (target, blocks) = try room(for: local.columns)
      try communicator.allGatherV(local.vector, into: target.vector, blocks: blocks)
      all = target
    }
    for merge in merges { all[merge.into].add(all[merge.from]) }
    return all[0]
  }

  private func room(for width: Int) throws(MPIError) -> (all: MatrixView<Double>, blocks: BlockLayout) {
    if let known = memory[width] { return known }
    let blocks = try BlockLayout(counts: (0..<layout.ranks).map { layout.run(of: $0).count * width })
    let new = (all: MatrixView<Double>(zeros: layout.shards, width), blocks: blocks)
    memory[width] = new
    return new
  }

  /// The integers of all shards on every rank, shard by shard, such as frame counts [S × steps].
  /// - local: the integers of this rank's shards, equally many for all shards.
  /// - Throws: `MPIError`.
  public func gather(_ local: [Int]) throws(MPIError) -> [Int] {
    let all: VectorView<Int64> = try gather(local.map { Int64($0) })
    return all.array.map { Int($0) }
  }

  private func gather<T: MPIDatatype>(_ local: [T]) throws(MPIError) -> VectorView<T> {
    let shards = layout.run(of: communicator.rank).count
    precondition(local.count % shards == 0, "\(local.count) values for \(shards) shards")
    let mine = VectorView(local)
    if communicator.size == 1 { return mine }
    let width = local.count / shards
    let blocks = try BlockLayout(counts: (0..<layout.ranks).map { layout.run(of: $0).count * width })
    let all = VectorView<T>(zeros: blocks.extent)
    try communicator.allGatherV(mine, into: all, blocks: blocks)
    return all
  }
}
