import Glibc
import MPI
import Tensors

/// Repeats `poll` until it says true, giving the processor to other ranks in between: there may be more ranks than cores.
/// - communicator: the ranks that are waited for.
/// - Returns: the seconds it took.
func waiting(for communicator: Communicator?, _ poll: () throws(MPIError) -> Bool) throws(MPIError) -> Double {
  if try poll() { return 0 }
  let start = ContinuousClock.now
  let begin = MonotonicClock.nanoseconds
  communicator?.pulse?.beginWait()
  defer {
    communicator?.pulse?.endWait()
    communicator?.trace?.record(.span(.training), "wait", from: begin)
  }
  while try !poll() { sched_yield() }
  return seconds(since: start)
}

/// Seconds from `start` to now.
func seconds(since start: ContinuousClock.Instant) -> Double { (ContinuousClock.now - start) / .seconds(1) }
