import MPI
import Tensors

/// Combines statistics over groups of consecutive shards, wherever in the job the shards are.
///
/// Each group is merged along its own `ReductionTree`, so the results have the same bits on every number of ranks and in both forms of
/// exchange. All ranks make the same calls in the same order. S is the number of shards, F the number of columns.
public final class StatisticsExchange<S: CommunicableScalar> {
  private struct Size: Hashable {
    let columns: Int
    let parts: Int
  }

  private let communicator: Communicator
  private let schedule: StatisticsSchedule
  private let shards: Int
  private let localShards: Int
  private let smallMessage: Int
  private var messages: [Size: StatisticsMessages] = [:]
  private var counts: CumulativeCounts
  // Memory for messages, which grows to the largest exchange and stays.
  private var outgoing = VectorView<S>(zeros: 0)
  private var incoming = VectorView<S>(zeros: 0)

  /// Reductions whose messages go on while this exchange waits for others. All ranks have one or none has: what blocks and what does not do
  /// not match each other.
  public var background: GradientReducer?

  /// Seconds spent so far in both functions, waiting for other ranks included.
  public private(set) var seconds = 0.0

  /// Bytes over all ranks up to which an exchange travels whole, in one message, by default.
  public static var smallMessage: Int { 128 << 10 }

  /// All ranks call it together.
  /// - groups: consecutive runs of shards that cover all of them.
  /// - smallMessage: up to this many bytes over all ranks travel whole, in one message.
  /// - Throws: `MPIError`.
  public init(
    communicator: Communicator, layout: ShardLayout, groups: [Range<Int>], smallMessage: Int = StatisticsExchange.smallMessage
  ) throws(MPIError) {
    precondition(layout.ranks == communicator.size, "a layout for \(layout.ranks) ranks among \(communicator.size)")
    schedule = StatisticsSchedule(layout: layout, rank: communicator.rank, groups: groups)
    self.communicator = communicator.size > 1 ? try communicator.duplicate() : communicator
    self.smallMessage = smallMessage
    shards = layout.shards
    localShards = layout.run(of: communicator.rank).count
    counts = CumulativeCounts()
  }

  /// Replaces each local shard's moments by those of its group.
  /// - mean, squares: mean and M2, [local shards, F], F = steps × features, time-major.
  /// - counts: frames of every shard of all ranks at every step, [S × steps].
  /// - Throws: `MPIError`.
  public func combineMoments(mean: MatrixView<S>, squares: MatrixView<S>, counts: [Int]) throws {
    precondition(mean.rows == localShards && squares.rows == localShards && mean.columns == squares.columns, "moments of another shape")
    self.counts.set(counts, shards: shards, columns: mean.columns)
    try combine([mean, squares], columns: mean.columns)
  }

  /// Replaces each local shard's row by the sum over its group.
  /// - sums: [local shards, F].
  /// - Throws: `MPIError`.
  public func combineSums(_ sums: MatrixView<S>) throws {
    precondition(sums.rows == localShards, "sums of another shape")
    try combine([sums], columns: sums.columns)
  }

  /// `parts` are mean and M2, or sums alone.
  private func combine(_ parts: [MatrixView<S>], columns: Int) throws(MPIError) {
    let start = ContinuousClock.now
    for merge in schedule.localMerges {
      self.merge(merge, columns: 0..<columns, into: { parts[$0][merge.into] }, from: { parts[$0][merge.from] }, parts: parts.count)
    }
    for rows in schedule.insideRows {
      for part in parts { part.spread(rows) }
    }
    if !schedule.spanning.isEmpty && columns > 0 {
      switch try messages(Size(columns: columns, parts: parts.count)) {
      case .whole(let records): try exchange(records, parts, columns)
      case .chunked(let records): try exchange(records, parts, columns)
      }
    }
    seconds += DataParallel.seconds(since: start)
  }

  /// One message: all nodes to all ranks; each merges the groups that it takes part in.
  private func exchange(
    _ records: StatisticsMessages.WholeRecords, _ parts: [MatrixView<S>], _ columns: Int
  ) throws(MPIError) {
    let width = parts.count * columns
    grow(&outgoing, schedule.nodeRows.count * width)
    grow(&incoming, schedule.nodeCount * width)
    var place = 0
    for row in schedule.nodeRows {
      for part in parts { copy(part[row], into: outgoing, &place) }
    }
    let sent = outgoing[0..<place]
    if let background {
      try background.waiting(for: try communicator.startAllGatherV(sent, into: incoming, blocks: records.nodes))
    } else {
      try communicator.allGatherV(sent, into: incoming, blocks: records.nodes)
    }
    for group in schedule.groupsOfRank[communicator.rank] {
      mergeNodes(schedule.spanning[group], columns: 0..<columns, parts: parts.count)
      var place = schedule.spanning[group].nodes.lowerBound * width
      for part in parts {
        part[schedule.spanning[group].rows.lowerBound].copy(from: incoming[place..<place + columns])
        place += columns
        part.spread(schedule.spanning[group].rows)
      }
    }
  }

  /// Reduce-scatter in the order of the tree, then every rank gets its groups' results.
  private func exchange(
    _ records: StatisticsMessages.ChunkedRecords, _ parts: [MatrixView<S>], _ columns: Int
  ) throws(MPIError) {
    let chunk = records.chunks[communicator.rank]
    let width = parts.count * chunk.count
    let groups = schedule.groupsOfRank[communicator.rank]
    grow(&outgoing, max(records.sendNodes.extent, schedule.spanning.count * width))
    grow(&incoming, max(records.receiveNodes.extent, records.receiveGroups.extent))
    var place = 0
    for chunk in records.chunks {
      for row in schedule.nodeRows {
        for part in parts { copy(part[row][chunk], into: outgoing, &place) }
      }
    }
    try allToAllV(records.sendNodes, records.receiveNodes)
    place = 0
    for group in schedule.spanning {
      mergeNodes(group, columns: chunk, parts: parts.count)
      let first = group.nodes.lowerBound * width
      copy(incoming[first..<first + width], into: outgoing, &place)
    }
    try allToAllV(records.sendGroups, records.receiveGroups)
    place = 0
    for chunk in records.chunks {
      for group in groups {
        for part in parts {
          part[schedule.spanning[group].rows.lowerBound][chunk].copy(from: incoming[place..<place + chunk.count])
          place += chunk.count
        }
      }
    }
    for group in groups {
      for part in parts { part.spread(schedule.spanning[group].rows) }
    }
  }

  private func allToAllV(_ sent: BlockLayout, _ received: BlockLayout) throws(MPIError) {
    if let background {
      try background.waiting(for: try communicator.startAllToAllV(outgoing, blocks: sent, into: incoming, blocks: received))
    } else {
      try communicator.allToAllV(outgoing, blocks: sent, into: incoming, blocks: received)
    }
  }

  /// Merges the records of a group's nodes in `incoming`, [nodes, parts, columns], into the first.
  private func mergeNodes(_ group: StatisticsSchedule.Group, columns: Range<Int>, parts: Int) {
    func record(_ node: Int, _ part: Int) -> VectorView<S> {
      let start = (node * parts + part) * columns.count
      return incoming[start..<start + columns.count]
    }
    for merge in group.merges {
      self.merge(merge, columns: columns, into: { record(merge.into, $0) }, from: { record(merge.from, $0) }, parts: parts)
    }
  }

  /// One pairwise merge of the values of `columns`; `into` and `from` give the values of each part.
  private func merge(
    _ merge: StatisticsSchedule.Merge, columns: Range<Int>, into: (Int) -> VectorView<S>, from: (Int) -> VectorView<S>, parts: Int
  ) {
    if parts == 1 { return into(0).add(from(0)) }
    let (mean, squares, otherMean, otherSquares) = (into(0), into(1), from(0), from(1))
    counts.forEachRun(of: columns, merge.intoShards, merge.fromShards) { range, count, otherCount in
      mergeMoments(
        count: count, mean: mean[range], squares: squares[range],
        otherCount: otherCount, otherMean: otherMean[range], otherSquares: otherSquares[range])
    }
  }

  private func messages(_ size: Size) throws(MPIError) -> StatisticsMessages {
    if let known = messages[size] { return known }
    let bytes = schedule.nodeCount * size.parts * size.columns * MemoryLayout<S>.stride
    let new = try StatisticsMessages(
      schedule, rank: communicator.rank, columns: size.columns, parts: size.parts, chunked: bytes > smallMessage)
    messages[size] = new
    return new
  }

  private func grow(_ memory: inout VectorView<S>, _ count: Int) {
    if memory.count < count { memory = VectorView(zeros: count) }
  }

  private func copy(_ source: VectorView<S>, into target: VectorView<S>, _ place: inout Int) {
    target[place..<place + source.count].copy(from: source)
    place += source.count
  }
}

extension MatrixView {
  /// Copies the first of `rows` into the others.
  fileprivate func spread(_ rows: Range<Int>) {
    for row in rows.dropFirst() { self[row].copy(from: self[rows.lowerBound]) }
  }
}
