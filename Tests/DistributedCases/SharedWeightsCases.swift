import DataParallel
import Glibc
import MPI
import Tensors

/// Matrices packed by all ranks together, each time another: every rank reads what it would have packed for itself, however early or late the
/// others are.
func sharedWeights(_ world: Communicator) throws {
  let (N, K, rows) = (301, 70, 5)
  let weights = try SharedWeights(world, cache: 1, least: 0)
  let a = MatrixView<Float>(zeros: rows, K), w = MatrixView<Float>(zeros: N, K)
  let found = MatrixView<Float>(zeros: rows, N), expected = MatrixView<Float>(zeros: rows, N)
  for r in 0..<rows { for k in 0..<K { a[r, k] = Float((r * 31 + k * 7 + world.rank) % 13 - 6) } }
  for format in PackedFormat.allCases {
    let shared = try weights.matrix(outputs: N, inputs: K, format: format), own = PackedMatrix<Float>(outputs: N, inputs: K, format: format)
    for step in 1...60 {
      for n in 0..<N { for k in 0..<K { w[n, k] = Float((n * 37 + k * 11 + step * 53) % 101 - 50) / 64 } }
      // Now and then less than there is room for.
      let outputs = step % 7 == 0 ? 50 : N, part = w.rows(0..<outputs)
      pause(world.rank, step)
      shared.pack(part.asIs)
      own.pack(part.asIs)
      for pass in 0..<1 + step % 3 {
        pause(step + pass, world.rank)
        found.columns(0..<outputs).setProduct(a.asIs, packed: shared)
        expected.columns(0..<outputs).setProduct(a.asIs, packed: own)
        try expect(found.vector.array == expected.vector.array, "step \(step), pass \(pass), \(format)")
      }
      if step % 2 == 0 { shared.endReading() }
    }
  }
}

/// Up to a millisecond, another on each rank and at each step.
private func pause(_ a: Int, _ b: Int) { usleep(UInt32((a * 7919 + b * 104_729) % 1000)) }
