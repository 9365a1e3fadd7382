import Tensors

/// Collectives of single values and of byte strings; they allocate, and are meant for what happens seldom.
extension Communicator {
  /// One value of every rank, in the order of ranks.
  /// - Throws: `MPIError`.
  public func allGather(_ value: Double) throws(MPIError) -> [Double] {
    let all = VectorView<Double>(zeros: size)
    try allGather(VectorView([value]), into: all)
    return all.array
  }

  /// One integer of every rank, in the order of ranks.
  /// - Throws: `MPIError`.
  public func allGather(_ value: Int) throws(MPIError) -> [Int] {
    let all = VectorView<Int64>(zeros: size)
    try allGather(VectorView([Int64(value)]), into: all)
    return all.array.map { Int($0) }
  }

  /// The bytes of every rank, which may differ in number, in the order of ranks.
  /// - Throws: `MPIError`.
  public func allGather(bytes: [UInt8]) throws(MPIError) -> [[UInt8]] {
    let counts: [Int] = try allGather(bytes.count)
    let blocks = try BlockLayout(counts: counts)
    let all = VectorView<UInt8>(zeros: blocks.extent)
    try allGatherV(VectorView(bytes), into: all, blocks: blocks)
    var end = 0
    return counts.map { count in
      defer { end += count }
      return all[end..<end + count].array
    }
  }

  /// The bytes of rank `root`, on every rank.
  /// - bytes: what to send; read on rank `root` only, where it must not be nil.
  /// - Throws: `MPIError`.
  public func broadcast(bytes: [UInt8]?, root: Int) throws(MPIError) -> [UInt8] {
    precondition(rank != root || bytes != nil, "nothing to broadcast")
    let mine = rank == root ? bytes! : []
    let count = VectorView([Int64(mine.count)])
    try broadcast(count, root: root)
    let content = rank == root ? VectorView(mine) : VectorView<UInt8>(zeros: Int(count[0]))
    try broadcast(content, root: root)
    return content.array
  }
}
