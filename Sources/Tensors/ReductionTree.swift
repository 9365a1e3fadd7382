/// The fixed binary tree along which shards are summed.
///
/// A node of `m > 1` leaves splits at the largest power of two below `m`: the first `2^k` leaves on the left, the others on the right. The
/// tree depends on the number of leaves alone, so a sum along it has the same bits however the leaves are dealt out to ranks.
/// A node is named by the range of its leaves.
public struct ReductionTree: Sendable, Equatable {
  /// Number of leaves, at least 1.
  public let leaves: Int

  /// A tree over `leaves` shards, at least one.
  public init(leaves: Int) {
    precondition(leaves >= 1, "a tree needs a leaf")
    self.leaves = leaves
  }

  /// The whole tree.
  public var root: Range<Int> { 0..<leaves }

  /// Left and right part of a node of at least two leaves.
  public static func children(of node: Range<Int>) -> (left: Range<Int>, right: Range<Int>) {
    precondition(node.count >= 2, "a leaf has no children")
    let power = 1 << (Int.bitWidth - 1 - (node.count - 1).leadingZeroBitCount)
    let middle = node.lowerBound + power
    return (node.lowerBound..<middle, middle..<node.upperBound)
  }

  /// The largest whole subtrees that a run of consecutive leaves holds, in the order of leaves.
  public func maximalSubtrees(of run: Range<Int>) -> [Range<Int>] {
    precondition(run.lowerBound >= 0 && run.upperBound <= leaves, "leaves outside the tree")
    var found: [Range<Int>] = []
    func visit(_ node: Range<Int>) {
      if node.clamped(to: run) == node { return found.append(node) }
      if !node.overlaps(run) { return }
      let (left, right) = Self.children(of: node)
      visit(left)
      visit(right)
    }
    visit(root)
    return found
  }

  /// The pairwise additions, in order, that turn values of `nodes` into the value of the root, which ends at index 0.
  /// - nodes: nodes of this tree that cover all leaves once, in the order of leaves.
  /// - Returns: pairs of indices into `nodes`; each stands for `value[into] += value[from]`, with `into` left of `from` in the tree.
  public func merges(of nodes: [Range<Int>]) -> [(into: Int, from: Int)] {
    var merges: [(into: Int, from: Int)] = []
    var next = 0
    func combine(_ node: Range<Int>) -> Int {
      precondition(next < nodes.count, "nodes do not cover the tree")
      if nodes[next] == node {
        next += 1
        return next - 1
      }
      precondition(node.count >= 2, "nodes that are not in the tree, or not in order")
      let (left, right) = Self.children(of: node)
      let into = combine(left)
      merges.append((into: into, from: combine(right)))
      return into
    }
    let top = combine(root)
    precondition(top == 0 && next == nodes.count, "nodes cover more than the tree")
    return merges
  }
}
