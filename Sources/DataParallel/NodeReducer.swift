import MPI
import Tensors

/// Sums gradients over all shards, bucket by bucket, through memory that the ranks of a node share.
///
/// Every rank sums one chunk of a bucket, straight from the partial sums of all ranks of the node and in the order of the tree. On one
/// node that is the result; with more nodes it is the node's partial sums, and the ranks that have the same chunk on other nodes exchange
/// it with messages. The result is one vector for all ranks of the node.
///
/// Two flags of each rank and bucket hold the number of the last reduction whose partial sums are `ready` and whose chunk is `done`. A
/// rank that has seen all done flags may overwrite its partial sums, since nobody reads them any more, and read the result, which stays
/// until this rank itself starts the bucket again: a chunk is only written when all ranks are ready. The sums of squares of the result's
/// blocks are made with it and last as long; a chunk is cut between blocks.
///
/// With a wire format every node of the tree is rounded to it, as `GradientReducer` says.
final class NodeReducer {
  /// This rank's partial sums.
  let partials: [VectorView<Float>]
  /// The sum; to be read only.
  let result: VectorView<Float>

  private enum Phase { case idle, collecting, exchanging, finishing }

  private struct Bucket {
    let range: Range<Int>
    /// Where the sums of its squares begin.
    let firstSquares: Int
    let flags: [Flags]
    var phase = Phase.idle
    /// Number of the reduction.
    var epoch: UInt64 = 0
    var count = 0
    /// Ranks, from the first, that have been seen to be ready or done.
    var seen = 0
    /// Its turn in the lanes.
    var turn = 0
  }

  /// The flags of one rank for a bucket, a cache line.
  private struct Flags {
    let ready: SharedFlag
    let done: SharedFlag
    /// The length of the vector that is ready, to find a rank that has another.
    let count: SharedFlag
  }

  private let node: Communicator
  private let plan: NodePlan
  /// The partial sums of all ranks of the node.
  private let all: [VectorView<Float>]
  private let scratch: [VectorView<Float>]
  /// The sums of squares of all buckets' blocks, of all ranks of the node.
  private let squares: VectorView<Double>
  private let format: HalfFormat?
  private var buckets: [Bucket]
  /// Between nodes.
  let lanes: MessageLanes?
  /// For each lane this rank's chunk of the node's partial sums, while they are exchanged between nodes.
  private let sums: [[VectorView<Float>]]

  /// Elements that are summed at a time where that takes more than one pass: few enough that they stay in the cache, and whole blocks.
  private static var piece: Int { 2 * squaresBlock }
  private static var flagsPerBucket: Int { 8 }

  /// Allocates the memory of all buckets; nil, on all ranks, where a node has too little memory to share. All ranks call it together.
  /// - lanes: the most buckets whose messages between nodes are in flight at a time.
  /// - Throws: `MPIError`.
  /// - format: what every node of the tree is rounded to; nil: nothing is rounded.
  init?(
    communicator: Communicator, layout: ShardLayout, nodes: NodeLayout, buckets: [Range<Int>], lanes: Int, format: HalfFormat? = nil
  ) throws(MPIError) {
    let node = nodes.node
    let width = buckets.map(\.upperBound).max() ?? 0
    let plan = NodePlan(tree: layout.tree, runs: nodes.ranks[nodes.index].map(layout.run))
    // Room between vectors, so that all begin with a cache line.
    let row = (width + 15) / 16 * 16
    let flagCount = buckets.count * Self.flagsPerBucket
    let counts = plan.counts.enumerated().map { rank, count in (count + (rank == 0 ? 1 : 0)) * row }
    let blocks = buckets.reduce(0) { $0 + squaresCount(of: $1.count) }
    let bytes =
      counts.reduce(0) { $0 + windowBytes(of: Float.self, count: $1, flags: flagCount) }
      + node.size * windowBytes(of: Double.self, count: 0, flags: 0) + blocks * MemoryLayout<Double>.stride
    // MPI keeps some room free, and other programs take some.
    let lacking: [Int] = try communicator.allGather(sharedMemoryRoom() / 8 * 7 < bytes ? 1 : 0)
    if lacking.contains(1) { return nil }
    let window = try SharedWindow<Float>(node, count: counts[node.rank], flags: flagCount)
    let squares = try SharedWindow<Double>(node, count: node.rank == 0 ? blocks : 0, flags: 0)[0]

    var all: [VectorView<Float>] = []
    for (rank, count) in plan.counts.enumerated() { for k in 0..<count { all.append(window[rank][k * row..<k * row + width]) } }
    let start = plan.counts[..<node.rank].reduce(0, +)
    var states: [Bucket] = [], firstSquares = 0
    for (index, range) in buckets.enumerated() {
      let flags = (0..<node.size).map { rank in
        let first = index * Self.flagsPerBucket
        return Flags(ready: window.flag(first, of: rank), done: window.flag(first + 1, of: rank), count: window.flag(first + 2, of: rank))
      }
      states.append(Bucket(range: range, firstSquares: firstSquares, flags: flags))
      firstSquares += squaresCount(of: range.count)
    }
    var sums: [[VectorView<Float>]] = []
    if nodes.ranks.count > 1 {
      let longest = chunk(0, of: buckets.map(\.count).max() ?? 0, ranks: node.size, unit: squaresBlock).count
      let runs = nodes.ranks.map { layout.run(of: $0.lowerBound).lowerBound..<layout.run(of: $0.upperBound - 1).upperBound }
      self.lanes = try MessageLanes(max(1, min(lanes, buckets.count))) { () throws(MPIError) in
        let partials = (0..<plan.sumCount).map { _ in VectorView<Float>(zeros: longest) }
        sums.append(partials)
        return try messageReducer(
          communicator: nodes.peers, tree: layout.tree, runs: runs, partials: partials, longest: longest, reproducible: true,
          format: format)
      }
    } else {
      self.lanes = nil
    }
    self.sums = sums
    self.node = node
    self.plan = plan
    self.all = all
    self.squares = squares
    self.format = format
    partials = Array(all[start..<start + plan.counts[node.rank]])
    let end = plan.counts[0] * row
    result = window[0][end..<end + width]
    scratch = (0..<plan.scratchCount).map { _ in VectorView(zeros: Self.piece) }
    self.buckets = states
  }

  /// Whether the reduction of a bucket is under way.
  func isInFlight(_ bucket: Int) -> Bool { buckets[bucket].phase != .idle }

  /// Starts the sum of the first `count` elements of a bucket, complete in `partials`.
  func start(_ bucket: Int, count: Int) {
    precondition(buckets[bucket].phase == .idle, "a reduction is under way")
    precondition(count >= 0 && count <= buckets[bucket].range.count, "\(count) elements for a capacity of \(buckets[bucket].range.count)")
    if count == 0 { return }
    buckets[bucket].phase = .collecting
    buckets[bucket].epoch += 1
    buckets[bucket].count = count
    buckets[bucket].seen = 0
    if let lanes { buckets[bucket].turn = lanes.turn() }
    let mine = buckets[bucket].flags[node.rank]
    mine.count.store(UInt64(count))
    mine.ready.store(buckets[bucket].epoch)
  }

  /// `start` with the squares of the first `count` elements of a bucket's result added to it, block by block.
  func sumOfSquares(_ bucket: Int, count: Int, addedTo start: Double) -> Double {
    let first = buckets[bucket].firstSquares
    return squares[first..<first + squaresCount(of: count)].added(to: start)
  }

  /// Moves the reduction of a bucket along without blocking; true when it is not under way any more.
  /// - Throws: `MPIError`.
  func poll(_ bucket: Int) throws(MPIError) -> Bool {
    if buckets[bucket].phase == .collecting {
      guard areReady(bucket), lanes?.isFree(for: buckets[bucket].turn) ?? true else { return false }
      try sum(bucket)
    }
    if buckets[bucket].phase == .exchanging {
      guard try lanes?.poll(buckets[bucket].turn) ?? true else { return false }
      let mine = share(of: buckets[bucket])
      squares(of: mine, buckets[bucket]).takeSquares(of: result[mine])
      finishChunk(bucket)
    }
    if buckets[bucket].phase == .finishing {
      guard areDone(bucket) else { return false }
      buckets[bucket].phase = .idle
    }
    return true
  }

  /// Whether all ranks of the node have complete partial sums. One may be a reduction ahead.
  private func areReady(_ bucket: Int) -> Bool {
    while buckets[bucket].seen < node.size {
      if buckets[bucket].flags[buckets[bucket].seen].ready.value < buckets[bucket].epoch { return false }
      buckets[bucket].seen += 1
    }
    return true
  }

  /// Whether the chunks of all ranks of the node are in `result`.
  private func areDone(_ bucket: Int) -> Bool {
    while buckets[bucket].seen < node.size {
      if buckets[bucket].flags[buckets[bucket].seen].done.value < buckets[bucket].epoch { return false }
      buckets[bucket].seen += 1
    }
    return true
  }

  /// Sums this rank's chunk and, where there are other nodes, starts its exchange.
  private func sum(_ bucket: Int) throws(MPIError) {
    let state = buckets[bucket]
    for rank in state.flags.indices {
      let count = state.flags[rank].count.value
      precondition(count == state.count, "bucket \(bucket) has \(count) elements on rank \(rank) of the node and \(state.count) here")
    }
    let mine = share(of: state), piece = plan.additions.count > 1 || format != nil ? Self.piece : max(mine.count, 1)
    var start = mine.lowerBound
    while start < mine.upperBound {
      let end = min(start + piece, mine.upperBound)
      addUp(state, start..<end, chunk: mine)
      start = end
    }
    guard let lanes else { return finishChunk(bucket) }
    buckets[bucket].phase = .exchanging
    try lanes.start(state.turn, 0..<mine.count, into: result[mine])
  }

  /// What this rank sums of a bucket, whole blocks of squares.
  private func share(of bucket: Bucket) -> Range<Int> {
    chunk(node.rank, of: bucket.count, ranks: node.size, unit: squaresBlock).shifted(by: bucket.range.lowerBound)
  }

  /// Where the sums of squares of these elements go.
  private func squares(of elements: Range<Int>, _ bucket: Bucket) -> VectorView<Double> {
    let first = bucket.firstSquares + (elements.lowerBound - bucket.range.lowerBound) / squaresBlock
    return squares[first..<first + squaresCount(of: elements.count)]
  }

  /// Sums some elements over all partial sums of the node.
  private func addUp(_ bucket: Bucket, _ elements: Range<Int>, chunk: Range<Int>) {
    func view(_ place: NodePlan.Place) -> VectorView<Float> {
      switch place {
      case .partial(let number): all[number][elements]
      case .scratch(let number): scratch[number][0..<elements.count]
      case .sum(let number):
        lanes.map { sums[$0.number(bucket.turn)][number][elements.shifted(by: -chunk.lowerBound)] } ?? result[elements]
      }
    }
    // Without other nodes the last addition makes the result.
    let squares = lanes == nil ? squares(of: elements, bucket) : nil, last = plan.additions.count - 1
    for (index, addition) in plan.additions.enumerated() {
      let into = view(addition.into), a = view(addition.a), squares = index == last ? squares : nil
      if format == nil, let b = addition.b {
        into.setSum(a, view(b), squares: squares)
        continue
      }
      into.become(a)
      if let b = addition.b { into.add(view(b), as: format) } else { into.round(to: format) }
      squares?.takeSquares(of: into)
    }
  }

  private func finishChunk(_ bucket: Int) {
    buckets[bucket].phase = .finishing
    buckets[bucket].seen = 0
    buckets[bucket].flags[node.rank].done.store(buckets[bucket].epoch)
  }
}
