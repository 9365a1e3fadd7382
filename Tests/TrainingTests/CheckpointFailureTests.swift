import Foundation
import Synchronization
import Tensors
import Testing
import Training

/// Counts operations, and from a given one on makes one or all fail.
final class CheckpointFault: Sendable {
  private let count = Mutex(0)
  private let first: Int
  private let code: Int32
  private let isLasting: Bool

  init(at first: Int = .max, code: Int32 = EIO, isLasting: Bool = false) {
    self.first = first
    self.code = code
    self.isLasting = isLasting
  }

  var operations: Int { count.withLock { $0 } }

  var system: FileSystem {
    FileSystem { _, _ in
      let number = self.count.withLock { count in
        defer { count += 1 }
        return count
      }
      return number == self.first || (self.isLasting && number > self.first) ? self.code : nil
    }
  }
}

/// Notes every operation in order.
final class CheckpointCalls: Sendable {
  private struct Call { let operation: FileOperation, path: String }
  private let calls = Mutex<[Call]>([])

  var system: FileSystem {
    FileSystem { operation, path in
      self.calls.withLock { $0.append(Call(operation: operation, path: path)) }
      return nil
    }
  }

  func index(_ operation: FileOperation, _ path: String) -> Int? {
    calls.withLock { $0.firstIndex { $0.operation == operation && $0.path == path } }
  }

  func lastIndex(_ operation: FileOperation, _ path: String) -> Int? {
    calls.withLock { $0.lastIndex { $0.operation == operation && $0.path == path } }
  }
}

/// Whatever fails while a checkpoint is written or removed, and wherever the process is killed, a whole checkpoint stands.
@Suite struct CheckpointFailureTests {
  private func contents(_ store: CheckpointStore) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: store.directory).sorted()
  }

  /// A run with step 1 that writes step 2 next, or step 1 again.
  private func prepared(_ scratch: CheckpointScratch) throws -> CheckpointStore {
    let store = CheckpointStore(runDirectory: scratch.file(UUID().uuidString))
    _ = try store.prepareForWriting()
    try writeCheckpoint(store, step: 1, isBest: true)
    return store
  }

  private func expectWhole(_ store: CheckpointStore, _ comment: Comment) throws {
    for step in try store.steps() { #expect(throws: Never.self, comment) { try Checkpoint(verifying: store.path(step: step)) } }
    #expect(try store.newestValid().checkpoint != nil, comment)
  }

  @Test(arguments: zip([1, 2], [ENOSPC, EACCES])) func everyFailedOperationLeavesWhatStood(step: Int, code: Int32) throws {
    let scratch = try CheckpointScratch()
    let counter = CheckpointFault()
    let counted = try prepared(scratch)
    try writeCheckpoint(CheckpointStore(runDirectory: counted.runDirectory, system: counter.system), step: step, seed: 50)
    #expect(counter.operations > 40)
    for operation in 0..<counter.operations {
      let store = try prepared(scratch)
      let failing = CheckpointStore(
        runDirectory: store.runDirectory, system: CheckpointFault(at: operation, code: code).system)
      let error = #expect(throws: CheckpointError.self, "operation \(operation)") {
        try writeCheckpoint(failing, step: step, seed: 50)
      }
      #expect(error?.isInputOutput == true, "operation \(operation): \(error?.description ?? "")")
      #expect(error?.description.contains(FileError(.write, "", code: code).reason) == true)
      try expectWhole(store, "operation \(operation)")
      #expect(try store.steps().contains(1) && store.latestStep() != nil && store.bestStep() == 1, "operation \(operation)")
      #expect(try !contents(store).contains { $0.hasSuffix(".partial") }, "operation \(operation)")
      // What could not be removed is removed at the next start, and writing goes on.
      _ = try store.prepareForWriting()
      try writeCheckpoint(store, step: step, seed: 51)
      #expect(try !contents(store).contains { $0.hasPrefix(".") } && store.latestStep() == step)
    }
  }

  @Test(arguments: [1, 2]) func aKillAnywhereLeavesAWholeCheckpoint(step: Int) throws {
    let scratch = try CheckpointScratch()
    let counter = CheckpointFault()
    let counted = try prepared(scratch)
    try writeCheckpoint(CheckpointStore(runDirectory: counted.runDirectory, system: counter.system), step: step, seed: 50)
    for operation in 0..<counter.operations {
      let store = try prepared(scratch)
      let killed = CheckpointFault(at: operation, isLasting: true)
      #expect(throws: CheckpointError.self) {
        try writeCheckpoint(CheckpointStore(runDirectory: store.runDirectory, system: killed.system), step: step, seed: 50)
      }
      for standing in try store.steps() { _ = try Checkpoint(verifying: store.path(step: standing)) }
      _ = try store.prepareForWriting()
      try expectWhole(store, "killed at operation \(operation)")
      #expect(try store.steps().contains(1) && store.latestStep() != nil && store.bestStep() == 1)
      #expect(try !contents(store).contains { $0.hasPrefix(".") }, "killed at operation \(operation)")
    }
  }

  /// Links that a kill left behind, wherever it came, follow what the newest checkpoint says: at the next start, and with the next checkpoint.
  @Test(arguments: [false, true]) func linksFollowTheState(atTheStart: Bool) throws {
    let scratch = try CheckpointScratch()
    let counter = CheckpointFault()
    let counted = try prepared(scratch)
    try writeCheckpoint(CheckpointStore(runDirectory: counted.runDirectory, system: counter.system), step: 2, isBest: true, bestStep: 2)
    var behind: Set<String> = []
    for operation in 0..<counter.operations {
      let store = try prepared(scratch)
      let killed = CheckpointFault(at: operation, isLasting: true)
      #expect(throws: CheckpointError.self) {
        try writeCheckpoint(
          CheckpointStore(runDirectory: store.runDirectory, system: killed.system), step: 2, isBest: true, bestStep: 2)
      }
      _ = try store.prepareForWriting()
      let state = try #require(try store.newestValid().checkpoint).state
      if atTheStart {
        let restored = try store.restoreLinks(state)
        behind.formUnion(restored)
        #expect(try (state.step == 2 || restored.isEmpty) && store.restoreLinks(state).isEmpty)
        #expect(try store.latestStep() == state.step && store.bestStep() == state.step, "killed at operation \(operation)")
      } else if state.step == 2 {
        try writeCheckpoint(store, step: 3, bestStep: 2)
        #expect(try store.latestStep() == 3 && store.bestStep() == 2, "killed at operation \(operation)")
      }
    }
    #expect(behind == (atTheStart ? ["latest", "best"] : []))
  }

  /// The order that makes a checkpoint of its name whole even when the power fails: content, names in it, its own name, links.
  @Test func everythingIsSynchronisedBeforeItIsNamed() throws {
    let scratch = try CheckpointScratch()
    let store = try prepared(scratch)
    let calls = CheckpointCalls()
    try writeCheckpoint(CheckpointStore(runDirectory: store.runDirectory, system: calls.system), step: 2, isBest: true)
    let (partial, directory) = ("\(store.directory)/.step-00000002.partial", store.directory)
    let named = try #require(calls.index(.rename, store.path(step: 2)))
    let files = ["model.safetensors", "training.safetensors", "vocabulary.json", "state.json"].map { "\(partial)/\($0)" }
    let created = try files.map { try #require(calls.index(.create, $0)) }
    let synchronised = try files.map { try #require(calls.index(.synchronize, $0)) }
    let readBack = try files.map { try #require(calls.index(.read, $0)) }
    let partialSynchronised = try #require(calls.index(.synchronize, partial))
    #expect(created.max() == created[3] && created[3] > synchronised[0..<3].max()!, "state.json comes last")
    #expect(partialSynchronised > created[3] && readBack.min()! > synchronised.max()!)
    #expect(named > readBack.max()! && named > partialSynchronised)
    #expect(try #require(calls.index(.synchronize, directory)) > named)
    for link in ["latest", "best"] {
      let linked = try #require(calls.index(.rename, "\(directory)/\(link)"))
      #expect(linked > (try #require(calls.index(.synchronize, directory))))
      #expect(try #require(calls.lastIndex(.synchronize, directory)) > linked)
    }
  }

  @Test func aKillWhilePruningLeavesOnlyWholeCheckpoints() throws {
    let scratch = try CheckpointScratch()
    func four() throws -> CheckpointStore {
      let store = try prepared(scratch)
      for step in 2...4 { try writeCheckpoint(store, step: step) }
      return store
    }
    let counter = CheckpointFault()
    #expect(try CheckpointStore(runDirectory: four().runDirectory, system: counter.system).prune(keep: 1) == [2, 3])
    for operation in 0..<counter.operations {
      let store = try four()
      let killed = CheckpointFault(at: operation, isLasting: true)
      #expect(throws: CheckpointError.self) {
        try CheckpointStore(runDirectory: store.runDirectory, system: killed.system).prune(keep: 1)
      }
      try expectWhole(store, "killed at operation \(operation)")
      #expect(try store.steps().contains(4) && store.bestStep() == 1)
      _ = try store.prepareForWriting()
      _ = try store.prune(keep: 1)
      #expect(try contents(store) == ["best", "latest", "step-00000001", "step-00000004"])
    }
  }

  @Test func aFullDiskKeepsTheLastGoodCheckpoint() throws {
    let disk = try CheckpointSmallDisk(kilobytes: 256)
    let store = CheckpointStore(runDirectory: disk.path)
    _ = try store.prepareForWriting()
    try writeCheckpoint(store, step: 1)
    let error = #expect(throws: CheckpointError.self) {
      try store.write(
        model: someTensors(seed: 1), training: someTensors(seed: 2, scale: 30_000), state: someState(step: 2))
    }
    #expect(error?.isInputOutput == true && error?.file == "training.safetensors" && error?.tensor == "embedding.weight")
    #expect(error?.description.contains("No space left on device") == true)
    #expect(try contents(store) == ["latest", "step-00000001"])
    #expect(try store.newestValid().checkpoint?.state.step == 1)
    try writeCheckpoint(store, step: 2)
    #expect(try store.newestValid().checkpoint?.state.step == 2)
  }

  @Test func aRunDirectoryThatIsAFileIsInputOutput() throws {
    let scratch = try CheckpointScratch()
    try write([1], toFile: scratch.file("run"))
    let store = CheckpointStore(runDirectory: scratch.file("run"))
    let error = #expect(throws: CheckpointError.self) { try store.prepareForWriting() }
    #expect(error?.isInputOutput == true && error?.description.contains("Not a directory") == true)
  }
}
