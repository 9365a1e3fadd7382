import Foundation
import Tensors
import Testing
import Training

func someState(step: Int, validation: CheckpointState.Validation? = nil) -> CheckpointState {
  CheckpointState(
    programVersion: "0.1.0", step: step, epoch: 2, position: 17, seed: .max, shards: 8, frames: 123_456_789_012,
    statistics: .running, configuration: "task: language-model\n# \"é\"\n", validation: validation,
    runningSteps: ["lstm.0.forward.input_norm": 20])
}

/// Writes the checkpoint of `step`, whose tensors follow from it.
@discardableResult
func writeCheckpoint(
  _ store: CheckpointStore, step: Int, seed: UInt64? = nil, isBest: Bool = false, bestStep: Int? = nil
) throws(CheckpointError) -> String {
  let seed = seed ?? UInt64(step)
  return try store.write(
    model: someTensors(seed: seed), training: someTensors(seed: seed + 1000),
    files: [("vocabulary.json", Array("[\"the\",\"\(seed)\"]".utf8))], state: someState(step: step, validation: bestStep.map { .init(loss: 1, bestLoss: 1, bestStep: $0) }), isBest: isBest)
}

@Suite struct CheckpointTests {
  @Test func checksumsAreXXH3() throws {
    // From the library's one-call function: `XXH3_64bits`.
    let long = (0..<300_000).map { UInt8(($0 * 7) % 256) }
    #expect(Checksum(of: []).hexadecimal == "2d06800538d394c2")
    #expect(Checksum(of: Array("lockstep".utf8)).hexadecimal == "2f270043200950ec")
    #expect(Checksum(of: long).hexadecimal == "2c9f5a6f6e250a6b")
    let scratch = try CheckpointScratch()
    for count in [0, 1, 1 << 18, 1 << 18 + 1, 300_000] {
      let part = Array((long + long)[..<count])
      try write(part, toFile: scratch.file("f"))
      #expect(try Checksum(ofFile: scratch.file("f")) == Checksum(of: part))
    }
    #expect(Checksum(hexadecimal: Checksum(value: 10).hexadecimal) == Checksum(value: 10))
    for wrong in ["", "2d06800538d394c", "2D06800538D394C2", "+d06800538d394c2", "2d06800538d394c2 "] {
      #expect(Checksum(hexadecimal: wrong) == nil)
    }
    let missing = #expect(throws: FileError.self) { try Checksum(ofFile: scratch.file("none")) }
    #expect(missing?.code == ENOENT && missing?.isInputOutput == false)
  }

  @Test func roundTrip() throws {
    let scratch = try CheckpointScratch()
    let store = CheckpointStore(runDirectory: scratch.file("Runs/a"))
    #expect(try store.steps() == [] && store.newestValid().checkpoint == nil)
    #expect(try store.prepareForWriting() == [])
    let validation = CheckpointState.Validation(loss: 0.1 + 0.2, bestLoss: .nan, bestStep: 3)
    let (model, training) = (someTensors(seed: 1), someTensors(seed: 2))
    let path = try store.write(
      model: model, training: training, files: [("vocabulary.json", [1, 2, 3])],
      state: someState(step: 1234, validation: validation), isBest: true)
    #expect(path == store.directory + "/step-00001234")
    #expect(try FileManager.default.contentsOfDirectory(atPath: path).sorted() == ["model.safetensors", "state.json", "training.safetensors", "vocabulary.json"])
    #expect(try FileManager.default.contentsOfDirectory(atPath: store.directory).sorted() == ["best", "latest", "step-00001234"])
    for link in ["latest", "best"] {
      #expect(try FileManager.default.destinationOfSymbolicLink(atPath: "\(store.directory)/\(link)") == "step-00001234")
    }

    let (newest, skipped) = try store.newestValid()
    let checkpoint = try #require(newest)
    #expect(skipped.isEmpty && checkpoint.path == path)
    let state = checkpoint.state
    #expect(state.step == 1234 && state.epoch == 2 && state.position == 17 && state.seed == .max && state.shards == 8)
    #expect(state.frames == 123_456_789_012 && state.statistics == .running && state.configuration == "task: language-model\n# \"é\"\n")
    #expect(state.validation?.loss == 0.1 + 0.2 && state.validation?.bestLoss.isNaN == true && state.validation?.bestStep == 3)
    #expect(state.runningSteps == ["lstm.0.forward.input_norm": 20] && state.programVersion == "0.1.0")
    // Checkpoints of before frames were counted are without the key.
    #expect(state.runningFrames == nil && !String(decoding: state.encoded(), as: UTF8.self).contains("runningFrames"))
    #expect(Set(state.files.keys) == ["model.safetensors", "training.safetensors", "vocabulary.json"])
    let read = (blanks(of: model), blanks(of: training))
    #expect(try checkpoint.model().read(into: read.0) == [])
    #expect(try checkpoint.training().read(into: read.1) == [])
    #expect(bits(read.0) == bits(model) && bits(read.1) == bits(training))
    #expect(try checkpoint.bytes(of: "vocabulary.json") == [1, 2, 3])
    #expect(throws: CheckpointError.self) { try checkpoint.bytes(of: "other.json") }
  }

  @Test func stateIsPlainJSONWithTopLevelKeys() throws {
    let scratch = try CheckpointScratch()
    let store = CheckpointStore(runDirectory: scratch.path)
    _ = try store.prepareForWriting()
    let path = try writeCheckpoint(store, step: 5)
    let json = try JSONSerialization.jsonObject(with: Data(bytes(ofFile: path + "/state.json"))) as? [String: Any]
    #expect(json?["step"] as? Int == 5 && json?["statistics"] as? String == "running" && json?["seed"] as? UInt64 == .max)
    #expect((json?["checksum"] as? String)?.count == 16)
    let files = json?["files"] as? [String: [String: Any]]
    let model = files?["model.safetensors"]
    #expect(try model?["checksum"] as? String == Checksum(ofFile: path + "/model.safetensors").hexadecimal)
    #expect(try model?["bytes"] as? Int == bytes(ofFile: path + "/model.safetensors").count)
  }

  @Test func theSameCheckpointGivesTheSameBytes() throws {
    let (a, b) = (try CheckpointScratch(), try CheckpointScratch())
    for scratch in [a, b] {
      let store = CheckpointStore(runDirectory: scratch.path)
      _ = try store.prepareForWriting()
      try writeCheckpoint(store, step: 7)
    }
    for name in ["model.safetensors", "training.safetensors", "vocabulary.json", "state.json"] {
      let file = "checkpoints/step-00000007/\(name)"
      #expect(try bytes(ofFile: a.file(file)) == bytes(ofFile: b.file(file)))
    }
  }

  @Test func opensDirectoriesLinksAndRuns() throws {
    let scratch = try CheckpointScratch()
    let store = CheckpointStore(runDirectory: scratch.file("run"))
    _ = try store.prepareForWriting()
    try writeCheckpoint(store, step: 1, isBest: true)
    try writeCheckpoint(store, step: 2)
    #expect(try CheckpointStore.open(path: store.path(step: 1)).state.step == 1)
    #expect(try CheckpointStore.open(path: store.directory + "/best").state.step == 1)
    #expect(try CheckpointStore.open(path: store.directory + "/latest/").state.step == 2)
    #expect(try CheckpointStore.open(path: scratch.file("run")).state.step == 1)
    // A copy under another name is a checkpoint too.
    try FileManager.default.copyItem(atPath: store.path(step: 1), toPath: scratch.file("mine"))
    #expect(try CheckpointStore.open(path: scratch.file("mine")).state.step == 1)

    let nothing = #expect(throws: CheckpointError.self) { try CheckpointStore.open(path: scratch.path) }
    #expect(nothing?.problem == .notACheckpoint && nothing?.isInputOutput == false)
    #expect(throws: CheckpointError.self) { try CheckpointStore.open(path: scratch.file("none")) }
    #expect(throws: CheckpointError.self) { try CheckpointStore.open(path: store.path(step: 1) + "/model.safetensors") }
    try FileManager.default.removeItem(atPath: store.path(step: 1))
    let dangling = #expect(throws: CheckpointError.self) { try CheckpointStore.open(path: scratch.file("run")) }
    #expect(dangling?.problem == .missingFile && dangling?.file == "state.json" && dangling?.path.hasSuffix("best") == true)
    // A run without a validation has no best.
    try FileManager.default.removeItem(atPath: store.directory + "/best")
    #expect(try CheckpointStore.open(path: scratch.file("run")).state.step == 2)
  }

  @Test func aStepWrittenTwiceIsReplaced() throws {
    let scratch = try CheckpointScratch()
    let store = CheckpointStore(runDirectory: scratch.path)
    _ = try store.prepareForWriting()
    try writeCheckpoint(store, step: 1, seed: 1)
    try writeCheckpoint(store, step: 1, seed: 2)
    let checkpoint = try #require(try store.newestValid().checkpoint)
    #expect(try checkpoint.bytes(of: "vocabulary.json") == Array("[\"the\",\"2\"]".utf8))
    #expect(try FileManager.default.contentsOfDirectory(atPath: store.directory).sorted() == ["latest", "step-00000001"])
  }

  @Test func pruningKeepsTheNewestAndWhatLinksName() throws {
    let scratch = try CheckpointScratch()
    let store = CheckpointStore(runDirectory: scratch.path)
    _ = try store.prepareForWriting()
    for step in 1...6 { try writeCheckpoint(store, step: step * 50_000_000, isBest: step == 2) }
    #expect(try store.steps().last == 300_000_000 && store.path(step: 300_000_000).hasSuffix("/step-300000000"))
    #expect(try store.prune(keep: 3) == [50_000_000, 150_000_000])
    #expect(try store.steps() == [100_000_000, 200_000_000, 250_000_000, 300_000_000])
    #expect(try store.prune(keep: 3) == [])
    try store.markBest(step: 250_000_000)
    #expect(try store.bestStep() == 250_000_000)
    #expect(try store.prune(keep: 1) == [100_000_000, 200_000_000])
    #expect(try store.steps() == [250_000_000, 300_000_000])
    #expect(throws: CheckpointError.self) { try store.markBest(step: 1) }
    for step in try store.steps() { _ = try Checkpoint(verifying: store.path(step: step)) }
  }

  @Test func pruningNeverRemovesWhatTheRunGoesOnFrom() throws {
    let scratch = try CheckpointScratch()
    let store = CheckpointStore(runDirectory: scratch.path)
    _ = try store.prepareForWriting()
    for step in [10, 20, 30] { try writeCheckpoint(store, step: step) }
    for step in [20, 30] { try write([0], toFile: store.path(step: step) + "/model.safetensors") }
    // The run goes on from 10, as 20 and 30 are damaged.
    #expect(try store.newestValid().checkpoint?.state.step == 10)
    try writeCheckpoint(store, step: 12)
    #expect(try store.prune(keep: 1) == [10])
    #expect(try store.steps() == [12, 20, 30])
    let (newest, skipped) = try store.newestValid()
    #expect(newest?.state.step == 12 && skipped.map(\.path) == [store.path(step: 30), store.path(step: 20)])
    // Without a latest that stands nothing is removed.
    try FileManager.default.removeItem(atPath: store.path(step: 12))
    #expect(try store.prune(keep: 1) == [] && store.steps() == [20, 30])
  }

  @Test func leftOversAreClearedAndNothingElse() throws {
    let scratch = try CheckpointScratch()
    let store = CheckpointStore(runDirectory: scratch.path)
    _ = try store.prepareForWriting()
    try writeCheckpoint(store, step: 1)
    try writeCheckpoint(store, step: 2)
    let manager = FileManager.default
    let left = [".step-00000003.partial", ".step-00000001.removed", ".step-00000002.replaced", ".latest.partial"]
    let foreign = ["notes.txt", ".hidden", ".step-3.partial", "step-3", ".step-00000003.partial.txt", ".partial"]
    for name in left + foreign {
      try manager.createDirectory(atPath: "\(store.directory)/\(name)/inner", withIntermediateDirectories: true)
      try write([1], toFile: "\(store.directory)/\(name)/inner/file")
    }
    // A link that leads outside is removed, not what it names.
    try manager.createSymbolicLink(atPath: "\(store.directory)/.step-00000003.partial/link", withDestinationPath: scratch.path)
    #expect(try store.steps() == [1, 2])
    #expect(try Set(store.prepareForWriting()) == Set(left))
    let names = try manager.contentsOfDirectory(atPath: store.directory)
    #expect(Set(names) == Set(foreign + ["latest", "step-00000001", "step-00000002"]))
    // A checkpoint whose replacement never came is put back.
    try manager.moveItem(atPath: store.path(step: 2), toPath: "\(store.directory)/.step-00000002.replaced")
    #expect(try store.newestValid().checkpoint?.state.step == 1)
    #expect(try store.prepareForWriting() == [".step-00000002.replaced"])
    #expect(try store.newestValid().checkpoint?.state.step == 2)
  }
}
