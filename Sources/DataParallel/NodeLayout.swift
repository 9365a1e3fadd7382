import MPI

/// Which ranks reduce gradients through memory that they share; all give the same bits.
public enum MemorySharing: Sendable, Equatable {
  /// The ranks of a node.
  case node
  /// Groups of so many consecutive ranks, all of one node, as if each group had a node of its own: the way to try several nodes on one
  /// machine.
  case groups(of: Int)
  /// None: messages carry everything.
  case none
}

/// The nodes of a job whose ranks share memory, where there are as many ranks on each and they are numbered node by node.
struct NodeLayout {
  /// The ranks of this node.
  let node: Communicator
  /// The ranks that have the same place on their nodes, in the order of nodes.
  let peers: Communicator
  /// The ranks of each node.
  let ranks: [Range<Int>]
  /// Number of this node.
  let index: Int

  /// Nil, on all ranks, where ranks are spread in another way, or no rank shares memory with another. All ranks call it together.
  /// - Throws: `MPIError`.
  init?(_ world: Communicator, _ sharing: MemorySharing) throws(MPIError) {
    let node: Communicator
    switch sharing {
    case .none: return nil
    case .node: node = try world.splitByMemory()
    case .groups(let size): node = try world.split(color: world.rank / size)
    }
    let first: [Int] = try world.allGather(world.rank - node.rank)
    // Ranks lie at the place that their node's first rank and size give them.
    let size: [Int] = try world.allGather(node.size)
    guard node.size > 1, size.allSatisfy({ $0 == node.size }), first.indices.allSatisfy({ first[$0] == $0 / node.size * node.size }) else {
      return nil
    }
    self.node = node
    peers = try world.split(color: node.rank)
    ranks = stride(from: 0, to: world.size, by: node.size).map { $0..<$0 + node.size }
    index = world.rank / node.size
  }
}
