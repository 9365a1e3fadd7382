import DataParallel
import MPI
import Tensors

/// Reductions of gradients by the program's own reducer, outside a step.
struct GradientReduction {
  private let reducer: GradientReducer<Float>
  private let partials: [VectorView<Float>]
  private let world: Communicator
  /// Elements of the gradient.
  let count: Int

  /// - ranges: the messages, which cover the gradient from 0 on.
  init(_ context: RankContext, ranges: [Range<Int>], isReproducible: Bool) throws {
    let count = ranges.map(\.upperBound).max() ?? 0
    self.count = count
    world = context.world
    reducer = try GradientReducer(communicator: context.world, layout: context.layout, buckets: ranges, reproducible: isReproducible)
    let plan = context.layout.accumulationPlan(of: context.world.rank)
    partials = plan.subtreeSlots.map { _ in
      let partial = VectorView<Float>(zeros: count)
      // Sums of zeros stay zero however often they are summed; memory counts only once it has been written to.
      partial.fill(0)
      return partial
    }
  }

  var bytes: Int { count * MemoryLayout<Float>.size }

  /// The seconds of one reduction.
  func seconds() throws -> Double {
    try secondsOfAllRanks(world) {
      for bucket in reducer.buckets.indices { try reducer.start(bucket, flatPartials: partials, flatResult: partials[0]) }
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
