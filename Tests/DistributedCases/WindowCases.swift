import Glibc
import MPI
import Tensors

func splits(_ world: Communicator) throws {
  let node = try world.splitByMemory()
  try expect(node.size == world.size && node.rank == world.rank, "ranks of one machine on different nodes")
  for groups in 1...3 {
    let part = try world.split(color: world.rank % groups)
    let members = (0..<world.size).filter { $0 % groups == world.rank % groups }
    try expect(try part.allGather(world.rank), equals: members, "ranks of one colour of \(groups)")
  }
}

func sharedWindow(_ world: Communicator) throws {
  let node = try world.splitByMemory()
  try parts(of: Float.self, node)
  try parts(of: Double.self, node)
  try parts(of: UInt8.self, node)
}

private func parts<T: MPIDatatype & Numeric>(of type: T.Type, _ node: Communicator) throws {
  let (rank, size) = (node.rank, node.size)
  func count(_ rank: Int) -> Int { [1000, 0, 1, 77][rank % 4] }
  let window = try SharedWindow<T>(node, count: count(rank), flags: 11)
  for other in 0..<size {
    try expect(window[other].count == count(other), "\(window[other].count) elements of rank \(other)")
    try expect(unsafe UInt(bitPattern: window[other].pointer) % 64 == 0, "elements of rank \(other) are not aligned")
    for flag in 0..<11 where other == rank { try expect(window.flag(flag, of: rank).value == 0, "a flag that is not 0") }
  }
  try expect(window[rank].array, equals: Array(repeating: 0, count: count(rank)), "new memory of rank \(rank)")
  // Everyone writes, and reads what each other rank wrote once its flag says so.
  for step in 1...200 {
    for i in 0..<count(rank) { window[rank][i] = T(exactly: (i + rank + step) % 100)! }
    window.flag(step % 11, of: rank).store(UInt64(step))
    for other in 0..<size {
      while window.flag(step % 11, of: other).value < step { sched_yield() }
      let expected = (0..<count(other)).map { T(exactly: ($0 + other + step) % 100)! }
      try expect(window[other].array, equals: expected, "step \(step) of rank \(other)")
    }
    // Nobody writes again before all have read.
    try node.barrier()
  }
  // Views outlive the window; and memory is given back when none is left.
  let kept = try SharedWindow<T>(node, count: 5, flags: 0)[rank]
  kept.fill(3)
  try node.barrier()
  try expect(kept.array, equals: [3, 3, 3, 3, 3], "memory of a dropped window")
  try window.free()
}

/// Must end by a trap.
func windowInUse(_ world: Communicator) throws {
  let window = try SharedWindow<Float>(try world.splitByMemory(), count: 10, flags: 0)
  let view = window[world.rank]
  try window.free()
  view.fill(1)
}
