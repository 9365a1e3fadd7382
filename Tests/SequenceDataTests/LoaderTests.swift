import Glibc
import SequenceData
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(5))) struct LoaderTests {
  /// Every shard's part of every minibatch of an epoch.
  private static func items(_ source: MemorySource, batchSize: Int = 4, shards: Int = 2, local: [Int] = [0, 1]) -> [BatchItem] {
    MinibatchPlan(frames: source.frames, limit: .utterances(batchSize), seed: 9, shuffle: true).minibatches(epoch: 1).map { minibatch in
      let shards = deal(minibatch, shards: shards)
      return local.map { shards[$0] }
    }
  }

  private static func source(_ utterances: Int, seed: UInt64 = 61) -> MemorySource {
    var random = TestRandom(seed: seed)
    return MemorySource(
      lengths: (0..<utterances).map { _ in Int.random(in: 1...9, using: &random) }, dimension: 2, classes: 3, seed: seed)
  }

  /// Whatever reading and use take, the batches are those that are assembled one after the other.
  @Test(arguments: 0..<24) func equalsUnthreaded(trial: Int) throws {
    var random = TestRandom(seed: UInt64(trial)), source = Self.source(Int.random(in: 1...40, using: &random), seed: UInt64(trial))
    let shards = Int.random(in: 1...5, using: &random), local = Array(0..<Int.random(in: 1...shards, using: &random))
    let items = Self.items(source, batchSize: Int.random(in: 1...9, using: &random), shards: shards, local: local)
    let transform = FeatureTransform(deltas: trial % 3, normalizer: .utterance)
    var assembler = UtteranceAssembler(source, transform: transform, classes: 3)
    let expected = try items.map { item in try item.map { try assembler.batch($0) } }
    // Slow reading, slow use, both or neither.
    if trial & 1 != 0 { source.beforeRead = { usleep(UInt32($0 * 7919 % 500)) } }
    let loader = BatchLoader(items, from: source, transform: transform, classes: 3)
    var held: [UtteranceBatch]?
    for (k, batches) in expected.enumerated() {
      let found = try loader.next().batches
      #expect(found == batches, "minibatch \(k)")
      if trial & 2 != 0 { usleep(UInt32.random(in: 0..<2000, using: &random)) }
      // Now and then one stays in use while the next is taken.
      if let before = held {
        loader.recycle(found)
        #expect(before == expected[k - 1])
        loader.recycle(before)
        held = nil
      } else if trial & 4 != 0 {
        held = found
      } else {
        loader.recycle(found)
      }
    }
  }

  /// It reads ahead, but no further than there is room.
  @Test func readsAheadByTwo() throws {
    var source = Self.source(40)
    let reads = Reads()
    source.beforeRead = { _ in reads.add() }
    let items = Self.items(source)
    let loader = BatchLoader(items, from: source, transform: .identity, classes: 3)
    #expect(reads.reach(8))
    for k in 1..<items.count - 2 {
      let batches = try loader.next().batches
      // One is in use and one ready.
      usleep(2000)
      #expect(reads.count <= 4 * (k + 1))
      loader.recycle(batches)
      #expect(reads.reach(4 * (k + 2)))
    }
  }

  /// What went wrong with a minibatch is thrown when that one is asked for, not before, and again from then on.
  @Test(arguments: [0, 1, 5, 9]) func errorAtItsBatch(bad: Int) throws {
    var source = Self.source(40)
    let items = Self.items(source), utterance = items[bad][1][0].utterance
    var assembler = UtteranceAssembler(source, transform: .identity, classes: 3)
    let expected = try items.map { item in try item.map { try assembler.batch($0) } }
    source.beforeRead = { if $0 == utterance { throw Damage() } }
    let loader = BatchLoader(items, from: source, transform: .identity, classes: 3)
    for k in 0..<bad {
      let batches = try loader.next().batches
      #expect(batches == expected[k])
      loader.recycle(batches)
    }
    for _ in 0..<3 { #expect(throws: Damage()) { try loader.next() } }
  }

  @Test func labelOutOfRange() throws {
    var source = MemorySource([[1, 2], [3]], labels: [[0, 1], [3]])
    source.beforeRead = { _ in usleep(1000) }
    let loader = BatchLoader([[[(0, 0)]], [[(0, 1)]]], from: source, transform: .identity, classes: 3)
    loader.recycle(try loader.next().batches)
    #expect(throws: UtteranceError.labelOutOfRange(file: "labels.ark", key: "u1", frame: 0, label: 3, classes: 3)) { try loader.next() }
  }

  @Test func nothingToDo() async throws {
    try await expectRelease { source in BatchLoader([], from: source, transform: .identity, classes: 3) } use: { _ in }
    let loader = BatchLoader([[[], []]], from: Self.source(1), transform: .identity, classes: 3)
    #expect(try loader.next().batches == [UtteranceBatch(), UtteranceBatch()])
  }

  /// However far it came, a loader that is dropped lets go of its thread and with that of the source.
  @Test(arguments: [0, 1, 3, 10], [0, 200] as [UInt32]) func dropped(after taken: Int, delay: UInt32) async throws {
    try await expectRelease { source in
      var source = source
      source.beforeRead = { _ in if delay > 0 { usleep(delay) } }
      return BatchLoader(Self.items(source), from: source, transform: .identity, classes: 3)
    } use: { loader in
      for _ in 0..<taken { loader.recycle(try loader.next().batches) }
    }
  }

  /// While its thread waits for room.
  @Test func droppedWhileFull() async throws {
    let reads = Reads()
    try await expectRelease { source in
      var source = source
      source.beforeRead = { _ in reads.add() }
      return BatchLoader(Self.items(source), from: source, transform: .identity, classes: 3)
    } use: { loader in
      // Both are taken, none is given back.
      _ = try loader.next()
      _ = try loader.next()
      #expect(reads.reach(8))
      usleep(5000)
    }
    #expect(reads.count == 8)
  }

  /// After an error.
  @Test func droppedAfterError() async throws {
    try await expectRelease { source in
      var source = source
      source.beforeRead = { _ in throw Damage() }
      return BatchLoader(Self.items(source), from: source, transform: .identity, classes: 3)
    } use: { loader in
      #expect(throws: Damage()) { try loader.next() }
    }
  }

  @Test func manyDropped() async throws {
    weak var observed: MemorySource.Token?
    do {
      var source = Self.source(12)
      source.token = MemorySource.Token()
      observed = source.token
      source.beforeRead = { _ in usleep(50) }
      let items = Self.items(source)
      for k in 0..<200 {
        let loader = BatchLoader(items, from: source, transform: .identity, classes: 3)
        for _ in 0..<k % 4 { loader.recycle(try loader.next().batches) }
      }
    }
    #expect(await eventually { observed == nil })
  }

  @Test func mistakes() async {
    await #expect(processExitsWith: .failure) {
      let loader = BatchLoader([[[(0, 0)]]], from: MemorySource([[1]]), transform: .identity, classes: 1)
      loader.recycle(try loader.next().batches)
      _ = try loader.next()
    }
    await #expect(processExitsWith: .failure) {
      let loader = BatchLoader(
        Array(repeating: [[(0, 0)]], count: 3), from: MemorySource([[1]]), transform: .identity, classes: 1)
      for _ in 0..<3 { _ = try loader.next() }
    }
    await #expect(processExitsWith: .failure) {
      BatchLoader([[[(0, 0)]]], from: MemorySource([[1]]), transform: .identity, classes: 1).recycle([])
    }
  }

  /// Makes a loader, uses it and drops it; then nothing may hold its source any more.
  private func expectRelease(
    of make: (MemorySource) -> BatchLoader<Void>, use: (BatchLoader<Void>) throws -> Void
  ) async throws {
    var source = Self.source(40)
    source.token = MemorySource.Token()
    weak let observed = source.token
    do {
      let loader = make(source)
      source.token = nil
      try use(loader)
    }
    #expect(await eventually { observed == nil })
  }
}

/// Counts the utterances that a thread reads.
private final class Reads: Sendable {
  private let value = Mutex(0)
  var count: Int { value.withLock { $0 } }
  func add() { value.withLock { $0 += 1 } }

  /// Waits until there are `target`; false if it takes too long.
  func reach(_ target: Int) -> Bool {
    for _ in 0..<30_000 {
      if count >= target { return true }
      usleep(1000)
    }
    return false
  }
}

/// Waits until something is so; false if it takes too long.
private func eventually(_ condition: () -> Bool) async -> Bool {
  for _ in 0..<30_000 {
    if condition() { return true }
    try? await Task.sleep(for: .milliseconds(1))
  }
  return false
}
