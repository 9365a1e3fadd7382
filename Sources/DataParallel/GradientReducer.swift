import MPI
import Tensors

/// Sums gradients over all shards, bucket by bucket, while the backward pass of the layers below goes on.
///
/// A bucket is a range of the flat vector of parameters. Each has a `FixedOrderReducer` of its own, so any number of buckets can be in flight
/// and finish in any order, on each rank in another. MPI moves only while it is called: `poll()` about once a time step.
public final class GradientReducer<S: CommunicableScalar> {
  /// The ranges of the flat vector.
  public let buckets: [Range<Int>]
  private let reducers: [FixedOrderReducer<S>]
  private var inFlight: [Int] = []

  /// Seconds spent so far in `wait` and `waitAll`: what communication has cost beyond the computation it ran under.
  public private(set) var secondsWaited = 0.0

  /// Allocates the memory of all buckets. All ranks call it together.
  /// - reproducible: false leaves the order of addition over ranks to the MPI library.
  /// - Throws: `MPIError`.
  public init(
    communicator: Communicator, layout: ShardLayout, buckets: [Range<Int>], reproducible: Bool = true
  ) throws(MPIError) {
    self.buckets = buckets
    var reducers: [FixedOrderReducer<S>] = []
    for bucket in buckets {
      reducers.append(
        try FixedOrderReducer(communicator: communicator, layout: layout, capacity: bucket.count, reproducible: reproducible))
    }
    self.reducers = reducers
    inFlight.reserveCapacity(buckets.count)
  }

  /// Starts the reduction of a bucket whose gradients are complete. Ranks may start buckets in different orders.
  /// - partials: for each of this rank's maximal subtrees the whole flat vector; scratch memory at the bucket's range until it is done.
  /// - result: the whole flat vector, written at the bucket's range; may be one of `partials`.
  /// - Throws: `MPIError`.
  public func start(_ bucket: Int, flatPartials partials: [VectorView<S>], flatResult result: VectorView<S>) throws(MPIError) {
    let range = buckets[bucket]
    try start(bucket, partials: partials.map { $0[range] }, result: result[range])
  }

  /// Starts the reduction of vectors that may be shorter than the bucket, such as the rows of an embedding that occurred.
  /// - partials, result: [n] each, n the same on all ranks and at most the bucket's length; see `FixedOrderReducer.start`.
  /// - Throws: `MPIError`.
  public func start(_ bucket: Int, partials: [VectorView<S>], result: VectorView<S>) throws(MPIError) {
    try reducers[bucket].start(partials: partials, result: result)
    if reducers[bucket].isInFlight { inFlight.append(bucket) }
  }

  /// Moves everything in flight along without blocking; true when nothing is in flight any more.
  /// - Throws: `MPIError`.
  @discardableResult
  public func poll() throws(MPIError) -> Bool {
    var index = 0
    while index < inFlight.count {
      if try reducers[inFlight[index]].poll() { inFlight.remove(at: index) } else { index += 1 }
    }
    return inFlight.isEmpty
  }

  /// Waits for one bucket. The others move along, so ranks may wait for different ones.
  /// - Throws: `MPIError`.
  public func wait(_ bucket: Int) throws(MPIError) {
    secondsWaited += try waiting { () throws(MPIError) in
      try self.poll()
      return !self.reducers[bucket].isInFlight
    }
  }

  /// Waits for everything in flight.
  /// - Throws: `MPIError`.
  public func waitAll() throws(MPIError) {
    secondsWaited += try waiting { () throws(MPIError) in try self.poll() }
  }
}
