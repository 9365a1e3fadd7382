import DataParallel
import MPI
import Tensors

/// This rank's partial sums: shards computed by the plan, as training does.
func partials(_ layout: ShardLayout, _ rank: Int, _ n: Int, seed: Int) -> [VectorView<Float>] {
  let plan = layout.accumulationPlan(of: rank)
  let slots = (0..<plan.slotCount).map { _ in VectorView<Float>(zeros: n) }
  for step in plan.steps {
    slots[step.slot].copy(from: shardVector(step.shard, n, seed: seed))
    for merge in step.merges { slots[merge.into].add(slots[merge.from]) }
  }
  return plan.subtreeSlots.map { slots[$0] }
}

func treeSum(_ shards: Int, _ n: Int, seed: Int) -> [Float] {
  serialTree(0..<shards, leaf: { (shardVector($0, n, seed: seed) as VectorView<Float>).array }) { zip($0, $1).map { $0 + $1 } }
}

/// Numbers of shards with runs of equal and of different lengths, whole subtrees and not.
func shardCounts(_ ranks: Int) -> [Int] {
  Set([ranks, ranks + 1, 2 * ranks - 1, 8, 13, 16]).filter { $0 >= ranks }.sorted()
}

func reducer(_ world: Communicator) throws {
  for shards in shardCounts(world.size) {
    let layout = ShardLayout(shards: shards, ranks: world.size)
    let sizes = [0, 1, 15, 16, 17, 129, 1000] + (shards == 13 ? [20_011] : [])
    let memory = partials(layout, world.rank, sizes.max()!, seed: 0)
    let reducer = try FixedOrderReducer<Float>(communicator: world, layout: layout, partials: memory)
    for (seed, n) in (sizes + [17, 1]).enumerated() {
      let mine = memory.map { $0[0..<n] }
      for (part, values) in zip(mine, partials(layout, world.rank, n, seed: seed)) { part.copy(from: values) }
      // The result may lie in the memory of a partial sum.
      let result = seed % 3 == 0 ? VectorView<Float>(zeros: n) : seed % 3 == 1 ? mine[0] : mine[mine.count - 1]
      try reducer.start(into: result)
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
    for n in [0, 1, 1000] {
      let mine = partials(layout, world.rank, n, seed: 5)
      let reducer = try FixedOrderReducer<Float>(communicator: world, layout: layout, partials: mine, reproducible: false)
      let result = VectorView<Float>(zeros: n)
      try reducer.start(into: result)
      try reducer.wait()
      // Each of at most 16 additions rounds a sum of at most 16 · 128 by half an ulp.
      let tolerance: Float = 16 * 2048 * Float.ulpOfOne / 2
      for (found, expected) in zip(result.array, treeSum(shards, n, seed: 5)) {
        try expect(abs(found - expected) <= tolerance, "\(found) instead of \(expected)")
      }
    }
  }
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
