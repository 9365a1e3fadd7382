import Tensors

/// How the partial sums of a node's ranks become those of the node, the maximal subtrees of the run of shards that its ranks hold together.
///
/// No partial sum is written to: what is only of use on the way goes to scratch memory, which is few and reused.
struct NodePlan {
  /// Where a vector lies.
  enum Place: Equatable {
    /// A partial sum of a rank, numbered over the node in the order of shards.
    case partial(Int)
    /// A partial sum of the node.
    case sum(Int)
    case scratch(Int)
  }

  /// `into = a + b`, or `into = a` without `b`. `into` may be `a`.
  struct Addition: Equatable {
    let into: Place
    let a: Place
    let b: Place?
  }

  /// In order.
  private(set) var additions: [Addition] = []
  /// Number of partial sums of each rank of the node.
  let counts: [Int]
  /// Number of partial sums of the node.
  let sumCount: Int
  /// Number of vectors of scratch memory.
  private(set) var scratchCount = 0

  /// - runs: the shards of the node's ranks, consecutive and in the order of ranks.
  init(tree: ReductionTree, runs: [Range<Int>]) {
    let held = runs.map(tree.maximalSubtrees)
    let sums = tree.maximalSubtrees(of: runs[0].lowerBound..<runs[runs.count - 1].upperBound)
    counts = held.map(\.count)
    sumCount = sums.count
    // Where the value of each node of the tree is; nil once it has been added to another.
    var places: [Place?] = [], first = 0
    for (k, sum) in sums.enumerated() {
      let nodes = held.joined().filter { $0.clamped(to: sum) == $0 }
      places = nodes.indices.map { .partial(first + $0) }
      first += nodes.count
      if nodes.count == 1 { additions.append(Addition(into: .sum(k), a: .partial(first - 1), b: nil)) }
      // A subtree has the shape of a tree of its own.
      for merge in ReductionTree(leaves: sum.count).merges(of: nodes.map { $0.shifted(by: -sum.lowerBound) }) {
        guard let a = places[merge.into], let b = places[merge.from] else { preconditionFailure("a value is added twice") }
        let into = merge.into == 0 ? .sum(k) : scratch(for: a, among: places)
        additions.append(Addition(into: into, a: a, b: b))
        places[merge.into] = into
        places[merge.from] = nil
      }
    }
  }

  /// Where the sum of the value at `place` and another goes: a partial sum's to memory that no value of `places` lies in.
  private mutating func scratch(for place: Place, among places: [Place?]) -> Place {
    if case .scratch = place { return place }
    var free = 0
    while places.contains(.scratch(free)) { free += 1 }
    scratchCount = max(scratchCount, free + 1)
    return .scratch(free)
  }
}
