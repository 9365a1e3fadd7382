import CMPI
import Glibc
import Tensors

/// Memory that all ranks of a node read and write directly: for each rank a part with elements, and flags that order what is written to it.
///
/// Ranks see each other's elements only through flags: one writes elements and then stores a flag (`SharedFlag.store`); another that has
/// loaded this value may read them. The memory lives until `free()` or the end of MPI: releasing it is a collective operation, and those
/// have no place in a destructor. A window that is dropped keeps its memory.
@safe
public final class SharedWindow<Element: BitwiseCopyable> {
  private var memory: WindowMemory
  private var parts: [VectorView<Element>]
  private var flags: [VectorView<UInt64>]
  private let rank: Int

  /// Allocates this rank's part, all elements and flags 0. All ranks of the node call it together.
  /// - node: ranks that share memory (`Communicator.splitByMemory`).
  /// - count: elements of this rank's part; ranks may have parts of different length.
  /// - flags: this rank's flags, equally many on all ranks. They lie one after another, eight in a cache line, and the first begins a line.
  /// - Throws: `MPIError`.
  public init(_ node: Communicator, count: Int, flags: Int) throws(MPIError) {
    precondition(count >= 0 && flags >= 0, "a window of \(count) elements and \(flags) flags")
    let counts: [Int] = try node.allGather(count)
    let memory = try WindowMemory(node, bytes: windowBytes(of: Element.self, count: count, flags: flags))
    var parts: [VectorView<Element>] = [], flagViews: [VectorView<UInt64>] = []
    for rank in counts.indices {
      let bytes = windowBytes(of: Element.self, count: counts[rank], flags: flags)
      // SAFETY: the part has room for both behind its first cache line; `memory` keeps it, and it is cleared before anyone may read it.
      let base = try unsafe memory.part(of: rank, bytes: bytes)
      flagViews.append(unsafe VectorView(base: base.assumingMemoryBound(to: UInt64.self), count: flags, owner: memory))
      let elements = unsafe base + wholeLines(flags * MemoryLayout<UInt64>.stride)
      parts.append(unsafe VectorView(base: elements.assumingMemoryBound(to: Element.self), count: counts[rank], owner: memory))
    }
    self.memory = memory
    self.parts = parts
    self.flags = flagViews
    rank = node.rank
    try node.barrier()
  }

  /// The elements of a rank's part.
  public subscript(rank: Int) -> VectorView<Element> { parts[rank] }

  /// A flag of a rank; only that rank stores it.
  public func flag(_ index: Int, of rank: Int) -> SharedFlag { SharedFlag(flags[rank][index..<index + 1], isMine: rank == self.rank) }

  /// Gives the memory back. All ranks call it together; no view or flag of the window may be left, on this rank, and none be in use on
  /// others.
  /// - Throws: `MPIError`.
  public func free() throws(MPIError) {
    parts.removeAll()
    flags.removeAll()
    precondition(isKnownUniquelyReferenced(&memory), "a window is freed whose elements are still in use")
    try memory.free()
  }
}

/// A 64-bit number of one rank that all ranks of the node can see.
public struct SharedFlag {
  private let place: VectorView<UInt64>
  private let isMine: Bool

  init(_ place: VectorView<UInt64>, isMine: Bool) {
    self.place = place
    self.isMine = isMine
  }

  /// The number; what its rank had written before it stored it can be read now.
  // SAFETY: the view holds one aligned element, which no rank accesses in any other way.
  public var value: UInt64 { unsafe lockstep_load_acquire(place.pointer) }

  /// Stores a number, after everything that this rank has written until now.
  public func store(_ value: UInt64) {
    precondition(isMine, "a flag of another rank")
    // SAFETY: as for `value`.
    unsafe lockstep_store_release(place.pointer, value)
  }
}

/// Bytes of shared memory that this node has left.
public func sharedMemoryRoom() -> Int { Int(clamping: lockstep_shared_memory_room()) }

/// Bytes that a part of a `SharedWindow` takes.
public func windowBytes<Element>(of type: Element.Type, count: Int, flags: Int) -> Int {
  // The first line is room to align what follows.
  64 + wholeLines(flags * MemoryLayout<UInt64>.stride) + wholeLines(count * MemoryLayout<Element>.stride)
}

private func wholeLines(_ bytes: Int) -> Int { (bytes + 63) / 64 * 64 }

/// Keeps a window's handle, or memory of its own where there is no MPI; views of its memory refer to it. Never released but by `free`.
@safe
private final class WindowMemory {
  /// Invariant: valid until `free` or the end of MPI; MPI's null handle without MPI.
  private var raw = unsafe lockstep_mpi_win_null()
  /// Invariant: without MPI, what `calloc` gave; nil with it.
  private var own: UnsafeMutableRawPointer?
  private let rank: Int

  /// Allocates and clears `bytes` for this rank.
  init(_ node: Communicator, bytes: Int) throws(MPIError) {
    rank = node.rank
    if !node.hasMPI {
      guard let base = unsafe calloc(1, bytes) else {
        throw MPIError(call: "calloc", code: nil, text: "no room for \(bytes) bytes", rank: rank)
      }
      unsafe own = base
      return
    }
    var window = unsafe lockstep_mpi_win_null()
    var base: UnsafeMutableRawPointer?
    try node.blocking("MPI_Win_allocate_shared") { unsafe lockstep_mpi_win_allocate_shared(bytes, node.raw, &base, &window) }
    try check(unsafe MPI_Win_set_errhandler(window, lockstep_mpi_errors_return()), "MPI_Win_set_errhandler", rank: node.rank)
    guard let base = unsafe base, unsafe lockstep_populate(base, bytes) != 0 else {
      throw MPIError(
        call: "MPI_Win_allocate_shared", code: nil, text: "no room for \(bytes) bytes of shared memory (/dev/shm)", rank: node.rank)
    }
    // SAFETY: MPI gave this rank `bytes` from `base` on. It does not say what they hold.
    unsafe base.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
    unsafe raw = window
    // The ordinary loads and stores of ranks are then a passive epoch of the window, which lasts as long as it does.
    try check(unsafe MPI_Win_lock_all(Int32(MPI_MODE_NOCHECK), window), "MPI_Win_lock_all", rank: rank)
  }

  /// The first cache line in a rank's part.
  @unsafe
  func part(of rank: Int, bytes: Int) throws(MPIError) -> UnsafeMutableRawPointer {
    if let own = unsafe own { return unsafe own.alignedUp(toMultipleOf: AlignedStorage<UInt8>.alignment) }
    var size = 0
    var base: UnsafeMutableRawPointer?
    try check(unsafe lockstep_mpi_win_shared_query(raw, Int32(rank), &size, &base), "MPI_Win_shared_query", rank: self.rank)
    precondition(size == bytes, "ranks that ask for different numbers of flags")
    // Memory is shared by whole pages, so every rank finds the same place.
    return unsafe base!.alignedUp(toMultipleOf: AlignedStorage<UInt8>.alignment)
  }

  func free() throws(MPIError) {
    if let own = unsafe own { return unsafe Glibc.free(own) }
    try check(unsafe MPI_Win_unlock_all(raw), "MPI_Win_unlock_all", rank: rank)
    try check(unsafe lockstep_mpi_win_free(&raw), "MPI_Win_free", rank: rank)
  }
}
