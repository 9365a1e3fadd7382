import Tensors

/// Who merges what with whom when statistics are combined over groups of shards. Depends on the groups and on the layout alone.
///
/// A group's statistics are merged along a `ReductionTree` whose leaves are the shards of the group. A group that lies inside one rank needs no
/// message. Of one that spans ranks, every rank holds nodes: the maximal subtrees of its part of the group. Nodes of all spanning groups
/// are numbered in the order of shards, which is also the order of ranks and of groups.
struct StatisticsSchedule {
  /// One pairwise merge: the value at `into` becomes that of both together.
  struct Merge: Equatable {
    let into: Int
    let from: Int
    /// The shards that each side covers, for their counts.
    let intoShards: Range<Int>
    let fromShards: Range<Int>
  }

  /// A group that spans ranks.
  struct Group {
    /// Rows of this rank that belong to the group.
    let rows: Range<Int>
    /// The nodes of the group.
    let nodes: Range<Int>
    /// Merges of the nodes, after which the first holds the result.
    let merges: [Merge]
  }

  /// Merges of this rank's rows, before any message.
  private(set) var localMerges: [Merge] = []
  /// The groups that lie inside this rank: after the merges their first row holds the result.
  private(set) var insideRows: [Range<Int>] = []
  /// All groups that span ranks; `rows` is empty for those without shards of this rank.
  private(set) var spanning: [Group] = []
  /// The row of each node of this rank.
  private(set) var nodeRows: [Int] = []
  /// For each rank its nodes.
  private(set) var nodesOfRank: [Range<Int>] = []
  /// For each rank the spanning groups that it takes part in.
  private(set) var groupsOfRank: [Range<Int>] = []

  init(layout: ShardLayout, rank: Int, groups: [Range<Int>]) {
    precondition(groups.first?.lowerBound == 0 && groups.last?.upperBound == layout.shards, "groups that do not cover the shards")
    precondition(zip(groups, groups.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound }, "groups with gaps")
    precondition(groups.allSatisfy { !$0.isEmpty }, "an empty group")
    let runs = (0..<layout.ranks).map(layout.run)
    let local = runs[rank]
    let spans = groups.filter { group in !runs.contains { $0.clamped(to: group) == group } }
    for group in groups where group.overlaps(local) { addLocalMerges(group, local, inside: !spans.contains(group)) }
    var nodes: [Range<Int>] = []
    for group in spans {
      let held = runs.flatMap { subtrees(of: group, in: $0) }
      spanning.append(
        Group(
          rows: rows(of: group, in: local), nodes: nodes.count..<nodes.count + held.count,
          merges: nodeMerges(group, held, first: nodes.count)))
      nodes += held
    }
    for run in runs {
      nodesOfRank.append(indices(of: nodes) { run.overlaps($0) })
      groupsOfRank.append(indices(of: spans) { run.overlaps($0) })
    }
    nodeRows = nodesOfRank[rank].map { nodes[$0].lowerBound - local.lowerBound }
  }

  /// Number of nodes of all ranks.
  var nodeCount: Int { spanning.last?.nodes.upperBound ?? 0 }

  /// Merges the rows of every maximal subtree of the group that this rank holds, into its first row.
  private mutating func addLocalMerges(_ group: Range<Int>, _ local: Range<Int>, inside: Bool) {
    let origin = group.lowerBound
    func visit(_ node: Range<Int>) {
      if node.count == 1 { return }
      let (left, right) = ReductionTree.children(of: node.shifted(by: -origin))
      let parts = (left: left.shifted(by: origin), right: right.shifted(by: origin))
      visit(parts.left)
      visit(parts.right)
      localMerges.append(
        Merge(
          into: parts.left.lowerBound - local.lowerBound, from: parts.right.lowerBound - local.lowerBound,
          intoShards: parts.left, fromShards: parts.right))
    }
    subtrees(of: group, in: local).forEach(visit)
    if inside { insideRows.append(rows(of: group, in: local)) }
  }

  /// The maximal subtrees of a group's tree that a run of shards holds, as ranges of shards.
  private func subtrees(of group: Range<Int>, in run: Range<Int>) -> [Range<Int>] {
    let part = group.clamped(to: run)
    if part.isEmpty { return [] }
    return ReductionTree(leaves: group.count).maximalSubtrees(of: part.shifted(by: -group.lowerBound))
      .map { $0.shifted(by: group.lowerBound) }
  }

  /// Merges of the nodes of a group, numbered from `first`.
  private func nodeMerges(_ group: Range<Int>, _ nodes: [Range<Int>], first: Int) -> [Merge] {
    var covered = nodes
    return ReductionTree(leaves: group.count).merges(of: nodes.map { $0.shifted(by: -group.lowerBound) }).map { into, from in
      defer { covered[into] = covered[into].lowerBound..<covered[from].upperBound }
      return Merge(into: first + into, from: first + from, intoShards: covered[into], fromShards: covered[from])
    }
  }

  private func rows(of group: Range<Int>, in local: Range<Int>) -> Range<Int> {
    let part = group.clamped(to: local)
    return part.isEmpty ? 0..<0 : part.shifted(by: -local.lowerBound)
  }

  /// The indices of the ranges that hold `condition`, which are consecutive.
  private func indices(of ranges: [Range<Int>], _ condition: (Range<Int>) -> Bool) -> Range<Int> {
    guard let first = ranges.firstIndex(where: condition), let last = ranges.lastIndex(where: condition) else { return 0..<0 }
    return first..<last + 1
  }
}

extension Range<Int> {
  /// This range, moved.
  func shifted(by distance: Int) -> Range<Int> { lowerBound + distance..<upperBound + distance }
}
