/// How a rank that computes its shards one after another sums them along the `ReductionTree` in few slots of memory: a shard's value is written
/// to a free slot, then every node that is now complete is merged. About log₂ of the run's length slots are enough.
public struct AccumulationPlan: Sendable {
  /// One shard's turn.
  public struct Step: Sendable {
    /// The leaf of the tree that is computed.
    public let shard: Int
    /// The slot that its value is written to; what the slot held before is no longer needed.
    public let slot: Int
    /// Additions that follow, in order: `slot[into] += slot[from]`.
    public internal(set) var merges: [(into: Int, from: Int)] = []
  }

  /// Turns in the order of shards.
  public let steps: [Step]
  /// Number of slots that the steps use, numbered from 0.
  public let slotCount: Int
  /// The largest whole subtrees of the run, in the order of leaves.
  public let subtrees: [Range<Int>]
  /// The slot that holds each of `subtrees` at the end.
  public let subtreeSlots: [Int]

  /// A plan for the consecutive shards `run` of `tree`.
  public init(tree: ReductionTree, run: Range<Int>) {
    var steps: [Step] = []
    var occupied: [Bool] = []
    func takeSlot() -> Int {
      if let free = occupied.firstIndex(of: false) {
        occupied[free] = true
        return free
      }
      occupied.append(true)
      return occupied.count - 1
    }
    func compute(_ node: Range<Int>) -> Int {
      if node.count == 1 {
        steps.append(Step(shard: node.lowerBound, slot: takeSlot()))
        return steps[steps.count - 1].slot
      }
      let (left, right) = ReductionTree.children(of: node)
      let into = compute(left)
      let from = compute(right)
      steps[steps.count - 1].merges.append((into: into, from: from))
      occupied[from] = false
      return into
    }
    subtrees = tree.maximalSubtrees(of: run)
    subtreeSlots = subtrees.map(compute)
    self.steps = steps
    slotCount = occupied.count
  }
}
