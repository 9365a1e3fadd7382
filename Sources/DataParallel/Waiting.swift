import Glibc
import MPI

/// Repeats `poll` until it says true, giving the processor to other ranks in between: there may be more ranks than cores.
/// - Returns: the seconds it took.
func waiting(_ poll: () throws(MPIError) -> Bool) throws(MPIError) -> Double {
  if try poll() { return 0 }
  let start = ContinuousClock.now
  while try !poll() { sched_yield() }
  return seconds(since: start)
}

/// Seconds from `start` to now.
func seconds(since start: ContinuousClock.Instant) -> Double { (ContinuousClock.now - start) / .seconds(1) }
