import DataParallel
import Testing

@Suite struct ShardLayoutTests {
  @Test func runsAreConsecutiveAndNearlyEqual() {
    for shards in 1...20 {
      for ranks in 1...shards {
        let layout = ShardLayout(shards: shards, ranks: ranks)
        let runs = (0..<ranks).map { layout.run(of: $0) }
        #expect(runs.flatMap(Array.init) == Array(0..<shards))
        let lengths = runs.map(\.count)
        #expect(lengths.max()! - lengths.min()! <= 1)
      }
    }
    #expect(ShardLayout(shards: 8, ranks: 3).run(of: 0) == 0..<3)
    #expect(ShardLayout(shards: 8, ranks: 3).run(of: 2) == 6..<8)
  }
}
