import MPI
import Tensors

/// Sums a part of a vector over all shards of all ranks, without blocking.
protocol VectorReducing<Element>: AnyObject {
  associatedtype Element: BitwiseCopyable

  /// Whether a reduction is under way.
  var isInFlight: Bool { get }
  /// Bytes that this rank has sent to others so far.
  var bytesSent: Int { get }
  /// Starts the sum of some elements of the partial sums. All ranks call it with equally many.
  /// - result: as many elements.
  func start(_ elements: Range<Int>, into result: VectorView<Element>) throws(MPIError)
  /// Moves the reduction along; true when none is under way any more.
  func poll() throws(MPIError) -> Bool
}

/// A reducer of gradients that sends messages in `format`, or in single precision. All ranks call it together.
/// - runs: the shards of each rank, consecutive and in the order of ranks.
/// - longest: the most elements of a reduction.
/// - Throws: `MPIError`.
func messageReducer(
  communicator: Communicator, tree: ReductionTree, runs: [Range<Int>], partials: [VectorView<Float>], longest: Int, reproducible: Bool,
  format: HalfFormat?
) throws(MPIError) -> any VectorReducing<Float> {
  if let format {
    return try HalfPrecisionReducer(
      communicator: communicator, tree: tree, runs: runs, partials: partials, longest: longest, format: format)
  }
  return try FixedOrderReducer<Float>(
    communicator: communicator, tree: tree, runs: runs, partials: partials, longest: longest, reproducible: reproducible
  ) { $0.add($1) }
}

extension VectorView where Element == Float {
  /// Adds `other` as the reduction of gradients in `format` does at every node of its tree; nil: in single precision, without rounding.
  public func add(_ other: VectorView, as format: HalfFormat?) {
    if let format { add(other, rounding: format) } else { add(other) }
  }

  /// Rounds to the format, if there is one.
  func round(to format: HalfFormat?) {
    if let format { round(self, to: format) }
  }
}
