import DataParallel
import MPI
import Tensors

// Run by hand, in release: `mpirun -n 2 DistributedCases exchange-rates`. No test runs it.

/// Seconds of a gradient exchange through shared memory, by messages in each format and by the library's all-reduce, in turns; and the bytes
/// that rank 0 sends.
func exchangeRates(_ world: Communicator) throws {
  let layout = ShardLayout(shards: world.size, ranks: world.size)
  let ways = ["memory", "messages", "library", "memory in float16", "messages in float16", "messages in bfloat16"]
  for bytes in [256_000, 2_300_000, 18_000_000, 80_000_000] {
    let n = bytes / MemoryLayout<Float>.size
    let size = 25 * 1_048_576 / MemoryLayout<Float>.size
    let buckets = stride(from: 0, to: n, by: size).map { $0..<min(n, $0 + size) }
    let reducers = [
      try GradientReducer(communicator: world, layout: layout, buckets: buckets),
      try GradientReducer(communicator: world, layout: layout, buckets: buckets, sharing: .none),
      try GradientReducer(communicator: world, layout: layout, buckets: buckets, reproducible: false),
      try GradientReducer(communicator: world, layout: layout, buckets: buckets, format: .float16),
      try GradientReducer(communicator: world, layout: layout, buckets: buckets, format: .float16, sharing: .none),
      try GradientReducer(communicator: world, layout: layout, buckets: buckets, format: .bfloat16, sharing: .none),
    ]
    var times = ways.map { _ in [Double]() }
    let rounds = bytes > 1_000_000 ? 25 : 200
    for round in 0..<rounds {
      for (way, reducer) in reducers.enumerated() {
        // What backward and the optimizer do to the caches.
        for partial in reducer.partials { partial.fill(Float(round)) }
        try world.barrier()
        let start = ContinuousClock.now
        for bucket in buckets.indices { try reducer.start(bucket) }
        try reducer.waitAll()
        let norm = reducer.sumOfSquares
        times[way].append((ContinuousClock.now - start) / .milliseconds(1))
        try expect(norm > 0 || round == 0, "no sum")
      }
    }
    if world.rank > 0 { continue }
    let medians = times.map { $0.sorted()[$0.count / 2] }
    let text = zip(ways, zip(medians, times)).map { "\($0) \(rounded($1.0)) ms (least \(rounded($1.1.min()!)))" }.joined(separator: ", ")
    print("\(rounded(Double(bytes) / 1e6)) MB: \(text); messages / memory \(rounded(medians[1] / medians[0]))")
    let sent = zip(ways, reducers).filter { $1.bytesSent > 0 }.map { "\($0) \(rounded(Double($1.bytesSent / rounds) / 1e6)) MB" }
    print("  sent by rank 0 each time: \(sent.joined(separator: ", "))")
  }
}

private func rounded(_ x: Double) -> Double { (x * 1000).rounded() / 1000 }
