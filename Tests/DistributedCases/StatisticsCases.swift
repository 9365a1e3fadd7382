import DataParallel
import MPI
import Tensors

/// Moments and sums over groups, in both forms of messages, against the same merges in one process.
func statistics<S: CommunicableScalar>(_ type: S.Type, _ world: Communicator) throws {
  for shards in Set([world.size, world.size + 1, 8, 11]).filter({ $0 >= world.size }).sorted() {
    let layout = ShardLayout(shards: shards, ranks: world.size)
    for groups in groupings(shards) {
      for smallMessage in [0, 1 << 30] {
        let exchange = try StatisticsExchange<S>(
          communicator: world, layout: layout, groups: groups, smallMessage: smallMessage)
        for (seed, (steps, features)) in [(1, 1), (3, 7), (5, 40), (4, 100), (1, 0), (3, 7)].enumerated() {
          let sample = StatisticsCase<S>(layout: layout, rank: world.rank, groups: groups, steps: steps, features: features, seed: seed)
          try sample.checkMoments(exchange)
          try sample.checkSums(exchange)
        }
        try expect(exchange.seconds > 0, "no time was counted")
      }
    }
  }
}

/// local, global, groups of 2 and 3 (the last may be shorter), and groups of all sizes.
private func groupings(_ shards: Int) -> [[Range<Int>]] {
  var growing: [Range<Int>] = []
  var start = 0
  while start < shards {
    let end = min(start + growing.count + 1, shards)
    growing.append(start..<end)
    start = end
  }
  func every(_ k: Int) -> [Range<Int>] { stride(from: 0, to: shards, by: k).map { $0..<min($0 + k, shards) } }
  return [every(1), every(shards), every(2), every(3), growing]
}

private struct StatisticsCase<S: CommunicableScalar> {
  let layout: ShardLayout
  let rank: Int
  let groups: [Range<Int>]
  let steps: Int
  let features: Int
  let seed: Int

  var columns: Int { steps * features }
  var run: Range<Int> { layout.run(of: rank) }

  /// Uneven, with zeros, and with whole shards at zero.
  func count(_ shard: Int, _ step: Int) -> Int {
    seed == 3 ? 4 : shard % 5 == 2 ? 0 : max(0, (shard * 7 + step * 3 + seed) % 6 - 1)
  }

  func values(_ shard: Int, _ kind: Int) -> VectorView<S> {
    let vector: VectorView<S> = shardVector(shard + 100 * kind, columns, seed: seed)
    if kind == 1 { for i in 0..<columns { vector[i] = abs(vector[i]) } }
    return vector
  }

  /// Rows with a gap between them.
  func rows(_ kind: Int) -> MatrixView<S> {
    let matrix = MatrixView<S>(zeros: run.count, columns + 3).columns(0..<columns)
    for (row, shard) in run.enumerated() { matrix[row].copy(from: values(shard, kind)) }
    return matrix
  }

  func checkMoments(_ exchange: StatisticsExchange<S>) throws {
    let counts = (0..<layout.shards).flatMap { shard in (0..<steps).map { count(shard, $0) } }
    let (mean, squares) = (rows(0), rows(1))
    try exchange.combineMoments(mean: mean, squares: squares, counts: counts)
    for (row, shard) in run.enumerated() {
      let expected = moments(of: groups.first { $0.contains(shard) }!)
      try expect(mean[row].array, equals: expected.mean.array, "means, \(self)")
      try expect(squares[row].array, equals: expected.squares.array, "squares, \(self)")
    }
  }

  func checkSums(_ exchange: StatisticsExchange<S>) throws {
    let sums = rows(2)
    try exchange.combineSums(sums)
    for (row, shard) in run.enumerated() {
      let expected = serialTree(groups.first { $0.contains(shard) }!, leaf: { values($0, 2).array }) { zip($0, $1).map { $0 + $1 } }
      try expect(sums[row].array, equals: expected, "sums, \(self)")
    }
  }

  /// The group's moments, merged step by step in one process. Depends on the tree starting at the group's first shard.
  func moments(of group: Range<Int>) -> (counts: [Int], mean: VectorView<S>, squares: VectorView<S>) {
    let origin = group.lowerBound
    return serialTree(0..<group.count, leaf: { leaf in
      ((0..<steps).map { count(origin + leaf, $0) }, values(origin + leaf, 0), values(origin + leaf, 1))
    }) { (a: (counts: [Int], mean: VectorView<S>, squares: VectorView<S>), b) in
      for step in 0..<steps {
        let range = step * features..<(step + 1) * features
        mergeMoments(
          count: a.counts[step], mean: a.mean[range], squares: a.squares[range],
          otherCount: b.counts[step], otherMean: b.mean[range], otherSquares: b.squares[range])
      }
      return (zip(a.counts, b.counts).map { $0 + $1 }, a.mean, a.squares)
    }
  }
}
