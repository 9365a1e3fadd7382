import DataParallel
import MPI
import Tensors

/// Reductions of gradients by the program's own reducer, outside a step.
struct GradientReduction {
  private let reducer: GradientReducer<Float>
  private let world: Communicator
  /// Elements of the gradient.
  let count: Int
  /// Whether ranks of a node add through memory that they share.
  var sharesMemory: Bool { reducer.nodes != nil }

  /// - ranges: the messages, which cover the gradient from 0 on.
  init(_ context: RankContext, ranges: [Range<Int>], isReproducible: Bool) throws {
    count = ranges.map(\.upperBound).max() ?? 0
    world = context.world
    reducer = try GradientReducer(communicator: context.world, layout: context.layout, buckets: ranges, reproducible: isReproducible)
    // Sums of zeros stay zero however often they are summed; memory counts only once it has been written to.
    for partial in reducer.partials { partial.fill(0) }
  }

  var bytes: Int { count * MemoryLayout<Float>.size }

  /// The seconds of one reduction.
  func seconds() throws -> Double {
    try secondsOfAllRanks(world) {
      for bucket in reducer.buckets.indices { try reducer.start(bucket) }
      try reducer.waitAll()
    }
  }
}

/// The seconds that `body` takes when all ranks do it, time after time.
func secondsOfAllRanks(_ world: Communicator, _ body: () throws -> Void) throws -> Double {
  let rate = try rateOfAllRanks(world) {
    try body()
    return 1
  }
  return Double(world.size) / rate
}
