import DataParallel
import MPI
import Tensors

/// This rank's partial sums: shards computed by the plan, as training does.
private func partials(_ layout: ShardLayout, _ rank: Int, _ n: Int, seed: Int) -> [VectorView<Float>] {
  let plan = layout.accumulationPlan(of: rank)
  let slots = (0..<plan.slotCount).map { _ in VectorView<Float>(zeros: n) }
  for step in plan.steps {
    slots[step.slot].copy(from: shardVector(step.shard, n, seed: seed))
    for merge in step.merges { slots[merge.into].add(slots[merge.from]) }
  }
  return plan.subtreeSlots.map { slots[$0] }
}

private func treeSum(_ shards: Int, _ n: Int, seed: Int) -> [Float] {
  serialTree(0..<shards, leaf: { (shardVector($0, n, seed: seed) as VectorView<Float>).array }) { zip($0, $1).map { $0 + $1 } }
}

/// Numbers of shards with runs of equal and of different lengths, whole subtrees and not.
private func shardCounts(_ ranks: Int) -> [Int] {
  Set([ranks, ranks + 1, 2 * ranks - 1, 8, 13, 16]).filter { $0 >= ranks }.sorted()
}

func reducer(_ world: Communicator) throws {
  for shards in shardCounts(world.size) {
    let layout = ShardLayout(shards: shards, ranks: world.size)
    let sizes = [0, 1, 15, 16, 17, 129, 1000] + (shards == 13 ? [20_011] : [])
    let reducer = try FixedOrderReducer<Float>(communicator: world, layout: layout, capacity: sizes.max()!)
    for (seed, n) in (sizes + [17, 1]).enumerated() {
      let mine = partials(layout, world.rank, n, seed: seed)
      // The result may lie in the memory of a partial sum.
      let result = seed % 3 == 0 ? VectorView<Float>(zeros: n) : seed % 3 == 1 ? mine[0] : mine[mine.count - 1]
      try reducer.start(partials: mine, result: result)
      if seed % 2 == 0 { while try !reducer.poll() {} }
      try reducer.wait()
      try expect(!reducer.isInFlight, "still in flight")
      try expect(
        result.array.map(\.bitPattern), equals: treeSum(shards, n, seed: seed).map(\.bitPattern), "sum of \(n) over \(shards) shards")
    }
  }
}

func unorderedReducer(_ world: Communicator) throws {
  for shards in shardCounts(world.size) {
    let layout = ShardLayout(shards: shards, ranks: world.size)
    let reducer = try FixedOrderReducer<Float>(communicator: world, layout: layout, capacity: 1000, reproducible: false)
    for n in [0, 1, 1000] {
      let result = VectorView<Float>(zeros: n)
      try reducer.start(partials: partials(layout, world.rank, n, seed: 5), result: result)
      try reducer.wait()
      // Each of at most 16 additions rounds a sum of at most 16 · 128 by half an ulp.
      let tolerance: Float = 16 * 2048 * Float.ulpOfOne / 2
      for (found, expected) in zip(result.array, treeSum(shards, n, seed: 5)) {
        try expect(abs(found - expected) <= tolerance, "\(found) instead of \(expected)")
      }
    }
  }
}

/// Several buckets in flight, started, polled and waited for in another order on every rank.
func buckets(_ world: Communicator) throws {
  let shards = world.size + 3
  let layout = ShardLayout(shards: shards, ranks: world.size)
  let bounds = [0, 10, 10, 2000, 2001, 5000, 5100]
  let ranges = zip(bounds, bounds.dropFirst()).map { $0..<$1 }
  let reducer = try GradientReducer<Float>(communicator: world, layout: layout, buckets: ranges)
  var random = SystemRandomNumberGenerator()
  for seed in 0..<6 {
    let mine = partials(layout, world.rank, bounds.last!, seed: seed)
    let result = seed % 2 == 0 ? mine[0] : VectorView<Float>(zeros: bounds.last!)
    for bucket in ranges.indices.shuffled(using: &random) {
      try reducer.start(bucket, flatPartials: mine, flatResult: result)
      for _ in 0..<Int.random(in: 0..<3, using: &random) { try reducer.poll() }
    }
    for bucket in ranges.indices.shuffled(using: &random).prefix(seed) { try reducer.wait(bucket) }
    try reducer.waitAll()
    try expect(try reducer.poll(), "something is still in flight")
    try expect(
      result.array.map(\.bitPattern), equals: treeSum(shards, bounds.last!, seed: seed).map(\.bitPattern), "round \(seed)")
  }
  try expect(reducer.secondsWaited >= 0, "negative time")

  // A bucket with fewer elements than it has room for, beside a full one.
  let few = partials(layout, world.rank, 33, seed: 7)
  let sum = VectorView<Float>(zeros: 33)
  try reducer.start(2, partials: few, result: sum)
  try reducer.start(5, partials: partials(layout, world.rank, 100, seed: 8), result: VectorView(zeros: 100))
  try reducer.waitAll()
  try expect(sum.array, equals: treeSum(shards, 33, seed: 7), "a short vector")

  // A run that fails leaves its reducer in flight: it goes away without a trap, and without harm to the others.
  do {
    let failing = try GradientReducer<Float>(communicator: world, layout: layout, buckets: ranges)
    let mine = partials(layout, world.rank, bounds.last!, seed: 0)
    try failing.start(4, flatPartials: mine, flatResult: mine[0])
  }
  try world.barrier()
}

func shardValues(_ world: Communicator) throws {
  for shards in shardCounts(world.size) {
    let layout = ShardLayout(shards: shards, ranks: world.size)
    let run = layout.run(of: world.rank)
    let values = try ShardValues(communicator: world, layout: layout)
    func expected(_ seed: Int) -> Double { serialTree(0..<shards, leaf: { noise($0, seed) }, merge: +) }
    try expect(try values.sum(run.map { noise($0, 3) }) == expected(3), "one sum over \(shards)")
    try expect(
      try values.sums(run.map { shard in (0..<4).map { noise(shard, $0) } }), equals: (0..<4).map(expected), "sums over \(shards)")
    try expect(try values.sums(run.map { _ in [] }), equals: [], "no sums")
    try expect(
      try values.gather(run.flatMap { [$0, -$0, 7] }), equals: (0..<shards).flatMap { [$0, -$0, 7] }, "integers of \(shards)")
  }
}
