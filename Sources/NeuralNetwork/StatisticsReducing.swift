import Tensors

/// Combines statistics over the shards of each statistics group. The network calls it and does not know what carries the messages.
public protocol StatisticsReducing<Scalar>: AnyObject {
  associatedtype Scalar: Tensors.Scalar

  /// Replaces each local shard's moments by those of its group.
  /// - mean, squares: [local shards, steps · F], time-major; mean and M2. Rows may have gaps between them.
  /// - counts: frames of every shard and step, [shards, steps], of all ranks.
  func combineMoments(mean: MatrixView<Scalar>, squares: MatrixView<Scalar>, counts: [Int]) throws

  /// Replaces each local shard's row by the sum over its group. [local shards, n], rows may have gaps between them.
  func combineSums(_ sums: MatrixView<Scalar>) throws
}

/// The shards of the global minibatch, the consecutive ones that this rank holds, and the groups that share statistics.
public struct ShardGroups: Equatable, Sendable {
  /// S.
  public let shards: Int
  /// The shards of this rank.
  public let local: Range<Int>
  /// Consecutive runs that cover all shards.
  public let groups: [Range<Int>]

  /// - groups: consecutive runs that cover `0 ..< shards`.
  public init(shards: Int, local: Range<Int>, groups: [Range<Int>]) {
    precondition(groups.first?.lowerBound == 0 && groups.last?.upperBound == shards, "groups that do not cover the shards")
    precondition(zip(groups, groups.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound }, "groups with gaps")
    self.shards = shards
    self.local = local
    self.groups = groups
  }

  /// The group of a shard.
  public func group(of shard: Int) -> Range<Int> {
    guard let group = groups.first(where: { $0.contains(shard) }) else { preconditionFailure("no group for shard \(shard)") }
    return group
  }

  /// Whether all shards share one group: then every rank holds the statistics of the whole minibatch.
  public var isGlobal: Bool { groups.count == 1 }
}

/// How many unpadded frames each shard has at each time step of a minibatch.
public struct FrameCounts: Sendable {
  /// T.
  public let steps: Int
  /// [S, T].
  public let perStep: [Int]
  /// [S]: all steps together.
  public let perShard: [Int]
  /// For each step its counts, [T][S].
  public let ofStep: [[Int]]
  /// For each local shard the frames of its group at each step, [local][T].
  public let groupPerStep: [[Int]]
  /// For each local shard the frames of its group, [local].
  public let groupTotal: [Int]
  /// [S, T], but 0 for the shards of a group that has fewer than two frames at a step, and so no statistics of it.
  public let pooledPerStep: [Int]
  /// [S], but 0 for the shards of a group that has fewer than two frames.
  public let pooledPerShard: [Int]
  /// For each step the frames that have statistics, [T]: what the statistics of groups are weighted by.
  public let pooledOfStep: [Int]
  /// Frames that have statistics over all steps.
  public let pooledTotal: Int
  /// All frames.
  public let total: Int

  /// Counts [S, T], row-major.
  public init(perStep: [Int], steps: Int, groups: ShardGroups) {
    precondition(perStep.count == groups.shards * steps, "counts of another shape")
    self.steps = steps
    self.perStep = perStep
    func count(_ shards: Range<Int>, _ step: Int) -> Int { shards.reduce(0) { $0 + perStep[$1 * steps + step] } }
    perShard = (0..<groups.shards).map { perStep[$0 * steps..<($0 + 1) * steps].reduce(0, +) }
    ofStep = (0..<steps).map { t in (0..<groups.shards).map { perStep[$0 * steps + t] } }
    groupPerStep = groups.local.map { shard in
      let group = groups.group(of: shard)
      return (0..<steps).map { count(group, $0) }
    }
    groupTotal = groupPerStep.map { $0.reduce(0, +) }
    var pooledPerStep = perStep, pooledPerShard = perShard
    for group in groups.groups {
      for t in 0..<steps where count(group, t) < 2 {
        for shard in group { pooledPerStep[shard * steps + t] = 0 }
      }
      if (0..<steps).reduce(0, { $0 + count(group, $1) }) < 2 { for shard in group { pooledPerShard[shard] = 0 } }
    }
    self.pooledPerStep = pooledPerStep
    self.pooledPerShard = pooledPerShard
    pooledOfStep = (0..<steps).map { t in (0..<groups.shards).reduce(0) { $0 + pooledPerStep[$1 * steps + t] } }
    pooledTotal = pooledPerShard.reduce(0, +)
    total = perStep.reduce(0, +)
  }
}
