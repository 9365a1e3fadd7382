import Tensors

/// Where each rank's block lies in a vector that a collective sends from or receives into: a count and a displacement a rank, in elements.
///
/// Made once and kept, so that a step allocates nothing; immutable, so that a pending collective may go on reading it.
public final class BlockLayout {
  /// Elements of each rank's block, [P].
  let counts: VectorView<Int32>
  /// First element of each rank's block, [P].
  let displacements: VectorView<Int32>
  /// Length of the shortest vector that holds all blocks.
  public let extent: Int

  /// Blocks at any place.
  /// - Throws: `MPIError` where a count or displacement does not fit MPI's 32 bits.
  public init(counts: [Int], displacements: [Int]) throws(MPIError) {
    precondition(counts.count == displacements.count, "a displacement for each count")
    precondition(counts.allSatisfy { $0 >= 0 } && displacements.allSatisfy { $0 >= 0 }, "negative count or displacement")
    self.counts = VectorView(zeros: counts.count)
    self.displacements = VectorView(zeros: counts.count)
    var extent = 0
    for rank in counts.indices {
      self.counts[rank] = try messageCount(counts[rank], "BlockLayout", rank: nil)
      self.displacements[rank] = try messageCount(displacements[rank], "BlockLayout", rank: nil)
      if counts[rank] > 0 { extent = max(extent, displacements[rank] + counts[rank]) }
    }
    self.extent = extent
  }

  /// The elements of a rank's block.
  subscript(rank: Int) -> Range<Int> { Int(displacements[rank])..<Int(displacements[rank] + counts[rank]) }

  /// Blocks one after another, in the order of ranks.
  /// - Throws: `MPIError` where a count or displacement does not fit MPI's 32 bits.
  public convenience init(counts: [Int]) throws(MPIError) {
    var displacements: [Int] = []
    var end = 0
    for count in counts {
      displacements.append(end)
      end += count
    }
    try self.init(counts: counts, displacements: displacements)
  }
}
