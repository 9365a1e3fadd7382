import MPI

/// What the ranks of a node do, as a small file that other nodes read.
package struct NodeReport: Equatable {
  /// A rank, as its node saw it when the report was written.
  package struct Rank: Equatable {
    package var rank: Int
    var activity: Int
    var step: Int
    /// Seconds since it was last seen to get on.
    var still: Double
    /// Seconds that it has waited for others; nil if it does not wait.
    var waited: Double?

    /// - countsFrom: what was before counts for nothing.
    /// - silentAfter: seconds without a sign of life after which a rank is not held for one that waits, whatever it said last.
    package init(_ rank: Int, _ sign: Pulse.Sign, now: UInt64, countsFrom: UInt64 = 0, silentAfter: Double = .infinity) {
      func seconds(since start: UInt64) -> Double {
        let start = max(start, countsFrom)
        return now > start ? Double(now - start) / 1e9 : 0
      }
      self.rank = rank
      activity = sign.activity
      step = sign.step
      still = seconds(since: sign.since)
      let isSilent = sign.alive != 0 && seconds(since: sign.alive) > silentAfter
      waited = isSilent ? nil : sign.waitingSince.map(seconds)
    }

    package init(rank: Int, activity: Int, step: Int, still: Double, waited: Double?) {
      (self.rank, self.activity, self.step, self.still, self.waited) = (rank, activity, step, still, waited)
    }
  }

  package var host: String
  package var ranks: [Rank]

  /// Ranks that do not wait while others do.
  package var late: [Rank] { ranks.filter { $0.waited == nil } }

  package init(host: String, ranks: [Rank]) {
    self.host = host
    self.ranks = ranks
  }

  /// The host on the first line, then a rank a line.
  package var text: String {
    ranks.reduce("\(host)\n") { $0 + "\($1.rank) \($1.activity) \($1.step) \($1.still) \($1.waited.map { "\($0)" } ?? "-")\n" }
  }

  /// Nil for what is no report.
  package init?(_ text: String) {
    let lines = text.split(separator: "\n")
    guard let host = lines.first else { return nil }
    self.host = String(host)
    ranks = []
    for line in lines.dropFirst() {
      let words = line.split(separator: " ")
      guard words.count == 5, let rank = Int(words[0]), let activity = Int(words[1]), let step = Int(words[2]), let still = Double(words[3])
      else { return nil }
      ranks.append(Rank(rank: rank, activity: activity, step: step, still: still, waited: Double(words[4])))
    }
  }

  /// Writes the report in place of the one before. What goes wrong goes unsaid: others then hold the node for silent.
  func write(to path: String) {
    let system = FileSystem(), temporary = path + ".partial"
    try? system.removeTree(temporary)
    guard let file = try? PosixFile(temporary, .create, system: system) else { return }
    guard (try? unsafe file.write(Array(text.utf8).span.bytes)) != nil else { return }
    try? system.rename(temporary, to: path)
  }

  /// The reports of all nodes but the one at `own`, each with how many seconds it is older than that one by the clock of the file system.
  static func readAll(folder: String, but own: String) -> [(report: NodeReport, age: Double)] {
    guard let mine = read(own), let names = try? FileSystem().names(in: folder) else { return [] }
    return names.sorted().compactMap { name in
      let path = "\(folder)/\(name)"
      guard path != own, !name.hasSuffix(".partial"), let other = read(path) else { return nil }
      return (other.report, mine.modified - other.modified)
    }
  }

  private static func read(_ path: String) -> (report: NodeReport, modified: Double)? {
    // Of a file that is open, network file systems know the time anew, and not from what they have kept.
    guard let file = try? PosixFile(path, .read), let time = try? file.modified() else { return nil }
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    guard let count = try? file.read(into: &buffer, at: 0), let report = NodeReport(String(decoding: buffer[..<count], as: UTF8.self))
    else { return nil }
    return (report, time)
  }
}
