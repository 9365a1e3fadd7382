import Tensors
import Testing

@Suite struct ReductionTreeTests {
  /// The sum over a node as a string that shows the order of addition.
  private func expression(_ node: Range<Int>) -> String {
    if node.count == 1 { return "\(node.lowerBound)" }
    var power = 1
    while power * 2 < node.count { power *= 2 }
    let middle = node.lowerBound + power
    return "(\(expression(node.lowerBound..<middle))+\(expression(middle..<node.upperBound)))"
  }

  /// `leaves` cut into `parts` runs whose lengths differ by at most one, the longer ones first.
  private func evenRuns(_ leaves: Int, _ parts: Int) -> [Range<Int>] {
    var start = 0
    return (0..<parts).map { part in
      let count = leaves / parts + (part < leaves % parts ? 1 : 0)
      defer { start += count }
      return start..<start + count
    }
  }

  /// The whole reduction: every run by its plan, then the merges over all subtrees.
  private func reduce(_ tree: ReductionTree, runs: [Range<Int>]) -> String {
    var nodes: [Range<Int>] = []
    var values: [String] = []
    for run in runs {
      let plan = AccumulationPlan(tree: tree, run: run)
      #expect(plan.steps.map(\.shard) == Array(run))
      #expect(plan.subtrees == tree.maximalSubtrees(of: run))
      var slots = [String?](repeating: nil, count: plan.slotCount)
      for step in plan.steps {
        slots[step.slot] = "\(step.shard)"
        for merge in step.merges {
          slots[merge.into] = "(\(slots[merge.into] ?? "?")+\(slots[merge.from] ?? "?"))"
          slots[merge.from] = nil
        }
      }
      nodes += plan.subtrees
      values += plan.subtreeSlots.map { slots[$0] ?? "?" }
    }
    for merge in tree.merges(of: nodes) { values[merge.into] = "(\(values[merge.into])+\(values[merge.from]))" }
    return values[0]
  }

  @Test func smallTreesAreAsDrawn() {
    #expect(expression(0..<3) == "((0+1)+2)")
    #expect(expression(0..<6) == "(((0+1)+(2+3))+(4+5))")
    #expect(ReductionTree(leaves: 8).maximalSubtrees(of: 3..<6) == [3..<4, 4..<6])
    #expect(ReductionTree(leaves: 7).maximalSubtrees(of: 4..<7) == [4..<7])
    #expect(ReductionTree(leaves: 5).maximalSubtrees(of: 2..<2) == [])
    #expect(ReductionTree(leaves: 1).merges(of: [0..<1]).isEmpty)
  }

  @Test func everyEvenPartitionGivesOneExpression() {
    var partitions = 0
    for leaves in 1...40 {
      let tree = ReductionTree(leaves: leaves)
      for parts in 1...leaves {
        #expect(reduce(tree, runs: evenRuns(leaves, parts)) == expression(0..<leaves), "\(leaves) leaves in \(parts) runs")
        partitions += 1
      }
    }
    #expect(partitions == 820)
  }

  /// All 2^(n-1) ways to cut n leaves into runs.
  @Test func everyPartitionOfFewLeavesGivesOneExpression() {
    for leaves in 1...9 {
      let tree = ReductionTree(leaves: leaves)
      for cuts in 0..<(1 << (leaves - 1)) {
        let bounds = [0] + (1..<leaves).filter { cuts & (1 << ($0 - 1)) != 0 } + [leaves]
        let runs = zip(bounds, bounds.dropFirst()).map { $0..<$1 }
        #expect(reduce(tree, runs: runs) == expression(0..<leaves), "\(leaves) leaves cut at \(bounds)")
      }
    }
  }

  @Test func subtreesAreWholeLargestAndInOrder() {
    for leaves in 1...20 {
      let tree = ReductionTree(leaves: leaves)
      var nodes: Set<Range<Int>> = []
      func collect(_ node: Range<Int>) {
        nodes.insert(node)
        if node.count == 1 { return }
        let (left, right) = ReductionTree.children(of: node)
        collect(left)
        collect(right)
      }
      collect(tree.root)
      for start in 0..<leaves {
        for end in (start + 1)...leaves {
          let found = tree.maximalSubtrees(of: start..<end)
          #expect(found.flatMap(Array.init) == Array(start..<end))
          for subtree in found {
            #expect(nodes.contains(subtree))
            let wider = nodes.filter { $0 != subtree && $0.clamped(to: subtree) == subtree }
            #expect(!wider.contains { $0.lowerBound >= start && $0.upperBound <= end })
          }
        }
      }
    }
  }

  @Test func slotsGrowWithTheLogarithm() {
    #expect(AccumulationPlan(tree: ReductionTree(leaves: 1), run: 0..<1).slotCount == 1)
    #expect(AccumulationPlan(tree: ReductionTree(leaves: 2), run: 0..<2).slotCount == 2)
    #expect(AccumulationPlan(tree: ReductionTree(leaves: 64), run: 0..<64).slotCount == 7)
    #expect(AccumulationPlan(tree: ReductionTree(leaves: 64), run: 0..<64).subtreeSlots == [0])
    #expect(AccumulationPlan(tree: ReductionTree(leaves: 8), run: 3..<6).subtreeSlots == [0, 1])
  }
}
