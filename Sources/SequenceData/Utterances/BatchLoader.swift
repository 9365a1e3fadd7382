import Dispatch
import Synchronization
import Tensors

/// The utterances of each local shard in one minibatch: number in the global minibatch and in the source.
public typealias BatchItem = [[(example: Int, utterance: Int)]]

/// Reads minibatches ahead on a thread of its own, and does there what else is to be done before one is used.
public final class BatchLoader<Extra: Sendable> {

  private let shared = Shared()
  private let count: Int
  // Minibatches that `next` gave out, and those of them that were not given back.
  private var taken = 0
  private var inUse = 0
  private var failure: (any Error)?
  // Reads a minibatch on the thread that asks for it, where the system started none for that.
  private var readNext: (() -> Void)?

  /// How many minibatches may be ready before the one that is in use is given back.
  private static var ahead: Int { 2 }

  /// Starts to read `items` in order.
  /// - trace: records the reading of each.
  /// - prepare: called on the reading thread for each of them, by its number, with what was read.
  public init(
    _ items: [BatchItem], from source: any UtteranceSource, transform: FeatureTransform, classes: Int, trace: Trace? = nil,
    prepare: @escaping @Sendable (_ number: Int, [UtteranceBatch]) -> Extra
  ) {
    count = items.count
    let shared = shared
    for _ in 0..<Self.ahead { shared.room.signal() }
    do throws(ThreadError) {
      try BackgroundThread.start {
        var assembler = UtteranceAssembler(source, transform: transform, classes: classes)
        for (number, item) in items.enumerated() {
          if !shared.read(number, item, &assembler, trace, prepare) { return }
        }
      }
    } catch {
      var assembler = UtteranceAssembler(source, transform: transform, classes: classes), rest = items.enumerated().makeIterator()
      readNext = { if let (number, item) = rest.next() { _ = shared.read(number, item, &assembler, trace, prepare) } }
    }
  }

  deinit { shared.cancel() }

  /// The next minibatch, for each local shard; waits until it is read. Give it back by `recycle`: at most two may be in use.
  /// - Throws: what went wrong when it was read. Nothing is read after that: every further call throws the same.
  public func next() throws -> (batches: [UtteranceBatch], extra: Extra) {
    if let failure { throw failure }
    // Either would wait for ever.
    precondition(taken < count, "a minibatch after the last one")
    precondition(inUse < Self.ahead, "no minibatch was given back")
    readNext?()
    shared.ready.wait()
    do {
      let read = try shared.takeReady().get()
      taken += 1
      inUse += 1
      return read
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
      var ready: [Result<(batches: [UtteranceBatch], extra: Extra), any Error>] = []
      var spare: [[UtteranceBatch]] = []
      var isCancelled = false
    }

    private let state = Mutex(State())
    // Both begin at 0: a semaphore may not end below its first value.
    let room = DispatchSemaphore(value: 0)
    let ready = DispatchSemaphore(value: 0)

    /// Reads a minibatch when there is room for it. Returns whether to go on.
    func read(
      _ number: Int, _ item: BatchItem, _ assembler: inout UtteranceAssembler, _ trace: Trace?,
      _ prepare: (_ number: Int, [UtteranceBatch]) -> Extra
    ) -> Bool {
      room.wait()
      guard var batches = takeSpare() else { return false }
      while batches.count < item.count { batches.append(UtteranceBatch()) }
      let result: Result<(batches: [UtteranceBatch], extra: Extra), any Error> = Trace.span(trace, .reading, "read minibatch") {
        let result = Result { for (i, members) in item.enumerated() { try assembler.fill(&batches[i], members) } }
        return result.map { (batches, prepare(number, batches)) }
      }
      put(result)
      if case .failure = result { return false }
      return true
    }

    /// Buffers to fill, or nil if nobody waits any more.
    func takeSpare() -> [UtteranceBatch]? {
      state.withLock { $0.isCancelled ? nil : $0.spare.popLast() ?? [] }
    }

    func put(_ result: Result<(batches: [UtteranceBatch], extra: Extra), any Error>) {
      state.withLock { $0.ready.append(result) }
      ready.signal()
    }

    func takeReady() -> Result<(batches: [UtteranceBatch], extra: Extra), any Error> { state.withLock { $0.ready.removeFirst() } }

    func giveBack(_ batches: [UtteranceBatch]) { state.withLock { $0.spare.append(batches) } }

    func cancel() {
      state.withLock { $0.isCancelled = true }
      room.signal()
    }
  }
}

extension BatchLoader<Void> {
  /// The same with nothing else to be done.
  public convenience init(_ items: [BatchItem], from source: any UtteranceSource, transform: FeatureTransform, classes: Int) {
    self.init(items, from: source, transform: transform, classes: classes) { _, _ in }
  }
}
