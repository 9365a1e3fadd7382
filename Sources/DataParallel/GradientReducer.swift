import MPI
import Tensors

/// Sums gradients over all shards, bucket by bucket, while the backward pass of the layers below goes on.
///
/// A bucket is a range of the flat vector of parameters. Any number of buckets can be in flight, and they finish in any order, on each rank in
/// another. Nothing moves by itself: `poll()` about once a time step. Ranks of a node add through memory that they share (`NodeReducer`), others
/// by messages (`FixedOrderReducer`); the bits are the same.
public final class GradientReducer<S: CommunicableScalar> {
  /// The ranges of the flat vector.
  public let buckets: [Range<Int>]
  /// Where the gradients go: for each of this rank's maximal subtrees (`AccumulationPlan.subtrees`) the whole flat vector. A bucket's range
  /// must not be touched from its start until it is done; then it holds nothing of use.
  public let partials: [VectorView<S>]
  /// The sum over all shards, to be read only: a bucket's range from when it is done until this rank starts it again or writes to its partial sums.
  public let result: VectorView<S>
  /// Number of nodes whose ranks add through shared memory; nil where there are none and messages carry everything.
  public let nodes: Int?

  private enum Way {
    case memory(NodeReducer<S>)
    case messages([FixedOrderReducer<S>])
  }

  private let way: Way
  private var inFlight: [Int] = []

  /// Seconds spent so far in `wait` and `waitAll`: what communication has cost beyond the computation it ran under.
  public private(set) var secondsWaited = 0.0

  /// Allocates all memory, for a flat vector that ends with the last of `buckets`. All ranks call it together.
  /// - reproducible: false leaves the order of addition over ranks to the MPI library.
  /// - sharing: which ranks are to add through shared memory. Messages are used where they cannot: where ranks are not numbered node by node,
  ///   equally many on each, or a node has too little shared memory.
  /// - Throws: `MPIError`.
  public init(
    communicator: Communicator, layout: ShardLayout, buckets: [Range<Int>], reproducible: Bool = true, sharing: MemorySharing = .node
  ) throws(MPIError) {
    precondition(layout.ranks == communicator.size, "a layout for \(layout.ranks) ranks among \(communicator.size)")
    self.buckets = buckets
    inFlight.reserveCapacity(buckets.count)
    if reproducible, communicator.size > 1, let nodes = try NodeLayout(communicator, sharing),
      let reducer = try NodeReducer<S>(communicator: communicator, layout: layout, nodes: nodes, buckets: buckets)
    {
      (partials, result, self.nodes) = (reducer.partials, reducer.result, nodes.ranks.count)
      way = .memory(reducer)
      return
    }
    let width = buckets.map(\.upperBound).max() ?? 0
    let partials = layout.accumulationPlan(of: communicator.rank).subtrees.map { _ in VectorView<S>(zeros: width) }
    var reducers: [FixedOrderReducer<S>] = []
    for bucket in buckets {
      reducers.append(
        try FixedOrderReducer(
          communicator: communicator, layout: layout, partials: partials.map { $0[bucket] }, reproducible: reproducible))
    }
    (self.partials, result, nodes) = (partials, partials[0], nil)
    way = .messages(reducers)
  }

  /// Starts the reduction of a bucket that is complete in `partials`. Ranks may start buckets in different orders.
  /// - count: the same on all ranks; less than the bucket's length reduces only its first elements, such as the rows of an embedding that
  ///   occurred.
  /// - Throws: `MPIError`.
  public func start(_ bucket: Int, count: Int? = nil) throws(MPIError) {
    let range = buckets[bucket]
    let count = count ?? range.count
    switch way {
    case .memory(let reducer): reducer.start(bucket, count: count)
    case .messages(let reducers): try reducers[bucket].start(into: result[range.lowerBound..<range.lowerBound + count])
    }
    if isInFlight(bucket) { inFlight.append(bucket) }
  }

  private func isInFlight(_ bucket: Int) -> Bool {
    switch way {
    case .memory(let reducer): reducer.isInFlight(bucket)
    case .messages(let reducers): reducers[bucket].isInFlight
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
    case .memory(let reducer): try reducer.poll(bucket)
    case .messages(let reducers): try reducers[bucket].poll()
    }
  }

  /// Waits for one bucket. The others move along, so ranks may wait for different ones.
  /// - Throws: `MPIError`.
  public func wait(_ bucket: Int) throws(MPIError) {
    secondsWaited += try waiting { () throws(MPIError) in
      try self.poll()
      return !self.isInFlight(bucket)
    }
  }

  /// Waits for everything in flight.
  /// - Throws: `MPIError`.
  public func waitAll() throws(MPIError) {
    secondsWaited += try waiting { () throws(MPIError) in try self.poll() }
  }
}
