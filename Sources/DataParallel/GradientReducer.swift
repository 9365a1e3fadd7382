import MPI
import Tensors

/// Sums gradients over all shards, bucket by bucket, while the backward pass of the layers below goes on.
///
/// A bucket is a range of the flat vector of parameters. Any number of buckets can be started; of those that messages carry only a few are
/// in flight at a time (`MessageLanes`), the others wait for their turn, in the order in which they were started. Nothing moves by itself:
/// `poll()` every millisecond or two. Ranks of a node add through memory that they share (`NodeReducer`), others by messages
/// (`FixedOrderReducer`); the bits are the same.
///
/// With a format of 16 bits messages are half as long. Any node of the tree may have to travel: which ones do depends on the number of ranks
/// and on where they run. So that the bits do not, *every* node is rounded to the format, by whoever computes it and whether or not it travels:
/// the shards' gradients, the sum of each two nodes, which is made in single precision, and with it the result. Memory stays in single
/// precision. Whoever adds shards up into `partials` uses `VectorView.add(_:as:)`; the reducer rounds what reaches it unrounded.
public final class GradientReducer {
  /// The ranges of the flat vector.
  public let buckets: [Range<Int>]
  /// Where the gradients go: for each of this rank's maximal subtrees (`AccumulationPlan.subtrees`) the whole flat vector. A bucket's range
  /// must not be touched from its start until it is done; then it holds nothing of use.
  public let partials: [VectorView<Float>]
  /// The sum over all shards, to be read only: a bucket's range from when it is done until this rank starts it again or writes to its
  /// partial sums.
  public let result: VectorView<Float>
  /// Number of nodes whose ranks add through shared memory; nil where there are none and messages carry everything.
  public let nodes: Int?

  private enum Way {
    case memory(NodeReducer)
    case messages(MessageLanes)
  }

  /// What becomes of a bucket that messages carry.
  private enum Phase { case idle, waiting, exchanging }

  private let communicator: Communicator
  private let way: Way
  private var inFlight: [Int] = []
  // Elements of each bucket that were reduced last.
  private var counts: [Int]
  // Of each bucket that messages carry, with its turn.
  private var phases: [Phase]
  private var turns: [Int]
  // A collective of somebody else that is waited for meanwhile.
  private let awaited = PendingSlot()
  // Sums of squares of one bucket's blocks, where messages carry the sums.
  private let squares: VectorView<Double>

  /// Seconds spent so far in `wait` and `waitAll`: what communication has cost beyond the computation it ran under.
  public private(set) var secondsWaited = 0.0

  /// Allocates all memory, for a flat vector that ends with the last of `buckets`. All ranks call it together.
  /// - pieces: what takes the place of `buckets` where all ranks add through memory that they share and no message carries a sum; in all the same
  ///   elements.
  /// - reproducible: false leaves the order of addition over ranks to the MPI library, which adds single precision alone.
  /// - format: what every node of the tree is rounded to and travels in; nil: single precision as it is.
  /// - lanes: the most buckets whose messages are in flight at a time.
  /// - sharing: which ranks are to add through shared memory. Messages are used where they cannot: where ranks are not numbered node by
  ///   node, equally many on each, or a node has too little shared memory.
  /// - Throws: `MPIError`.
  public init(
    communicator: Communicator, layout: ShardLayout, buckets messages: [Range<Int>], pieces: [Range<Int>]? = nil, reproducible: Bool = true,
    format: HalfFormat? = nil, lanes: Int = 8, sharing: MemorySharing = .node
  ) throws(MPIError) {
    precondition(reproducible || format == nil, "MPI adds no numbers of 16 bits")
    precondition(layout.ranks == communicator.size, "a layout for \(layout.ranks) ranks among \(communicator.size)")
    self.communicator = communicator
    let sharers = reproducible && communicator.size > 1 ? try NodeLayout(communicator, sharing) : nil
    let near = sharers?.ranks.count == 1 ? pieces ?? messages : messages
    if let sharers,
      let reducer = try NodeReducer(communicator: communicator, layout: layout, nodes: sharers, buckets: near, lanes: lanes, format: format)
    {
      buckets = near
      counts = near.map { _ in 0 }
      inFlight.reserveCapacity(near.count)
      (partials, result, self.nodes) = (reducer.partials, reducer.result, sharers.ranks.count)
      squares = VectorView(zeros: 0)
      (phases, turns) = ([], [])
      way = .memory(reducer)
      return
    }
    buckets = messages
    counts = messages.map { _ in 0 }
    inFlight.reserveCapacity(messages.count)
    let width = messages.map(\.upperBound).max() ?? 0
    let partials = layout.accumulationPlan(of: communicator.rank).subtrees.map { _ in VectorView<Float>(zeros: width) }
    let longest = messages.map(\.count).max() ?? 0
    let reducers = try MessageLanes(max(1, min(lanes, messages.count))) { () throws(MPIError) in
      try messageReducer(
        communicator: communicator, tree: layout.tree, runs: layout.runs, partials: partials, longest: longest,
        reproducible: reproducible, format: format)
    }
    (phases, turns) = (messages.map { _ in .idle }, messages.map { _ in 0 })
    (self.partials, result, nodes) = (partials, partials[0], nil)
    squares = VectorView(zeros: buckets.map { squaresCount(of: $0.count) }.max() ?? 0)
    way = .messages(reducers)
  }

  /// See `PendingCollective.abandon`.
  deinit { awaited.abandon() }

  /// Starts the reduction of a bucket that is complete in `partials`. All ranks start buckets in the same order.
  /// - count: the same on all ranks; less than the bucket's length reduces only its first elements, such as the rows of an embedding that
  ///   occurred.
  /// - Throws: `MPIError`.
  public func start(_ bucket: Int, count: Int? = nil) throws(MPIError) {
    let range = buckets[bucket]
    let count = count ?? range.count
    counts[bucket] = count
    switch way {
    case .memory(let reducer): reducer.start(bucket, count: count)
    case .messages(let lanes):
      precondition(phases[bucket] == .idle, "a reduction is under way")
      precondition(count >= 0 && count <= range.count, "\(count) elements for a capacity of \(range.count)")
      if count == 0 { break }
      phases[bucket] = .waiting
      turns[bucket] = lanes.turn()
    }
    if isInFlight(bucket) { inFlight.append(bucket) }
    // One that has its turn goes at once.
    if case .messages = way, phases[bucket] == .waiting, try poll(bucket) { inFlight.removeLast() }
  }

  /// `Σ result[i]²` over what was last reduced of every bucket, with nothing in flight: in double precision, block by block from the start of
  /// each bucket (`squaresBlock`), so that it has the same bits on every number of ranks. Where ranks of a node share memory it was made with
  /// the sums.
  public var sumOfSquares: Double {
    var sum = 0.0
    for (bucket, range) in buckets.enumerated() {
      switch way {
      case .memory(let reducer): sum = reducer.sumOfSquares(bucket, count: counts[bucket], addedTo: sum)
      case .messages:
        let blocks = squares[0..<squaresCount(of: counts[bucket])]
        blocks.takeSquares(of: result[range.lowerBound..<range.lowerBound + counts[bucket]])
        sum = blocks.added(to: sum)
      }
    }
    return sum
  }

  /// Bytes of gradients that this rank has sent to others in messages so far; without those of the MPI library's own all-reduce.
  public var bytesSent: Int { lanes?.bytesSent ?? 0 }

  /// Number of buckets whose messages are in flight: at most as many as there are lanes.
  public var messagesInFlight: Int { lanes?.inFlight ?? 0 }

  /// Nil where no message carries gradients.
  private var lanes: MessageLanes? {
    switch way {
    case .memory(let reducer): reducer.lanes
    case .messages(let lanes): lanes
    }
  }

  /// Whether nothing is under way.
  public var isIdle: Bool { inFlight.isEmpty }

  private func isInFlight(_ bucket: Int) -> Bool {
    switch way {
    case .memory(let reducer): reducer.isInFlight(bucket)
    case .messages: phases[bucket] != .idle
    }
  }

  /// Moves everything in flight along without blocking; true when nothing is in flight any more.
  /// - Throws: `MPIError`.
  @discardableResult
  public func poll() throws(MPIError) -> Bool {
    var index = 0
    while index < inFlight.count {
      if try poll(inFlight[index]) { inFlight.remove(at: index) } else { index += 1 }
    }
    return inFlight.isEmpty
  }

  private func poll(_ bucket: Int) throws(MPIError) -> Bool {
    switch way {
    case .memory(let reducer): return try reducer.poll(bucket)
    case .messages(let lanes):
      if phases[bucket] == .waiting {
        guard lanes.isFree(for: turns[bucket]) else { return false }
        let elements = buckets[bucket].lowerBound..<buckets[bucket].lowerBound + counts[bucket]
        try lanes.start(turns[bucket], elements, into: result[elements])
        phases[bucket] = .exchanging
      }
      guard try lanes.poll(turns[bucket]) else { return false }
      phases[bucket] = .idle
      return true
    }
  }

  /// Waits for one bucket. The others move along, so ranks may wait for different ones.
  /// - Throws: `MPIError`.
  public func wait(_ bucket: Int) throws(MPIError) {
    secondsWaited += try DataParallel.waiting(for: communicator) { () throws(MPIError) in
      try self.poll()
      return !self.isInFlight(bucket)
    }
  }

  /// Waits for a collective while everything under way moves along, but gives way to it.
  /// - Throws: `MPIError`.
  func waiting(for pending: consuming PendingCollective) throws(MPIError) {
    awaited.pending = consume pending
    lanes?.yields = true
    defer { lanes?.yields = false }
    _ = try DataParallel.waiting(for: communicator) { () throws(MPIError) in
      try self.poll()
      return try self.awaited.isDone()
    }
  }

  /// Waits for everything in flight.
  /// - Throws: `MPIError`.
  public func waitAll() throws(MPIError) {
    secondsWaited += try DataParallel.waiting(for: communicator) { () throws(MPIError) in try self.poll() }
  }
}
