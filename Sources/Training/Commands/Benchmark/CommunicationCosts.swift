import DataParallel
import MPI
import NeuralNetwork
import Tensors

/// The collectives of training, measured between the ranks of this run.
struct CommunicationCosts {
  /// One collective at several sizes, and the line through them.
  struct Collective {
    let name: String
    /// Bytes a rank, and seconds.
    let samples: [(bytes: Double, seconds: Double)]
    let cost: LinearCost

    init(_ name: String, _ samples: [(bytes: Double, seconds: Double)]) {
      self.name = name
      self.samples = samples
      cost = LinearCost(fitting: samples)
    }
  }

  /// In the order of `Collective`s that `ScalingModel.Costs` has.
  let reduction, wholeStatistics, chunkedStatistics, values: Collective
  /// The reduction of a step's whole gradient.
  let gradient: (bytes: Int, messages: Int, seconds: Double)
  let model: ScalingModel.Costs

  var all: [Collective] { [reduction, wholeStatistics, chunkedStatistics, values] }

  /// Measures all of them; all ranks, two or more, call it together. The gradients of `step` are lost.
  /// - gradient: the reduction of a step's whole gradient.
  init(_ step: TrainingStep, _ context: RankContext, gradient: (bytes: Int, messages: Int, seconds: Double)) throws {
    self.gradient = gradient
    reduction = try Self.reduction(step.gradients, context.world)
    let limit = Double(StatisticsExchange<Float>.smallMessage), records = Self.records(context.layout)
    // Bytes of a rank's record up to which all records together travel whole.
    let longest = limit / Double(records)
    wholeStatistics = try Self.statistics("statistics, one message", context, bytes: [1 / 64, 1 / 16, 1 / 4, 1].map { $0 * longest })
    chunkedStatistics = try Self.statistics("statistics, in chunks", context, bytes: [2, 8, 32].map { $0 * longest })
    values = try Self.values(context)
    // All messages of a step are more than the cache holds where single ones are not: the gradient itself says what a byte costs.
    let latency = reduction.cost.latency
    let perByte = max(0, gradient.seconds - Double(gradient.messages) * latency) / Double(gradient.bytes)
    model = ScalingModel.Costs(
      ranks: context.world.size, reduction: LinearCost(latency: latency, secondsPerByte: perByte),
      sharesMemory: step.gradients.sharesMemory, wholeStatistics: wholeStatistics.cost, chunkedStatistics: chunkedStatistics.cost,
      smallMessage: limit, values: values.cost, wireShare: step.gradients.wireShare)
  }

  /// Records of all ranks in one exchange: their maximal subtrees of shards.
  private static func records(_ layout: ShardLayout) -> Int {
    (0..<layout.ranks).reduce(0) { $0 + layout.accumulationPlan(of: $1).subtrees.count }
  }

  /// The trainer's own reducer and its longest message, and parts of it.
  private static func reduction(_ gradients: ShardGradients, _ world: Communicator) throws -> Collective {
    gradients.clear()
    let longest = gradients.longestCount
    // Down to a cache line.
    let counts = [4096, 512, 64, 8, 1].map { longest / $0 }.filter { $0 >= 16 }
    return Collective("gradient reduction", try (counts.isEmpty ? [longest] : counts).map { count in
      (Double(count * MemoryLayout<Float>.size), try secondsOfAllRanks(world) { try gradients.reduceLongest(count: count) })
    })
  }

  /// Moments of all shards as one group.
  private static func statistics(_ name: String, _ context: RankContext, bytes: [Double]) throws -> Collective {
    let shards = context.localShards.count, counts = Array(repeating: 2, count: context.layout.shards)
    return Collective(name, try bytes.map { bytes in
      let columns = max(1, Int(bytes) / (2 * MemoryLayout<Float>.size))
      let mean = MatrixView<Float>(zeros: shards, columns), squares = MatrixView<Float>(zeros: shards, columns)
      let seconds = try secondsOfAllRanks(context.world) {
        try context.globalStatistics.combineMoments(mean: mean, squares: squares, counts: counts)
      }
      return (Double(2 * columns * MemoryLayout<Float>.size), seconds)
    })
  }

  /// Sums of a few to many values of every shard.
  private static func values(_ context: RankContext) throws -> Collective {
    let shards = context.localShards.count, most = context.layout.run(of: 0).count
    return Collective("values of shards", try [1, 8, 64, 512].map { width in
      let values = Array(repeating: Array(repeating: 0.0, count: width), count: shards)
      let seconds = try secondsOfAllRanks(context.world) { _ = try context.values.sums(values) }
      return (Double(most * width * MemoryLayout<Double>.size), seconds)
    })
  }
}
