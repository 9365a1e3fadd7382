import DataParallel
import MPI
import NeuralNetwork
import Tensors

extension StatisticsExchange: StatisticsReducing {}

/// What a rank needs to work with the others: who it is, which shards it has, and the exchanges.
final class RankContext {
  let world: Communicator
  let layout: ShardLayout
  /// The statistics groups of the configuration.
  let groups: ShardGroups
  /// All shards as one group: for population statistics and the running averages of smaller groups.
  let allShards: ShardGroups
  let statistics: StatisticsExchange<Float>
  let globalStatistics: StatisticsExchange<Float>
  /// Losses and requests, summed over shards.
  let values: ShardValues

  /// The shards `localShards` of this rank.
  var localShards: Range<Int> { groups.local }
  var isFirst: Bool { world.rank == 0 }

  /// - shards: S, at least one a rank.
  /// - groupSize: shards of a statistics group; S for global statistics.
  init(world: Communicator, shards: Int, groupSize: Int) throws {
    self.world = world
    layout = ShardLayout(shards: shards, ranks: world.size)
    let local = layout.run(of: world.rank)
    let runs = stride(from: 0, to: shards, by: groupSize).map { $0..<min(shards, $0 + groupSize) }
    values = try ShardValues(communicator: world, layout: layout)
    groups = ShardGroups(shards: shards, local: local, groups: runs)
    allShards = ShardGroups(shards: shards, local: local, groups: [0..<shards])
    statistics = try StatisticsExchange(communicator: world, layout: layout, groups: runs)
    globalStatistics = groups.isGlobal ? statistics : try StatisticsExchange(communicator: world, layout: layout, groups: [0..<shards])
  }

  /// The statistics groups of a resolved configuration.
  convenience init(world: Communicator, _ configuration: TrainingConfiguration) throws {
    let shards = configuration.training.shards ?? world.size
    let groupSize =
      switch configuration.normalization.scope {
      case .local: 1
      case .global: shards
      case .group(let k): k
      }
    try self.init(world: world, shards: shards, groupSize: groupSize)
  }
}
