import DataParallel
import MPI
import Tensors

/// A shard's gradient. For a format of 16 bits some elements are as small as its least numbers, and some too large for it.
private func gradient(_ shard: Int, _ n: Int, seed: Int, _ format: HalfFormat?) -> VectorView<Float> {
  let vector: VectorView<Float> = shardVector(shard, n, seed: seed)
  guard let format else { return vector }
  let (small, large): (Float, Float) = format == .float16 ? (0x1p-22, 0x1p11) : (0x1p-136, 0x1p123)
  for i in 0..<n where i % 5 < 2 { vector[i] *= i % 5 == 0 ? small : large }
  return vector
}

/// This rank's partial sums: shards computed by the plan, as training does.
func partials(_ layout: ShardLayout, _ rank: Int, _ n: Int, seed: Int, _ format: HalfFormat? = nil) -> [VectorView<Float>] {
  let plan = layout.accumulationPlan(of: rank)
  let slots = (0..<plan.slotCount).map { _ in VectorView<Float>(zeros: n) }
  for step in plan.steps {
    slots[step.slot].copy(from: gradient(step.shard, n, seed: seed, format))
    for merge in step.merges { slots[merge.into].add(slots[merge.from], as: format) }
  }
  return plan.subtreeSlots.map { slots[$0] }
}

/// The sum over all shards with every node of the tree rounded, on one rank and element by element.
func treeSum(_ shards: Int, _ n: Int, seed: Int, _ format: HalfFormat? = nil) -> [Float] {
  func rounded(_ numbers: [Float]) -> [Float] {
    guard let format else { return numbers }
    let vector = VectorView(numbers)
    vector.round(vector, to: format)
    return vector.array
  }
  return serialTree(0..<shards, leaf: { rounded(gradient($0, n, seed: seed, format).array) }) { a, b in
    rounded(zip(a, b).map { $0 + $1 })
  }
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
