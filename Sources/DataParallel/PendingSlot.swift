import MPI

/// A place for one pending collective. Types that cannot be copied do not go into arrays; slots do.
final class PendingSlot {
  var pending: PendingCollective?

  init() { pending = nil }

  /// Whether the collective, if there is one, is done.
  func isDone() throws(MPIError) -> Bool {
    if try pending?.test() == false { return false }
    if let done = pending.take() { try done.wait() }
    return true
  }

  /// See `PendingCollective.abandon`.
  func abandon() {
    if let open = pending.take() { open.abandon() }
  }
}
