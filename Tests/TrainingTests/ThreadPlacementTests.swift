import Testing
import Training

@Suite struct ThreadPlacementTests {
  private func warnings(_ cores: [(String, [Int]?)], threads: Int) -> [String] {
    ThreadPlacement(ranks: cores.map { .init(host: $0.0, cores: $0.1) }, threads: threads).warnings
  }

  @Test func enoughCores() {
    #expect(warnings([("a", [0, 1])], threads: 2).isEmpty)
    #expect(warnings([("a", [0, 1, 2, 3]), ("a", [0, 1, 2, 3])], threads: 2).isEmpty)
    #expect(warnings([("a", [0, 1]), ("a", [2, 3]), ("b", [0, 1])], threads: 2).isEmpty)
    // Where the system does not say, nothing is known to be wrong.
    #expect(warnings([("a", nil)], threads: 64).isEmpty)
  }

  /// What mpirun does by itself with one or two ranks.
  @Test func boundToOneCore() throws {
    let alone = warnings([("a", [5])], threads: 2)
    #expect(alone.count == 1)
    for words in ["1 rank × 2 threads", "2 threads on a", "1 core", "--map-by slot:PE=2 --bind-to core"] {
      #expect(alone.first?.contains(words) == true, "\(words): \(alone)")
    }
    let two = warnings([("a", [0]), ("a", [1])], threads: 3)
    #expect(two.count == 1 && two[0].contains("2 ranks × 3 threads = 6 threads on a") && two[0].contains("2 cores"), "\(two)")
  }

  /// Cores that ranks share count once.
  @Test func sharedCores() {
    let shared = warnings([("a", [0, 1]), ("a", [0, 1])], threads: 2)
    #expect(shared.count == 1 && shared[0].contains("= 4 threads") && shared[0].contains("2 cores"), "\(shared)")
  }

  /// One rank may have too few even where the host has enough.
  @Test func unequalRanks() {
    let unequal = warnings([("a", [0]), ("a", [1, 2, 3])], threads: 2)
    #expect(unequal.count == 1 && unequal[0].contains("one rank may use 1 core"), "\(unequal)")
  }

  @Test func everyHostForItself() {
    let hosts = warnings([("a", [0]), ("b", [0, 1]), ("c", [0])], threads: 2)
    #expect(hosts.count == 2 && hosts[0].contains(" on a,") && hosts[1].contains(" on c,"), "\(hosts)")
  }
}
