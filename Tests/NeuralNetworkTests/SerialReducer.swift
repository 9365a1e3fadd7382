import NeuralNetwork
import Tensors

/// Statistics of groups whose shards are all in this process, by the textbook sums over all members of a group at once.
final class SerialReducer<S: Scalar>: StatisticsReducing {
  private let groups: [Range<Int>]
  private(set) var calls = 0

  init(_ groups: [Range<Int>]) { self.groups = groups }

  func combineMoments(mean: MatrixView<S>, squares: MatrixView<S>, counts: [Int]) throws {
    calls += 1
    let shards = mean.rows, steps = counts.count / shards, F = mean.columns / steps
    precondition(counts.count == shards * steps && mean.columns == steps * F, "counts of another shape")
    precondition(squares.rows == shards && squares.columns == mean.columns, "M2 of another shape")
    for group in groups {
      for t in 0..<steps {
        let n = group.map { S(counts[$0 * steps + t]) }, total = n.reduce(0, +)
        if total == 0 { continue }
        for column in t * F..<(t + 1) * F {
          let m = group.map { mean[$0, column] }
          let combined = zip(n, m).reduce(S(0)) { $0 + $1.0 * $1.1 } / total
          let between = zip(n, m).reduce(S(0)) { $0 + $1.0 * ($1.1 - combined) * ($1.1 - combined) }
          let within = zip(n, group).reduce(S(0)) { $0 + ($1.0 > 0 ? squares[$1.1, column] : 0) }
          for shard in group {
            mean[shard, column] = combined
            squares[shard, column] = within + between
          }
        }
      }
    }
  }

  func combineSums(_ sums: MatrixView<S>) throws {
    calls += 1
    for group in groups {
      for column in 0..<sums.columns {
        let total = group.reduce(S(0)) { $0 + sums[$1, column] }
        for shard in group { sums[shard, column] = total }
      }
    }
  }
}
