import Glibc
import MPI
import Tensors

/// Packed weights of which the ranks of a node keep one copy: what each would pack for itself is the same, takes the time and memory of one
/// for every rank, and fills the cache that they share with copies.
public final class SharedWeights {
  private let node: Communicator
  private let cache, least: Int

  /// All ranks of `world` call it together.
  /// - cache: bytes of the cache that ranks of a node share, 0 where nobody knows. A matrix of which their copies together would fill more than
  ///   half of it is kept once; a smaller one is each rank's own, in larger pages than the system gives for shared memory.
  /// - least: bytes of a matrix up to which a core's own cache has room for a copy.
  /// - Throws: `MPIError`.
  public init(_ world: Communicator, cache: Int, least: Int = 2 << 20) throws(MPIError) {
    node = try world.splitByMemory()
    self.cache = cache > 0 ? cache : 32 << 20
    self.least = least
  }

  /// Room for a matrix [N, K], as `PackedMatrix` makes it; shared where that is worth it and the node has the memory. All ranks call it
  /// together, and then pack together.
  /// - Throws: `MPIError`.
  public func matrix(outputs: Int, inputs: Int, format: PackedFormat) throws(MPIError) -> PackedMatrix<Float> {
    let count = PackedMatrix<Float>.elements(outputs: outputs, inputs: inputs)
    switch format {
    case .exact:
      guard let (memory, team) = try share(count, of: Float.self) else { break }
      return PackedMatrix(outputs: outputs, inputs: inputs, exact: memory, sharing: team)
    case .bfloat16:
      guard let (memory, team) = try share(count, of: UInt16.self) else { break }
      return PackedMatrix(outputs: outputs, inputs: inputs, rounded: memory, sharing: team)
    }
    return PackedMatrix(outputs: outputs, inputs: inputs, format: format)
  }

  /// Nil, on all ranks of the node, where each has to have its own.
  private func share<Element: BitwiseCopyable>(
    _ count: Int, of type: Element.Type
  ) throws(MPIError) -> (VectorView<Element>, SharedPacking)? {
    let bytes = windowBytes(of: type, count: count, flags: PackingTeam.flags)
    let size = count * MemoryLayout<Element>.stride
    guard node.size > 1, size > least, 2 * node.size * size > cache else { return nil }
    // MPI keeps some room free, and other programs take some.
    let lacking: [Int] = try node.allGather(sharedMemoryRoom() / 8 * 7 < bytes ? 1 : 0)
    if lacking.contains(1) { return nil }
    let window = try SharedWindow<Element>(node, count: node.rank == 0 ? count : 0, flags: PackingTeam.flags)
    return (window[0], PackingTeam(window, node))
  }
}

/// The ranks of a node that pack a matrix together. Copies are numbered from 1 on.
private final class PackingTeam: SharedPacking {
  /// Flags of a rank, a cache line.
  static var flags: Int { 8 }

  private let node: Communicator
  /// Of each rank the last copy of which its part is there, and the last that it has read.
  private let packed, read: [SharedFlag]
  private var copy: UInt64 = 0
  private var isComplete = true

  init<Element>(_ window: SharedWindow<Element>, _ node: Communicator) {
    self.node = node
    packed = (0..<node.size).map { window.flag(0, of: $0) }
    read = (0..<node.size).map { window.flag(1, of: $0) }
  }

  var place: Int { node.rank }
  var size: Int { node.size }

  func beginPacking() {
    endReading()
    wait(for: read)
  }

  func endPacking() {
    copy += 1
    packed[place].store(copy)
    isComplete = false
  }

  func awaitParts() {
    if isComplete { return }
    wait(for: packed)
    isComplete = true
  }

  func endReading() { read[place].store(copy) }

  /// Waits until all ranks have come as far as the present copy, giving the processor to them.
  private func wait(for flags: [SharedFlag]) {
    func areThere() -> Bool { flags.allSatisfy { $0.value >= copy } }
    if areThere() { return }
    node.pulse?.beginWait()
    while !areThere() { sched_yield() }
    node.pulse?.endWait()
  }
}
