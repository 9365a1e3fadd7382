import CKernels
import Dispatch
import Glibc
import MPI
import Tensors

/// Watches over the waits of a rank: warns when other ranks keep it waiting, and ends the job when they do so for too long, on a
/// thread of its own that needs no MPI, since the rank's own is inside it.
///
/// A rank is late if others wait and it does not, or its process gives no sign of life. What it does and since when, it has said in
/// memory that its node shares (`Pulse`), so that one that is stopped can be named too. With several nodes the first rank of each writes
/// down what its node's ranks do (`NodeReport`), for those on other nodes. A late rank that gets on, or whose process computes, reads
/// or writes, is warned of and not aborted.
final class Watchdog {
  /// When to speak; nil: never.
  struct Limits: Equatable, Sendable {
    var warn: Double?
    var abort: Double?

    /// A process, or a node, that gives no sign for so long does not run.
    var silentSeconds: Double { max(3 * period, 2) }

    /// Seconds between two looks.
    var period: Double { max(0.05, min(5, (min(warn ?? .infinity, abort ?? .infinity)) / 4)) }
  }

  private let stopping = DispatchSemaphore(value: 0)
  private let stopped = DispatchSemaphore(value: 0)

  /// Begins to watch over this rank; nil where there is nobody to wait for, or it is never to speak.
  /// - folder: where nodes tell each other what their ranks do; made if there are several nodes. All ranks see it.
  /// - Throws: `ThreadError` where the system starts no thread for it.
  init?(_ world: Communicator, _ limits: Limits, folder: String) throws(ThreadError) {
    guard let pulse = world.pulse, limits.warn != nil || limits.abort != nil else { return nil }
    var first = Watch(pulse: pulse, limits: limits, rank: world.rank, ranks: world.size, host: world.hostName, folder: folder)
    // The first report is there before the first step, in which this rank may hang.
    first.look()
    let (stopping, stopped) = (stopping, stopped)
    try BackgroundThread.start { [first] in
      var watch = first
      while stopping.wait(timeout: .now() + limits.period) == .timedOut { watch.look() }
      watch.finish()
      stopped.signal()
    }
  }

  /// Ends the thread. To be called before MPI ends, whose memory it reads.
  func stop() {
    stopping.signal()
    stopped.wait()
  }
}

/// What the thread of a watchdog knows and does.
private struct Watch: Sendable {
  let pulse: Pulse
  let limits: Watchdog.Limits
  let rank: Int
  let ranks: Int
  let host: String
  let folder: String
  private let meter = WorkMeter()
  // The wait that was warned of, by its beginning.
  private var warned: UInt64?
  private var lastLook = Pulse.now
  // What lies before counts for nothing: the job was suspended then, as a whole or with this rank.
  private var countsFrom: UInt64 = 0

  init(pulse: Pulse, limits: Watchdog.Limits, rank: Int, ranks: Int, host: String, folder: String) {
    (self.pulse, self.limits, self.rank, self.ranks, self.host, self.folder) = (pulse, limits, rank, ranks, host, folder)
  }

  private var hasOtherNodes: Bool { pulse.ranks.count < ranks }
  private var reportPath: String { "\(folder)/rank-\(pulse.ranks[0])" }

  /// Looks once.
  mutating func look() {
    let now = Pulse.now
    if now - lastLook > UInt64((4 * limits.period + 1) * 1e9) { countsFrom = now }
    lastLook = now
    // Work that takes long, as writing a large checkpoint does, is no hang.
    if meter.hasWorked(pulse.sign(pulse.place)) {
      pulse.goOn()
      meter.expect(pulse.sign(pulse.place))
    }
    pulse.beat()
    let report = NodeReport(
      host: host,
      ranks: pulse.ranks.indices.map {
        NodeReport.Rank(pulse.ranks[$0], pulse.sign($0), now: now, countsFrom: countsFrom, silentAfter: limits.silentSeconds)
      })
    if hasOtherNodes && pulse.place == 0 { report.write(to: reportPath) }
    guard let since = pulse.sign(pulse.place).waitingSince, now > max(since, countsFrom), !pulse.hasGivenUp else { return }
    let waited = Double(now - max(since, countsFrom)) / 1e9
    if let abort = limits.abort, waited >= abort {
      let verdict = judge(report)
      if verdict.hasBeenStill(for: abort), waited >= abort + patience {
        let verdict = verdict.isNobody ? judgeAndAsk(report) : verdict
        // To ask takes time: the wait may be over, or another rank has ended the job.
        guard pulse.sign(pulse.place).waitingSince == since, !pulse.hasGivenUp else { return }
        end(verdict, waited)
      }
    }
    if let warn = limits.warn, waited >= warn, warned != since, isSpeaker(report) {
      warned = since
      let verdict = judgeAndAsk(report)
      // It may be over by now.
      if pulse.sign(pulse.place).waitingSince == since { write("warning", verdict.words(rank: rank, waited: waited)) }
    }
  }

  /// Ranks that find the same are not to say it all: the first one ends the job for all, as long as it can; then the next.
  private var patience: Double { min(Double(pulse.place) * 0.1, 5) + (pulse.ranks[0] == 0 ? 0 : 3) }

  /// The first rank of a node that waits speaks for it; of nodes, those with a late rank, and the first.
  private func isSpeaker(_ report: NodeReport) -> Bool {
    guard report.ranks.first(where: { $0.waited != nil })?.rank == rank else { return false }
    return report.ranks.contains { $0.waited == nil } || pulse.ranks[0] == 0
  }

  private func judge(_ own: NodeReport) -> WatchdogVerdict {
    if !own.late.isEmpty || !hasOtherNodes { return WatchdogVerdict(late: own.late.map { (own.host, $0) }, silent: []) }
    let others = NodeReport.readAll(folder: folder, but: reportPath)
    return WatchdogVerdict(own, others: others, silentAfter: limits.silentSeconds, of: ranks)
  }

  /// The verdict, and, where all wait, which of the other hosts cannot be reached from here. Takes a second.
  private func judgeAndAsk(_ own: NodeReport) -> WatchdogVerdict {
    var verdict = judge(own)
    guard verdict.isNobody && hasOtherNodes else { return verdict }
    let hosts = Set(NodeReport.readAll(folder: folder, but: reportPath).map(\.report.host)).subtracting([host]).sorted()
    let patience = max(100, 2000 / max(hosts.count, 1))
    // A host without an ssh server refuses, and so answers too.
    verdict.unreachable = hosts.filter { unsafe lockstep_host_answers($0, "22", Int32(patience)) == 0 }
    return verdict
  }

  private func end(_ verdict: WatchdogVerdict, _ waited: Double) -> Never {
    pulse.giveUp()
    let outcome = "the job is ended (watchdog.abort_seconds), and --resume goes on from the last checkpoint"
    write("error", "\(verdict.words(rank: rank, waited: waited)); \(outcome)")
    if hasOtherNodes { note() }
    // Nothing more can be done in order while the rank's own thread is inside MPI. mpirun ends the other ranks.
    _exit(ExitCode.internalFault.rawValue)
  }

  /// Leaves word in the run directory that the job is ended, for who waits for an mpirun that cannot. Does not wait for a file server that is gone.
  private func note() {
    let done = DispatchSemaphore(value: 0), path = "\(folder)/\(RunDirectory.endedName)"
    do throws(ThreadError) {
      try BackgroundThread.start {
        try? FileSystem().makeDirectory(path)
        done.signal()
      }
    } catch { return }
    _ = done.wait(timeout: .now() + 2)
  }

  private func write(_ kind: String, _ message: String) {
    Console(isSilent: false).writeLine("lockstep: \(kind): \(message)")
  }

  func finish() {
    if hasOtherNodes && pulse.place == 0 { unsafe _ = unlink(reportPath) }
  }
}

/// Who keeps others waiting.
package struct WatchdogVerdict {
  /// Ranks that do not wait, with their hosts.
  var late: [(host: String, rank: NodeReport.Rank)]
  /// Hosts that have written no report for a while, with its age in seconds.
  var silent: [(host: String, age: Double)]
  /// Ranks that no report tells of.
  var unknown: [Int] = []
  /// Hosts that did not answer when they were asked, because nobody else is to blame.
  package var unreachable: [String] = []
  /// Whether all ranks are heard of, and wait.
  var isNobody: Bool { late.isEmpty && silent.isEmpty && unknown.isEmpty }

  package init(late: [(host: String, rank: NodeReport.Rank)], silent: [(host: String, age: Double)]) {
    self.late = late
    self.silent = silent
  }

  /// - others: the reports of other nodes, with how much older each is than this node's.
  /// - ranks: how many there are on all nodes.
  package init(_ own: NodeReport, others: [(report: NodeReport, age: Double)], silentAfter: Double, of ranks: Int) {
    let known = Set((own.ranks + others.flatMap(\.report.ranks)).map(\.rank))
    unknown = (0..<ranks).filter { !known.contains($0) }
    late = own.late.map { (own.host, $0) }
    silent = []
    for (report, age) in others {
      if age > silentAfter { silent.append((report.host, age)) } else { late += report.late.map { (report.host, $0) } }
    }
  }

  /// Whether nobody who is late was seen to get on for so many seconds. Reports may be held up by a file system that a checkpoint keeps
  /// busy: a host has to be silent for as long.
  package func hasBeenStill(for seconds: Double) -> Bool {
    late.allSatisfy { $0.rank.still >= seconds } && silent.allSatisfy { $0.age >= seconds }
  }

  /// One sentence.
  package func words(rank: Int, waited: Double) -> String {
    let start = "rank \(rank) has waited \(time(waited)) for "
    if !late.isEmpty {
      let named = late.prefix(4).map { host, rank in
        "rank \(rank.rank) on host \(host), last seen \(time(rank.still)) ago in \(Activity.words(rank.activity, step: rank.step))"
      }
      return start + named.joined(separator: ", and for ") + (late.count > 4 ? ", and for \(late.count - 4) more" : "")
    }
    if !silent.isEmpty {
      let named = silent.prefix(4).map { "host \($0.host), not heard of for \(time($0.age))" }
      return start + named.joined(separator: ", and for ") + (silent.count > 4 ? ", and for \(silent.count - 4) more" : "")
    }
    if !unknown.isEmpty {
      let named = unknown.prefix(4).map { "\($0)" }.joined(separator: ", ")
      return start + "rank \(named)\(unknown.count > 4 ? " and \(unknown.count - 4) more" : ""), of which no report is seen in the run directory (nodes)"
    }
    let all = start + "other ranks, which all wait too: for each other, or for the network between their hosts"
    if unreachable.isEmpty { return all }
    let named = unreachable.prefix(4).joined(separator: ", ")
    return all + "; of these, \(named)\(unreachable.count > 4 ? " and \(unreachable.count - 4) more" : "") cannot be reached from here"
  }

  /// Seconds in words, with a tenth where they are few.
  private func time(_ seconds: Double) -> String { fixed(seconds, seconds < 10 ? 1 : 0) + " s" }
}
