import MPI
import Tensors

/// An element type that the kernels compute with and MPI carries.
public typealias CommunicableScalar = Scalar & MPIDatatype

/// Sums a part of a vector over all shards of all ranks, without blocking, along the fixed `ReductionTree`: the result has the same bits on every
/// number of ranks. n is the part's length, P the number of ranks.
///
/// Every rank gets chunk `rank` of all partial sums, adds them in the order of the tree, and the chunks are gathered again: the traffic
/// of a ring with one order of addition. A reducer has a communicator of its own, because ranks advance theirs at different times.
public final class FixedOrderReducer<S: MPIDatatype>: VectorReducing {
  private enum Phase { case idle, scattering, gathering }

  /// Nil where there is no other rank.
  private let communicator: Communicator?
  private let reproducible: Bool
  /// Adds the second vector to the first.
  private let add: (VectorView<S>, VectorView<S>) -> Void
  private let sums: PartialSums
  /// This rank's partial sums.
  private let partials: [VectorView<S>]
  /// Chunks received from other ranks, [remote partial sums × chunk].
  private let scratch: VectorView<S>
  private let slots: [PendingSlot]

  private var phase = Phase.idle
  /// The elements of the partial sums under way.
  private var elements = 0..<0
  private var schedule: ReductionSchedule?
  // The exchanges for the lengths that come again and again.
  private var schedules: [Int: ReductionSchedule] = [:]
  private var result: VectorView<S>

  /// Seconds spent in `wait()` so far.
  public private(set) var secondsWaited = 0.0
  /// Bytes that this rank has sent to others so far; without those of the MPI library's own all-reduce, which nobody tells.
  public private(set) var bytesSent = 0

  /// Allocates all memory. All ranks call it together.
  /// - runs: the shards of each rank, consecutive and in the order of ranks.
  /// - partials: this rank's maximal subtrees, in order, equally long. While a reduction is under way they are scratch memory, and hold
  ///   nothing of use afterwards.
  /// - longest: the most elements of a reduction; nil: all of the partial sums.
  /// - reproducible: false leaves the addition over ranks, and its order, to the MPI library.
  /// - add: adds the second vector to the first.
  /// - Throws: `MPIError`.
  init(
    communicator: Communicator, tree: ReductionTree, runs: [Range<Int>], partials: [VectorView<S>], longest: Int? = nil,
    reproducible: Bool = true, add: @escaping (VectorView<S>, VectorView<S>) -> Void
  ) throws(MPIError) {
    precondition(runs.count == communicator.size, "runs of shards for \(runs.count) ranks among \(communicator.size)")
    sums = PartialSums(tree: tree, runs: runs, rank: communicator.rank)
    precondition(partials.count == sums.local.count, "\(partials.count) partial sums where the rank has \(sums.local.count)")
    precondition(partials.allSatisfy { $0.count == partials[0].count }, "partial sums of different lengths")
    let largest = chunk(0, of: longest ?? partials[0].count, ranks: runs.count).count
    scratch = VectorView(zeros: reproducible ? sums.remote * largest : 0)
    slots = (0..<sums.rounds).map { _ in PendingSlot() }
    result = scratch[0..<0]
    self.partials = partials
    self.reproducible = reproducible
    self.add = add
    self.communicator = communicator.size > 1 ? try communicator.duplicate() : nil
  }

  /// A reducer that goes away in flight does so on the way out of a failed run: what MPI may still write to is then never released.
  deinit {
    for slot in slots { slot.abandon() }
  }

  /// Whether a reduction is under way.
  public var isInFlight: Bool { phase != .idle }

  /// Starts the sum over all shards of the first n elements of the partial sums. All ranks call it with the same n.
  /// - result: [n], written; may be one of the partial sums.
  /// - Throws: `MPIError`.
  public func start(into result: VectorView<S>) throws(MPIError) { try start(0..<result.count, into: result) }

  /// Starts the sum over all shards of some elements of the partial sums. All ranks call it with equally many.
  /// - result: as many elements, written; may be those of one of the partial sums.
  /// - Throws: `MPIError`.
  func start(_ elements: Range<Int>, into result: VectorView<S>) throws(MPIError) {
    precondition(phase == .idle, "a reduction is under way")
    precondition(result.count == elements.count, "a sum of \(elements.count) elements into \(result.count)")
    precondition(elements.upperBound <= partials[0].count, "elements up to \(elements.upperBound) of \(partials[0].count)")
    if elements.isEmpty { return }
    guard let communicator else { return result.become(partials[0][elements]) }
    self.elements = elements
    self.result = result
    if reproducible { try startScatter(communicator) } else { try startAllReduce(communicator) }
  }

  /// Moves the reduction along without blocking; true when none is under way any more.
  /// - Throws: `MPIError`.
  public func poll() throws(MPIError) -> Bool {
    if phase == .idle { return true }
    for slot in slots {
      guard try slot.isDone() else { return false }
    }
    if phase == .scattering {
      try combineAndGather()
      return false
    }
    finish()
    return true
  }

  /// Waits for the end of the reduction.
  /// - Throws: `MPIError`.
  public func wait() throws(MPIError) {
    secondsWaited += try waiting(for: communicator) { () throws(MPIError) in try self.poll() }
  }

  private func startScatter(_ communicator: Communicator) throws(MPIError) {
    let schedule = try self.schedule(for: result.count)
    phase = .scattering
    bytesSent += schedule.sent * MemoryLayout<S>.stride
    for (k, round) in schedule.rounds.enumerated() {
      // A rank with fewer partial sums than others sends nothing in the last rounds.
      slots[k].pending = try communicator.startAllToAllV(
        partials[min(k, partials.count - 1)][elements], blocks: round.send, into: scratch, blocks: round.receive)
    }
  }

  /// Adds up this rank's chunk in the order of the tree and starts collecting the chunks of all ranks.
  private func combineAndGather() throws(MPIError) {
    guard let schedule, let communicator else { preconditionFailure("no exchange is under way") }
    for merge in sums.merges { add(value(merge.into, schedule.chunk), value(merge.from, schedule.chunk)) }
    result[schedule.chunk].become(value(0, schedule.chunk))
    phase = .gathering
    slots[0].pending = try communicator.startAllGatherV(inPlace: result, blocks: schedule.chunks)
  }

  /// This rank's chunk of a partial sum: in the caller's memory for those of this rank, else where it was received.
  private func value(_ number: Int, _ chunk: Range<Int>) -> VectorView<S> {
    guard let place = sums.place(number) else { return partials[number - sums.local.lowerBound][elements][chunk] }
    return scratch[place * chunk.count..<(place + 1) * chunk.count]
  }

  private func startAllReduce(_ communicator: Communicator) throws(MPIError) {
    let sum = partials[0][elements]
    for partial in partials.dropFirst() { add(sum, partial[elements]) }
    result.become(sum)
    phase = .gathering
    slots[0].pending = try communicator.startAllReduce(result, .sum)
  }

  private func finish() {
    phase = .idle
    result = scratch[0..<0]
  }

  /// The exchange for n elements; made anew only for a length that has not been seen lately.
  private func schedule(for count: Int) throws(MPIError) -> ReductionSchedule {
    if let schedule, schedule.count == count { return schedule }
    if let known = schedules[count] {
      schedule = known
      return known
    }
    let new = try ReductionSchedule(count: count, partials: sums)
    if schedules.count >= Self.mostSchedules { schedules.removeAll(keepingCapacity: true) }
    schedules[count] = new
    schedule = new
    return new
  }

  private static var mostSchedules: Int { 64 }
}

extension FixedOrderReducer where S: Scalar {
  /// A reducer of numbers as they are, for the run of shards that the layout gives each rank. All ranks call it together.
  /// - partials: this rank's maximal subtrees (`AccumulationPlan.subtrees`), in order, equally long. While a reduction is under way they
  ///   are scratch memory, and hold nothing of use afterwards.
  /// - reproducible: false leaves the order of addition over ranks to the MPI library.
  /// - Throws: `MPIError`.
  public convenience init(
    communicator: Communicator, layout: ShardLayout, partials: [VectorView<S>], reproducible: Bool = true
  ) throws(MPIError) {
    try self.init(
      communicator: communicator, tree: layout.tree, runs: layout.runs, partials: partials, reproducible: reproducible
    ) { $0.add($1) }
  }
}

extension VectorView {
  /// Copies `source` unless it is this very memory.
  func become(_ source: VectorView) {
    if unsafe pointer != source.pointer { copy(from: source) }
  }
}
