import MPI
import Testing
import Training

@Suite struct WatchdogTests {
  private let waiting = NodeReport.Rank(rank: 0, activity: 3, step: 7, still: 61, waited: 60)

  @Test func reportsReadBack() {
    let report = NodeReport(host: "a.b", ranks: [waiting, .init(rank: 1, activity: 101, step: 0, still: 0.125, waited: nil)])
    #expect(NodeReport(report.text) == report)
    #expect(report.late.map(\.rank) == [1])
    for text in ["", "host\n1 2 3\n", "host\na 1 2 3 -\n"] { #expect(NodeReport(text) == nil, "\(text)") }
  }

  /// One that is stopped within a wait is late too; what lies before a suspension of the job counts for nothing.
  @Test func signsOfLife() {
    let second: UInt64 = 1_000_000_000
    func rank(alive: UInt64, countsFrom: UInt64 = 0) -> NodeReport.Rank {
      let sign = Pulse.Sign(activity: 3, step: 7, since: 10 * second, waitingSince: 20 * second, alive: alive * second)
      return NodeReport.Rank(1, sign, now: 100 * second, countsFrom: countsFrom * second, silentAfter: 15)
    }
    #expect(NodeReport(host: "a", ranks: [rank(alive: 90)]).late.isEmpty)
    #expect(NodeReport(host: "a", ranks: [rank(alive: 84)]).late.map(\.rank) == [1])
    #expect(NodeReport(host: "a", ranks: [rank(alive: 84, countsFrom: 95)]).late.isEmpty)
    let late = WatchdogVerdict(late: [("a", rank(alive: 84))], silent: [])
    #expect(late.hasBeenStill(for: 90) && !late.hasBeenStill(for: 91))
    #expect(!WatchdogVerdict(late: [("a", rank(alive: 84, countsFrom: 95))], silent: []).hasBeenStill(for: 6))
  }

  /// Ranks that do not wait are late, on whatever node; a node without a new report has hung, whatever its last one says.
  @Test func verdicts() {
    let own = NodeReport(host: "a", ranks: [waiting])
    let late = NodeReport(host: "b", ranks: [.init(rank: 4, activity: 7, step: 6, still: 40, waited: nil), waiting])
    let found = WatchdogVerdict(own, others: [(late, 0.5)], silentAfter: 5, of: 5)
    #expect(found.words(rank: 0, waited: 60) == "rank 0 has waited 60 s for rank 4 on host b, last seen 40 s ago in phase gradient_exchange of step 6")
    #expect(found.hasBeenStill(for: 40) && !found.hasBeenStill(for: 41))

    let silent = WatchdogVerdict(own, others: [(late, 30), (own, 0)], silentAfter: 5, of: 5)
    #expect(silent.words(rank: 0, waited: 60) == "rank 0 has waited 60 s for host b, not heard of for 30 s")
    #expect(silent.hasBeenStill(for: 30) && !silent.hasBeenStill(for: 31))

    let nobody = WatchdogVerdict(own, others: [(own, 0)], silentAfter: 5, of: 1)
    #expect(nobody.words(rank: 0, waited: 60).hasSuffix("all wait too: for each other, or for the network between their hosts"))
    var cut = nobody
    cut.unreachable = ["b", "c"]
    #expect(cut.words(rank: 0, waited: 60).hasSuffix("between their hosts; of these, b, c cannot be reached from here"))

    let unseen = WatchdogVerdict(own, others: [], silentAfter: 5, of: 7)
    #expect(unseen.words(rank: 0, waited: 60).hasPrefix("rank 0 has waited 60 s for rank 1, 2, 3, 4 and 2 more, of which no report"))
  }
}
