import MPI
import Tensors

/// Reducers that take turns: so many messages of gradients are in flight and no more, whatever waits.
///
/// What is in flight lies in the buffers of sockets and network cards, and nothing overtakes it: an exchange of statistics waits until it has
/// passed. So a lane is kept for little, and there are few. Each lane has a communicator of its own, and lanes take turns: every rank gives
/// them to the same reductions, as long as ranks ask for turns in one order.
final class MessageLanes {
  private let lanes: [any VectorReducing<Float>]
  /// Whether something urgent waits behind what is in flight: then few lanes are filled, enough that the link does not idle meanwhile.
  var yields = false
  // Turns that were given, and the first that has not begun.
  private var turns = 0
  private var next = 0

  /// All ranks call it together.
  /// - count: lanes, one or more.
  /// - lane: makes one.
  init(_ count: Int, _ lane: () throws(MPIError) -> any VectorReducing<Float>) throws(MPIError) {
    precondition(count >= 1, "no lane")
    var lanes: [any VectorReducing<Float>] = []
    for _ in 0..<count { lanes.append(try lane()) }
    self.lanes = lanes
  }

  /// Bytes that this rank has sent to others so far.
  var bytesSent: Int { lanes.reduce(0) { $0 + $1.bytesSent } }

  /// Number of reductions in flight.
  var inFlight: Int { lanes.reduce(0) { $0 + ($1.isInFlight ? 1 : 0) } }

  /// A turn for a reduction. All ranks ask in the same order.
  func turn() -> Int {
    defer { turns += 1 }
    return turns
  }

  /// The number of the lane of a turn.
  func number(_ turn: Int) -> Int { turn % lanes.count }

  /// Whether this is the first turn that has not begun, and its lane may be filled.
  func isFree(for turn: Int) -> Bool {
    turn == next && !lanes[number(turn)].isInFlight && (!yields || inFlight < Self.lanesBesideUrgent)
  }

  private static let lanesBesideUrgent = 2

  /// Begins a turn that `isFree`; see `VectorReducing.start`.
  func start(_ turn: Int, _ elements: Range<Int>, into result: VectorView<Float>) throws(MPIError) {
    precondition(isFree(for: turn), "a reduction before its turn")
    next += 1
    try lanes[number(turn)].start(elements, into: result)
  }

  /// Moves the reduction of a turn that has begun along; true when it is not under way any more.
  func poll(_ turn: Int) throws(MPIError) -> Bool { try lanes[number(turn)].poll() }
}
