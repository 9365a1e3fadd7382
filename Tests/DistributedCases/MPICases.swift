import MPI
import Tensors

func blockingCollectives(_ world: Communicator) throws {
  try collectives(of: Float.self, world)
  try collectives(of: Double.self, world)
  try collectives(of: Int32.self, world)
  try collectives(of: Int64.self, world)
  try collectives(of: UInt64.self, world)
  try collectives(of: UInt8.self, world)
  let copy = try world.duplicate()
  try expect(copy.rank == world.rank && copy.size == world.size, "a duplicate of another shape")
  // Vectors longer than a message are cut.
  copy.longestMessage = 7
  try collectives(of: Float.self, copy)
  try world.barrier()
  try expect(world.libraryVersion.contains(MPILibrary.current == .openMPI ? "Open MPI" : "MPI"), "library version \(world.libraryVersion)")
  try expect(!world.hostName.isEmpty, "no host name")
}

private func collectives<T: MPIDatatype & Numeric>(of type: T.Type, _ world: Communicator) throws {
  let (rank, size) = (world.rank, world.size)
  for n in [0, 1, 7, 20] {
    func values(_ factor: Int) -> [T] { (0..<n).map { T(exactly: ($0 % 5 + 1) * factor)! } }
    for root in 0..<size {
      let vector = VectorView(rank == root ? values(root + 1) : values(0))
      try world.broadcast(vector, root: root)
      try expect(vector.array, equals: values(root + 1), "broadcast of \(n) \(T.self)")
    }
    let sum = VectorView(values(rank + 1))
    try world.allReduce(sum, .sum)
    try expect(sum.array, equals: values(size * (size + 1) / 2), "sum of \(n) \(T.self)")
    // MPICH 4.0 compares 8-bit numbers as signed ones; no reduction of the program has any.
    let maximum = VectorView(values(rank == size / 2 ? 25 : rank))
    try world.allReduce(maximum, .maximum)
    try expect(maximum.array, equals: values(25), "maximum of \(n) \(T.self)")
    let all = VectorView<T>(zeros: n * size)
    try world.allGather(VectorView(values(rank + 1)), into: all)
    try expect(all.array, equals: (0..<size).flatMap { values($0 + 1) }, "allGather of \(n) \(T.self)")
  }
  try unevenBlocks(of: type, world)
}

/// Rank p has p mod 3 elements for `allGatherV`, and (p + q) mod 3 for rank q in `allToAllV`: some have none.
private func unevenBlocks<T: MPIDatatype & Numeric>(of type: T.Type, _ world: Communicator) throws {
  let (rank, size) = (world.rank, world.size)
  func block(_ from: Int, _ to: Int, _ count: Int) -> [T] { (0..<count).map { T(exactly: from * 10 + to + $0)! } }
  let blocks = try BlockLayout(counts: (0..<size).map { $0 % 3 })
  let all = VectorView<T>(zeros: blocks.extent)
  let expected = (0..<size).flatMap { block($0, 0, $0 % 3) }
  try world.allGatherV(VectorView(block(rank, 0, rank % 3)), into: all, blocks: blocks)
  try expect(all.array, equals: expected, "allGatherV of \(T.self)")
  all.fill(0)
  try world.startAllGatherV(VectorView(block(rank, 0, rank % 3)), into: all, blocks: blocks).wait()
  try expect(all.array, equals: expected, "pending allGatherV of \(T.self)")

  let layout = try BlockLayout(counts: (0..<size).map { (rank + $0) % 3 })
  let send = VectorView((0..<size).flatMap { block(rank, $0, (rank + $0) % 3) })
  let receive = VectorView<T>(zeros: layout.extent)
  let received = (0..<size).flatMap { block($0, rank, (rank + $0) % 3) }
  try world.allToAllV(send, blocks: layout, into: receive, blocks: layout)
  try expect(receive.array, equals: received, "allToAllV of \(T.self)")
  receive.fill(0)
  try world.startAllToAllV(send, blocks: layout, into: receive, blocks: layout).wait()
  try expect(receive.array, equals: received, "pending allToAllV of \(T.self)")
}

func smallMessages(_ world: Communicator) throws {
  let (rank, size) = (world.rank, world.size)
  let bytes = (0..<size).map { rank in (0..<rank * 3 % 5).map { UInt8($0 + rank) } }
  try expect(try world.allGather(bytes: bytes[rank]), equals: bytes, "bytes of all ranks")
  for root in 0..<size {
    let message = Array("from rank \(root)".utf8)
    try expect(try world.broadcast(bytes: rank == root ? message : nil, root: root), equals: message, "bytes of rank \(root)")
    try expect(try world.broadcast(bytes: rank == root ? [] : nil, root: root), equals: [], "no bytes of rank \(root)")
  }
  try expect(try world.allGather(rank * 1_000_000_000_000 - 1), equals: (0..<size).map { $0 * 1_000_000_000_000 - 1 }, "integers")
  try expect(try world.allGather(1 / Double(rank + 1)), equals: (0..<size).map { 1 / Double($0 + 1) }, "numbers")
}

func pendingCollectives(_ world: Communicator) throws {
  let (rank, size) = (world.rank, world.size)
  let sum = VectorView<Float>(zeros: 5000)
  sum.fill(Float(rank + 1))
  var pending = try world.startAllReduce(sum, .sum)
  var tests = 1
  while try !pending.test() { tests += 1 }
  try expect(try pending.test(), "done, then not done")
  try pending.wait()
  try expect(sum[4999] == Float(size * (size + 1) / 2), "pending sum \(sum[4999]) after \(tests) tests")

  // Nobody but the pending collective holds what it sends.
  let all = VectorView<Double>(zeros: 3000 * size)
  let gather = try world.startAllGather(temporary(3000, Double(rank)), into: all)
  let empty = try world.startAllReduce(sum[0..<0], .maximum)
  for other in 0..<20 { temporary(3000, Double(other + 100)).fill(-1) }
  try gather.wait()
  try empty.wait()
  for other in 0..<size { try expect(all[other * 3000 + 2999] == Double(other), "pending allGather from \(other)") }
  try world.startAllReduce(sum, .maximum).abandon()
  try world.barrier()
}

private func temporary(_ n: Int, _ value: Double) -> VectorView<Double> {
  let vector = VectorView<Double>(zeros: n)
  vector.fill(value)
  return vector
}

func errors(_ world: Communicator) throws {
  let tooLong = try error(MPIError.self) { _ = try BlockLayout(counts: [Int(Int32.max) + 1]) }
  try expect(tooLong.code == nil && tooLong.description.contains("2147483647"), "\(tooLong)")
  let tooFar = try error(MPIError.self) { _ = try BlockLayout(counts: [Int(Int32.max), 3, 1]) }
  try expect(tooFar.code == nil, "\(tooFar)")
  // MPICH 4.0 reports messages that are too long for their place on some of the ranks alone.
  if world.size == 1 || MPILibrary.current == .mpich { return }
  // Every rank is sent more than it expects: an error on each, with the words of MPI.
  let copy = try world.duplicate()
  let (rank, size) = (world.rank, world.size)
  let send = try BlockLayout(counts: (0..<size).map { $0 == (rank + 1) % size ? 8 : 0 })
  let receive = try BlockLayout(counts: (0..<size).map { $0 == (rank + size - 1) % size ? 4 : 0 })
  let vector = VectorView<Int32>(zeros: 8)
  let pending = try error(MPIError.self) {
    try copy.startAllToAllV(vector, blocks: send, into: VectorView<Int32>(zeros: 4), blocks: receive).wait()
  }
  try expect(isTruncation(pending) && pending.rank == rank && pending.call == "MPI_Wait", "\(pending)")
  try expect(pending.description.contains("rank \(rank)"), "\(pending)")
  try world.barrier()
  // Among more ranks the library's blocking algorithms may leave some of them waiting for those that failed.
  if size > 2 { return }
  let other = try world.duplicate()
  let blocking = try error(MPIError.self) {
    try other.allToAllV(vector, blocks: send, into: VectorView<Int32>(zeros: 4), blocks: receive)
  }
  try expect(isTruncation(blocking) && blocking.rank == rank && blocking.call == "MPI_Alltoallv", "\(blocking)")
  try world.barrier()
}

/// Whether an error says that a message was longer than its place.
private func isTruncation(_ error: MPIError) -> Bool { error.code == 15 && error.text.contains("MPI_ERR_TRUNCATE") }

private struct Refusal: ExitCodeError, CustomStringConvertible {
  let exitCode: Int32
  let description: String
}

private struct Plain: Error {}

func agreement(_ world: Communicator) throws {
  let (rank, size) = (world.rank, world.size)
  try expect(try world.agree { rank * 2 } == rank * 2, "a value of agreement")
  for failing in 0..<size {
    let expected = RemoteFailure(rank: failing, code: 65, message: "no such file on \(failing) · ß")
    // Higher ranks fail as well, in other words.
    let found = try error(RemoteFailure.self) {
      try world.agree {
        if rank == failing { throw Refusal(exitCode: 65, description: "no such file on \(failing) · ß") }
        if rank > failing { throw Refusal(exitCode: 74, description: "disk full") }
      }
    }
    try expect(found == expected && found.description == expected.message && found.exitCode == 65, "\(found)")
  }
  let last = try error(RemoteFailure.self) { try world.agree { if rank == size - 1 { throw Plain() } } }
  try expect(last == RemoteFailure(rank: size - 1, code: 70, message: "Plain()"), "\(last)")
  // What was agreed on inside goes through unchanged.
  let inner = RemoteFailure(rank: size - 1, code: 64, message: "inner")
  let outer = try error(RemoteFailure.self) { try world.agree { throw inner } }
  try expect(outer == inner, "\(outer)")
  try world.agree {}
}

/// Must end by a trap.
func droppedCollective(_ world: Communicator) throws {
  let vector = VectorView<Float>(zeros: 10)
  // Only the last rank starts, so with several ranks the collective cannot be done.
  if world.rank == world.size - 1 { _ = try world.startAllReduce(vector, .sum) }
  try world.barrier()
}

/// Must end with code 42.
func abortFromLastRank(_ world: Communicator) throws {
  if world.rank == world.size - 1 { world.abort(code: 42) }
  try world.barrier()
  try world.barrier()
}
