import DataParallel
import Glibc
import MPI
import Tensors

/// Ranges of the flat vector; one is empty, and the last is used in part only.
private let ranges = zip([0, 10, 10, 9000, 9001, 12_000], [10, 10, 9000, 9001, 12_000, 12_100]).map { $0..<$1 }

/// How many nodes a reducer must find, nil for messages alone.
private func expectedNodes(_ sharing: MemorySharing, _ ranks: Int) -> Int? {
  switch sharing {
  case .none: nil
  case .node: ranks > 1 ? 1 : nil
  case .groups(let size): min(size, ranks) > 1 && ranks % min(size, ranks) == 0 ? ranks / min(size, ranks) : nil
  }
}

/// What a rank adds, and what all must find.
private struct Example {
  /// Elements of the last bucket that are used.
  let rows: Int
  let partials: [VectorView<Float>]
  let sum: [UInt32]
  let squares: Double

  init(_ layout: ShardLayout, _ rank: Int, rows: Int, seed: Int, _ format: HalfFormat?) {
    self.rows = rows
    let n = ranges.last!.lowerBound + rows
    partials = DistributedCases.partials(layout, rank, n, seed: seed, format)
    let values = treeSum(layout.shards, n, seed: seed, format)
    sum = values.map(\.bitPattern)
    squares = ranges.map { $0.clamped(to: 0..<n) }.reduce(0) { before, range in
      let blocks = VectorView<Double>(zeros: squaresCount(of: range.count))
      blocks.takeSquares(of: VectorView(Array(values[range])))
      return blocks.added(to: before)
    }
  }

  static func all(_ layout: ShardLayout, _ rank: Int, _ format: HalfFormat? = nil) -> [Example] {
    [100, 33, 0, 64].enumerated().map { Example(layout, rank, rows: $1, seed: $0, format) }
  }
}

/// The sum over all shards in every way of exchange: shared memory, messages, and both between groups that stand for nodes.
func gradients(_ world: Communicator) throws {
  let ways: [MemorySharing] = [.node, .none, .groups(of: 2), .groups(of: 3), .groups(of: 4)]
  for shards in Set([world.size, 2 * world.size - 1, 13]).sorted() {
    let layout = ShardLayout(shards: shards, ranks: world.size)
    let examples = Example.all(layout, world.rank)
    for sharing in ways { try checkSums(world, layout, sharing, examples) }
  }
}

/// The same in formats of 16 bits: the sum that one rank makes, in half the bytes of single precision.
func halfGradients(_ world: Communicator) throws {
  for shards in Set([world.size, 8, 13]).sorted() {
    let layout = ShardLayout(shards: shards, ranks: world.size)
    let single = Example.all(layout, world.rank), ways: [MemorySharing] = [.node, .none, .groups(of: 2), .groups(of: 3), .groups(of: 4)]
    let sent = try ways.map { try checkSums(world, layout, $0, single) }
    for format in HalfFormat.allCases {
      let examples = Example.all(layout, world.rank, format)
      let sums = examples[0].sum.map { Float(bitPattern: $0) }
      try expect(sums.contains { $0.isInfinite } && sums.contains { $0.isFinite && $0 != 0 }, "examples that test little")
      for (sharing, bytes) in zip(ways, sent) {
        let half = try checkSums(world, layout, sharing, examples, format)
        try expect(2 * half == bytes, "\(half) bytes in \(format) and \(bytes) in single precision, \(sharing)")
        try expect((bytes == 0) == ((expectedNodes(sharing, world.size) ?? world.size) == 1), "\(bytes) bytes sent, \(sharing)")
      }
    }
  }
}

/// Several buckets started in any order, the same on all ranks, and polled and waited for in another on every rank, with delays, one reduction
/// right after another.
/// - Returns: bytes that this rank has sent.
@discardableResult
private func checkSums(
  _ world: Communicator, _ layout: ShardLayout, _ sharing: MemorySharing, _ examples: [Example], _ format: HalfFormat? = nil
) throws -> Int {
  var order = SharedOrder(state: UInt64(layout.shards * 100 + examples[0].rows))
  let lanes = Int.random(in: 1...4, using: &order)
  let reducer = try GradientReducer(
    communicator: world, layout: layout, buckets: ranges, format: format, lanes: lanes, sharing: sharing)
  try expect(reducer.nodes == expectedNodes(sharing, world.size), "\(reducer.nodes ?? 0) nodes for \(sharing) on \(world.size) ranks")
  var random = SystemRandomNumberGenerator()
  func poll() throws {
    try reducer.poll()
    try expect(reducer.messagesInFlight <= lanes, "\(reducer.messagesInFlight) buckets in \(lanes) lanes")
  }
  for (number, example) in examples.enumerated() {
    let n = example.sum.count
    for (partial, values) in zip(reducer.partials, example.partials) { partial[0..<n].copy(from: values) }
    for bucket in ranges.indices.shuffled(using: &order) {
      try reducer.start(bucket, count: bucket == ranges.count - 1 ? example.rows : nil)
      for _ in 0..<Int.random(in: 0..<3, using: &random) { try poll() }
    }
    usleep(.random(in: 0..<300, using: &random))
    for bucket in ranges.indices.shuffled(using: &random).prefix(number) { try reducer.wait(bucket) }
    try reducer.waitAll()
    try expect(try reducer.poll(), "something is still in flight")
    // Others are already in the next reduction when this rank reads the sum.
    usleep(.random(in: 0..<300, using: &random))
    try expect(
      reducer.result[0..<n].array.map(\.bitPattern), equals: example.sum, "round \(number) of \(layout.shards) shards, \(sharing)")
    try expect(
      reducer.sumOfSquares.bitPattern == example.squares.bitPattern,
      "the squares of round \(number) of \(layout.shards) shards add up to \(reducer.sumOfSquares), not \(example.squares), \(sharing)")
  }
  try expect(reducer.secondsWaited >= 0, "negative time")
  return reducer.bytesSent
}

/// The same random numbers on every rank.
private struct SharedOrder: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    // SplitMix64.
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

/// Of many buckets that wait few are in flight, and an exchange of statistics does not wait for them: it ends though they cannot, because all
/// ranks but one start theirs afterwards.
func gradientsInTheBackground(_ world: Communicator) throws {
  if world.size == 1 { return }
  let layout = ShardLayout(shards: world.size + 1, ranks: world.size), plan = layout.accumulationPlan(of: world.rank)
  let buckets = (0..<300).map { $0 * 1000..<($0 + 1) * 1000 }, rows = layout.run(of: world.rank)
  for (lanes, smallMessage) in [(1, 0), (1, 1 << 20), (8, 0), (8, 1 << 20)] {
    let reducer = try GradientReducer(communicator: world, layout: layout, buckets: buckets, lanes: lanes, sharing: .none)
    let statistics = try StatisticsExchange<Float>(
      communicator: world, layout: layout, groups: [0..<layout.shards], smallMessage: smallMessage)
    statistics.background = reducer
    // Sums of small integers are exact in every order.
    for (partial, subtree) in zip(reducer.partials, plan.subtrees) { partial.fill(Float(subtree.reduce(0, +))) }
    func start() throws {
      for bucket in buckets.indices {
        try reducer.start(bucket)
        try expect(reducer.messagesInFlight <= lanes, "\(reducer.messagesInFlight) buckets in \(lanes) lanes")
      }
    }
    if world.rank == 0 { try start() }
    let sums = MatrixView<Float>(zeros: rows.count, 5000)
    for (row, shard) in rows.enumerated() { sums[row].fill(Float(shard)) }
    try statistics.combineSums(sums)
    let total = Float((0..<layout.shards).reduce(0, +))
    for row in rows.indices { try expect(sums[row - rows.lowerBound].array.allSatisfy { $0 == total }, "another sum of statistics") }
    if world.rank == 0 { try expect(reducer.messagesInFlight == lanes, "buckets that others have not started are reduced") }
    // Nobody starts before all have the statistics.
    try world.barrier()
    if world.rank > 0 { try start() }
    while try !reducer.poll() {
      try expect(reducer.messagesInFlight <= lanes, "\(reducer.messagesInFlight) buckets in \(lanes) lanes")
    }
    try expect(reducer.result.array.allSatisfy { $0 == total }, "another sum of gradients")
    try expect(reducer.messagesInFlight == 0 && reducer.isIdle, "something is left")
  }
}

/// A short reduction many times over, as fast as it goes: whoever is too early or too late spoils a sum.
func manySteps(_ world: Communicator) throws {
  let layout = ShardLayout(shards: world.size + 1, ranks: world.size)
  let buckets = [0..<50, 50..<170]
  let plan = layout.accumulationPlan(of: world.rank)
  // Sums of small integers are exact in every order.
  func value(_ shard: Int, _ index: Int, _ step: Int) -> Float { Float((shard * 7 + index * 3 + step) % 1000) }
  for sharing in [MemorySharing.node, .groups(of: 2), .none] {
    let reducer = try GradientReducer(communicator: world, layout: layout, buckets: buckets, sharing: sharing)
    for step in 0..<2000 {
      for (partial, subtree) in zip(reducer.partials, plan.subtrees) {
        for i in 0..<170 { partial[i] = subtree.reduce(0) { $0 + value($1, i, step) } }
      }
      let last = step % 2
      try reducer.start(1 - last)
      try reducer.start(last)
      if step % 3 == 0 { try reducer.wait(last) }
      try reducer.waitAll()
      // A lost or torn element is found sooner or later, without reading all of them each time.
      for i in stride(from: step % 13, to: 170, by: 13) {
        let expected = (0..<layout.shards).reduce(0) { $0 + value($1, i, step) }
        try expect(reducer.result[i] == expected, "element \(i) of step \(step) is \(reducer.result[i]) instead of \(expected), \(sharing)")
      }
    }
  }
}

/// A run that fails leaves its reducer in flight: it goes away without a trap, and without harm to the others.
func abandonedReducer(_ world: Communicator) throws {
  let layout = ShardLayout(shards: world.size + 3, ranks: world.size)
  let examples = Example.all(layout, world.rank)
  for sharing in [MemorySharing.node, .groups(of: 2), .none] {
    do {
      let failing = try GradientReducer(communicator: world, layout: layout, buckets: ranges, sharing: sharing)
      for bucket in ranges.indices { try failing.start(bucket) }
      try failing.poll()
    }
    try checkSums(world, layout, sharing, examples)
  }
}
