import Glibc
import MPI

/// Whether a process works, as its watching thread sees it: its other threads compute, read or write.
// Unchecked: that thread alone uses it.
final class WorkMeter: @unchecked Sendable {
  private var since: UInt64 = 0
  private var nanoseconds: Int64 = 0
  private var bytes: UInt64?

  /// Whether, since the last call, the process has worked while its main thread waited for nobody and said nothing of its own.
  /// - sign: what the main thread says. Time that passes in a call that waits for others is no work: the call looks again and again.
  func hasWorked(_ sign: Pulse.Sign) -> Bool {
    defer { since = sign.since }
    let now = othersNanoseconds()
    // Less may come from threads that only wait.
    let hasComputed = now - nanoseconds > 1_000_000
    nanoseconds = now
    guard sign.waitingSince == nil, sign.since == since, !hasComputed else {
      bytes = nil
      // The main thread says itself what it begins.
      return sign.waitingSince == nil && sign.since == since
    }
    let before = bytes
    bytes = othersBytes()
    return before != nil && bytes != nil && before != bytes
  }

  /// Takes note of a sign that did not come from the main thread.
  func expect(_ sign: Pulse.Sign) { since = sign.since }

  /// Processor time of all threads but this one.
  private func othersNanoseconds() -> Int64 {
    func time(_ clock: clockid_t) -> Int64 {
      var time = timespec()
      unsafe clock_gettime(clock, &time)
      return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
    return time(CLOCK_PROCESS_CPUTIME_ID) - time(CLOCK_THREAD_CPUTIME_ID)
  }

  /// Bytes that all threads but this one have read and written; nil where the system does not say.
  private func othersBytes() -> UInt64? {
    guard let all = moved("/proc/self/io"), let mine = moved("/proc/thread-self/io") else { return nil }
    // Reading the first file counts in the second.
    return all.bytes &+ all.length &- mine.bytes
  }

  /// What a file of the system says about bytes read and written, and its length.
  private func moved(_ path: String) -> (bytes: UInt64, length: UInt64)? {
    let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
    if file < 0 { return nil }
    defer { close(file) }
    var content = [UInt8](repeating: 0, count: 512)
    let count = unsafe content.withUnsafeMutableBytes { unsafe read(file, $0.baseAddress, $0.count) }
    if count <= 0 { return nil }
    var sum: UInt64 = 0
    for line in String(decoding: content[..<count], as: UTF8.self).split(separator: "\n")
    where line.hasPrefix("rchar:") || line.hasPrefix("wchar:") {
      sum &+= line.split(separator: " ").last.flatMap { UInt64($0) } ?? 0
    }
    return (sum, UInt64(count))
  }
}
