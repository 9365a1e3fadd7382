import Glibc
import MPI
import Tensors

/// How the clock of a rank compares with that of rank 0, at one moment.
package struct ClockComparison: Equatable {
  /// The moment by this rank's clock, in nanoseconds.
  package var moment: UInt64
  /// What is added to this rank's clock to get that of rank 0, in nanoseconds.
  package var offset: Int64
  /// The offset is wrong by no more than this, in nanoseconds.
  package var error: UInt64

  /// Compares the clocks of all ranks, which call it together. Processes that share a clock need no messages; another clock is asked `rounds` times,
  /// and half of the shortest way there and back bounds the error.
  /// - Throws: `MPIError`.
  init(_ world: Communicator, rounds: Int = 20) throws {
    let clocks = try world.allGather(bytes: Self.clock)
    var offsets: [[UInt8]: (offset: Int64, error: Int64)] = [clocks[0]: (0, 0)]
    let sent = VectorView<Int64>(zeros: 1), answer = VectorView<Int64>(zeros: 2)
    for (rank, clock) in clocks.enumerated() where offsets[clock] == nil {
      var shortest = Int64.max
      for _ in 0..<rounds {
        let departure = Int64(MonotonicClock.nanoseconds)
        try world.broadcast(sent, root: 0)
        answer[0] = Int64(MonotonicClock.nanoseconds)
        try world.broadcast(answer[0..<1], root: rank)
        let arrival = Int64(MonotonicClock.nanoseconds)
        if world.rank == 0 && arrival - departure < shortest {
          shortest = arrival - departure
          offsets[clock] = ((departure + arrival) / 2 - answer[0], (shortest + 1) / 2)
        }
      }
      if world.rank == 0, let found = offsets[clock] { (answer[0], answer[1]) = (found.offset, found.error) }
      try world.broadcast(answer, root: 0)
      offsets[clock] = (answer[0], answer[1])
    }
    guard let mine = offsets[clocks[world.rank]] else { preconditionFailure("a clock that was not compared") }
    moment = MonotonicClock.nanoseconds
    offset = mine.offset
    error = UInt64(mine.error)
  }

  package init(moment: UInt64, offset: Int64, error: UInt64 = 0) {
    (self.moment, self.offset, self.error) = (moment, offset, error)
  }

  /// Tells the clock of this process from others: that of one start of a kernel, in one namespace of times.
  private static var clock: [UInt8] {
    var target = [UInt8](repeating: 0, count: 64)
    let count = unsafe target.withUnsafeMutableBytes { bytes in
      unsafe readlink("/proc/self/ns/time", bytes.baseAddress!.assumingMemoryBound(to: CChar.self), bytes.count)
    }
    return Array((systemText("/proc/sys/kernel/random/boot_id") ?? ProcessInformation.hostName).utf8) + target[..<max(0, count)]
  }
}

/// This rank's clock as rank 0 would read it, by comparisons before and after: clocks drift apart evenly meanwhile.
package struct AlignedClock {
  let first, last: ClockComparison

  package init(first: ClockComparison, last: ClockComparison) { (self.first, self.last) = (first, last) }

  /// Nanoseconds of rank 0's clock at `time` of this rank's.
  package func aligned(_ time: UInt64) -> Int64 {
    let span = Double(last.moment) - Double(first.moment), drift = Double(last.offset - first.offset)
    let share = span > 0 ? (Double(time) - Double(first.moment)) / span : 0
    return Int64(time) + first.offset + Int64((drift * share).rounded())
  }
}
