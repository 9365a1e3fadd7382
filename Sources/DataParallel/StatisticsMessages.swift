import MPI

/// The blocks of memory that ranks exchange when they combine statistics of one size. A record is one node's or group's values of some columns:
/// `parts` rows (mean and M2, or sums alone), one after the other.
enum StatisticsMessages {
  /// Every rank gets every node's record and merges by itself: one message, right for little data.
  case whole(WholeRecords)
  /// Every rank gets a chunk of the columns of all nodes, merges it, and hands it to the ranks of the group: right for much data.
  case chunked(ChunkedRecords)

  struct WholeRecords {
    /// Records of each rank's nodes.
    let nodes: BlockLayout
  }

  struct ChunkedRecords {
    /// The columns that each rank merges.
    let chunks: [Range<Int>]
    /// This rank's nodes, cut into chunks, as they are sent: for each rank [nodes, parts, chunk].
    let sendNodes: BlockLayout
    /// All nodes' records of this rank's chunk, as they are received: [nodes, parts, chunk].
    let receiveNodes: BlockLayout
    /// All groups' merged records of this rank's chunk [groups, parts, chunk]; each rank is sent its own groups'.
    let sendGroups: BlockLayout
    /// This rank's groups' records, as they are received: for each rank [groups, parts, chunk].
    let receiveGroups: BlockLayout
  }

  /// - Throws: `MPIError` for messages too long for MPI.
  init(
    _ schedule: StatisticsSchedule, rank: Int, columns: Int, parts: Int, chunked: Bool
  ) throws(MPIError) {
    let ranks = schedule.nodesOfRank.count
    if !chunked {
      self = .whole(WholeRecords(nodes: try BlockLayout(counts: schedule.nodesOfRank.map { $0.count * parts * columns })))
      return
    }
    let chunks = DataParallel.chunks(of: columns, ranks: ranks)
    let width = chunks[rank].count * parts
    let groups = schedule.groupsOfRank
    self = .chunked(
      ChunkedRecords(
        chunks: chunks,
        sendNodes: try BlockLayout(counts: chunks.map { $0.count * parts * schedule.nodesOfRank[rank].count }),
        receiveNodes: try BlockLayout(counts: schedule.nodesOfRank.map { $0.count * width }),
        sendGroups: try BlockLayout(counts: groups.map { $0.count * width }, displacements: groups.map { $0.lowerBound * width }),
        receiveGroups: try BlockLayout(counts: chunks.map { $0.count * parts * groups[rank].count })))
  }
}
