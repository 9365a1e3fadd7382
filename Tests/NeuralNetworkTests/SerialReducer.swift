import NeuralNetwork
import Tensors

/// Statistics of groups whose shards are all in this process, by the textbook sums over all members of a group at once.
final class SerialReducer: StatisticsReducing {
  private let groups: [Range<Int>]
  private(set) var calls = 0

  init(_ groups: [Range<Int>]) { self.groups = groups }

  func combineMoments(mean: MatrixView<Double>, squares: MatrixView<Double>, counts: [Int]) throws {
    calls += 1
    let shards = mean.rows, steps = counts.count / shards, F = mean.columns / steps
    precondition(counts.count == shards * steps && mean.columns == steps * F, "counts of another shape")
    precondition(squares.rows == shards && squares.columns == mean.columns, "M2 of another shape")
    var means = (0..<shards).map { mean[$0].array }, m2 = (0..<shards).map { squares[$0].array }
    for group in groups {
      for column in 0..<mean.columns {
        var total = 0.0, combined = 0.0, sum = 0.0
        for shard in group {
          let n = Double(counts[shard * steps + column / F])
          total += n
          combined += n * means[shard][column]
        }
        if total == 0 { continue }
        combined /= total
        for shard in group {
          let n = Double(counts[shard * steps + column / F]), delta = means[shard][column] - combined
          if n > 0 { sum += m2[shard][column] + n * delta * delta }
        }
        for shard in group { (means[shard][column], m2[shard][column]) = (combined, sum) }
      }
    }
    for shard in 0..<shards {
      mean[shard].copy(from: VectorView(means[shard]))
      squares[shard].copy(from: VectorView(m2[shard]))
    }
  }

  func combineSums(_ sums: MatrixView<Double>) throws {
    calls += 1
    for group in groups {
      var total = [Double](repeating: 0, count: sums.columns)
      for shard in group { for (column, value) in sums[shard].array.enumerated() { total[column] += value } }
      for shard in group { sums[shard].copy(from: VectorView(total)) }
    }
  }
}
