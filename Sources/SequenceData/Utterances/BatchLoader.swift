import Dispatch
import Synchronization

/// Reads minibatches ahead on a thread of its own.
public final class BatchLoader {
  /// The utterances of each local shard in one minibatch: number in the global minibatch and in the source.
  public typealias Item = [[(example: Int, utterance: Int)]]

  private let shared = Shared()
  private let count: Int
  // Minibatches that `next` gave out, and those of them that were not given back.
  private var taken = 0
  private var inUse = 0
  private var failure: (any Error)?

  /// How many minibatches may be ready before the one that is in use is given back.
  private static let ahead = 2

  /// Starts to read `items` in order.
  public init(_ items: [Item], from source: any UtteranceSource, transform: FeatureTransform, classes: Int) {
    count = items.count
    let shared = shared
    for _ in 0..<Self.ahead { shared.room.signal() }
    DispatchQueue(label: "batches").async {
      var assembler = UtteranceAssembler(source, transform: transform, classes: classes)
      for item in items {
        shared.room.wait()
        guard var batches = shared.takeSpare() else { return }
        while batches.count < item.count { batches.append(UtteranceBatch()) }
        let result = Result { for (i, members) in item.enumerated() { try assembler.fill(&batches[i], members) } }.map { batches }
        shared.put(result)
        if case .failure = result { return }
      }
    }
  }

  deinit { shared.cancel() }

  /// The next minibatch, for each local shard; waits until it is read. Give it back by `recycle`: at most two may be in use.
  /// - Throws: what went wrong when it was read. Nothing is read after that: every further call throws the same.
  public func next() throws -> [UtteranceBatch] {
    if let failure { throw failure }
    // Either would wait for ever.
    precondition(taken < count, "a minibatch after the last one")
    precondition(inUse < Self.ahead, "no minibatch was given back")
    shared.ready.wait()
    do {
      let batches = try shared.takeReady().get()
      taken += 1
      inUse += 1
      return batches
    } catch {
      failure = error
      throw error
    }
  }

  /// Gives the buffers of a minibatch back.
  public func recycle(_ batches: [UtteranceBatch]) {
    precondition(inUse > 0, "no minibatch is in use")
    inUse -= 1
    shared.giveBack(batches)
    shared.room.signal()
  }

  /// What both threads know. Batches are moved in and out under the lock.
  private final class Shared: Sendable {
    private struct State: ~Copyable {
      var ready: [Result<[UtteranceBatch], any Error>] = []
      var spare: [[UtteranceBatch]] = []
      var isCancelled = false
    }

    private let state = Mutex(State())
    // Both begin at 0: a semaphore may not end below its first value.
    let room = DispatchSemaphore(value: 0)
    let ready = DispatchSemaphore(value: 0)

    /// Buffers to fill, or nil if nobody waits any more.
    func takeSpare() -> [UtteranceBatch]? {
      state.withLock { $0.isCancelled ? nil : $0.spare.popLast() ?? [] }
    }

    func put(_ result: Result<[UtteranceBatch], any Error>) {
      state.withLock { $0.ready.append(result) }
      ready.signal()
    }

    func takeReady() -> Result<[UtteranceBatch], any Error> { state.withLock { $0.ready.removeFirst() } }

    func giveBack(_ batches: [UtteranceBatch]) { state.withLock { $0.spare.append(batches) } }

    func cancel() {
      state.withLock { $0.isCancelled = true }
      room.signal()
    }
  }
}
