import MPI
import Tensors

/// Sums one vector over all shards of all ranks by messages in a format of 16 bits, with every node of the tree rounded to it.
///
/// Rounded values lose nothing in the format, so partial sums are encoded once and stay so until the sum has arrived.
final class HalfPrecisionReducer: VectorReducing {
  private let format: HalfFormat
  private let partials: [VectorView<Float>]
  /// The elements under way as they are sent; none where there is no other rank.
  private let encoded: [VectorView<UInt16>]
  private let exchange: FixedOrderReducer<UInt16>?
  /// Empty unless a reduction is under way.
  private var result: VectorView<Float>

  /// Allocates all memory. All ranks call it together.
  /// - runs: the shards of each rank, consecutive and in the order of ranks.
  /// - partials: this rank's maximal subtrees, in order, equally long; single shards may be unrounded.
  /// - longest: the most elements of a reduction.
  /// - Throws: `MPIError`.
  init(
    communicator: Communicator, tree: ReductionTree, runs: [Range<Int>], partials: [VectorView<Float>], longest: Int,
    format: HalfFormat
  ) throws(MPIError) {
    self.format = format
    self.partials = partials
    let encoded = communicator.size == 1 ? [] : partials.map { _ in VectorView<UInt16>(zeros: longest) }
    self.encoded = encoded
    result = partials[0][0..<0]
    exchange =
      communicator.size == 1
      ? nil
      : try FixedOrderReducer<UInt16>(communicator: communicator, tree: tree, runs: runs, partials: encoded, longest: longest) {
        $0.addEncoded($1, format)
      }
  }

  var isInFlight: Bool { exchange?.isInFlight ?? false }
  var bytesSent: Int { exchange?.bytesSent ?? 0 }

  func start(_ elements: Range<Int>, into result: VectorView<Float>) throws(MPIError) {
    guard let exchange else { return result.round(partials[0][elements], to: format) }
    precondition(!exchange.isInFlight, "a reduction is under way")
    let sent = 0..<elements.count
    for (bits, partial) in zip(encoded, partials) { bits[sent].encode(partial[elements], format) }
    try exchange.start(sent, into: encoded[0][sent])
    self.result = result
  }

  func poll() throws(MPIError) -> Bool {
    guard let exchange else { return true }
    guard try exchange.poll() else { return false }
    result.decode(encoded[0][0..<result.count], format)
    result = result[0..<0]
    return true
  }
}
