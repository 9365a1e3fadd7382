import MPI
import Testing

/// Every case as a job of its own, on every number of ranks. One at a time: the ranks of a job want the processor's cores.
@Suite(.serialized) struct DistributedTests {
  /// How a trap of Swift ends a process: an illegal instruction on x86-64, a breakpoint on aarch64.
  #if arch(arm64)
    private static let signal: Int32 = 5
  #else
    private static let signal: Int32 = 4
  #endif

  /// What mpirun makes of the signal of a rank that traps. That of MPICH passes on its number.
  private static var trapped: Int32 { MPILibrary.current == .mpich ? signal : 128 + signal }

  static let rankCounts = [1, 2, 3, 4, 8]

  @Test(
    arguments: [
      "blocking", "small", "pending", "errors", "agree", "splits", "window", "reducer", "reducer-unordered", "statistics-single",
      "statistics-double", "values",
    ], rankCounts)
  func passes(_ name: String, ranks: Int) throws {
    let job = try DistributedJob(name, ranks: ranks)
    #expect(job.exitCode == 0, "\(job.output)")
    #expect(job.output.contains("\(name) passed on \(ranks)\n"), "\(job.output)")
  }

  /// Among 5 and 6 ranks there are nodes whose runs of shards are no whole subtrees.
  @Test(arguments: ["gradients", "half-gradients", "many-steps", "abandoned", "background"], [1, 2, 3, 4, 5, 6, 8])
  func sumsGradients(_ name: String, ranks: Int) throws {
    let job = try DistributedJob(name, ranks: ranks)
    #expect(job.exitCode == 0, "\(job.output)")
    #expect(job.output.contains("\(name) passed on \(ranks)\n"), "\(job.output)")
  }

  @Test func freeingAWindowInUseTraps() throws {
    let job = try DistributedJob("window-in-use", ranks: 2)
    // In release a trap says nothing.
    #expect(job.exitCode == Self.trapped, "\(job.output)")
    #expect(!job.output.contains("passed"), "\(job.output)")
  }

  @Test(arguments: rankCounts) func droppedCollectiveTraps(ranks: Int) throws {
    let job = try DistributedJob("dropped", ranks: ranks)
    #expect(job.exitCode == Self.trapped, "\(job.output)")
    #expect(!job.output.contains("passed"), "\(job.output)")
  }

  @Test(arguments: rankCounts) func abortStopsAllRanksWithItsCode(ranks: Int) throws {
    #expect(try DistributedJob("abort", ranks: ranks).exitCode == 42)
  }

  @Test func runsWithoutLauncher() throws {
    let job = try DistributedJob(alone: "blocking")
    #expect(job.exitCode == 0 && job.output == "blocking passed on 1\n", "\(job.output)")
    #expect(try DistributedJob(alone: "abort").exitCode == 42)
  }

  /// A failing expectation fails the job: otherwise all of the above would pass without looking.
  @Test func unknownCaseFails() throws {
    let job = try DistributedJob("no-such-case", ranks: 2)
    #expect(job.exitCode == 64 && job.output.contains("no case named no-such-case"), "\(job.output)")
  }

  @Test func failedExpectationFailsTheJob() throws {
    var job = try DistributedJob("failing", ranks: 3)
    // mpirun itself sometimes ends by a segmentation fault when it has aborted a job.
    for _ in 0..<2 where job.output.contains("Signal: Segmentation fault") { job = try DistributedJob("failing", ranks: 3) }
    #expect(job.exitCode == 1 && job.output.contains("rank 2 of 3: line"), "\(job.output)")
  }
}
