/// Frames of runs of shards, at each time step, as differences of sums from the first shard on.
struct CumulativeCounts {
  private var steps = 1
  private var features = 0
  /// [S + 1, steps], and room for more: frames of the shards before.
  private var sums: [Int] = []

  /// Takes the counts [S × steps] that belong to rows of `columns = steps × features` values, time-major.
  mutating func set(_ counts: [Int], shards: Int, columns: Int) {
    precondition(!counts.isEmpty && counts.count % shards == 0, "\(counts.count) counts for \(shards) shards")
    precondition(counts.allSatisfy { $0 >= 0 }, "a negative count")
    steps = counts.count / shards
    precondition(columns % steps == 0, "\(columns) columns for \(steps) steps")
    features = columns / steps
    // Exchanges of different sizes take turns: the memory grows to that of the largest.
    if sums.count < counts.count + steps { sums = Array(repeating: 0, count: counts.count + steps) }
    for step in 0..<steps { sums[step] = 0 }
    for index in counts.indices { sums[index + steps] = sums[index] + counts[index] }
  }

  /// Frames of a run of shards at a step.
  func count(_ shards: Range<Int>, step: Int) -> Int {
    sums[shards.upperBound * steps + step] - sums[shards.lowerBound * steps + step]
  }

  /// Cuts `columns` into the longest runs within which both counts stay the same.
  /// - body: takes a run, counted from the start of `columns`, and the counts of the shards `a` and `b`.
  func forEachRun(
    of columns: Range<Int>, _ a: Range<Int>, _ b: Range<Int>, _ body: (_ run: Range<Int>, _ a: Int, _ b: Int) -> Void
  ) {
    var start = columns.lowerBound
    while start < columns.upperBound {
      let first = start / features
      let (countA, countB) = (count(a, step: first), count(b, step: first))
      var next = first + 1
      while next * features < columns.upperBound, count(a, step: next) == countA, count(b, step: next) == countB { next += 1 }
      let end = min(next * features, columns.upperBound)
      body(start - columns.lowerBound..<end - columns.lowerBound, countA, countB)
      start = end
    }
  }
}
