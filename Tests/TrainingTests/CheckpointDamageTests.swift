import Foundation
import Tensors
import Testing
import Training

/// No damage of a checkpoint goes unnoticed: it is named, and the one before is taken.
@Suite struct CheckpointDamageTests {
  static let files = ["model.safetensors", "training.safetensors", "vocabulary.json", "state.json"]

  private func twoCheckpoints(in scratch: CheckpointScratch) throws -> CheckpointStore {
    let store = CheckpointStore(runDirectory: scratch.path)
    _ = try store.prepareForWriting()
    try writeCheckpoint(store, step: 1)
    try writeCheckpoint(store, step: 2)
    return store
  }

  private func expectDamage(_ store: CheckpointStore, file: String, _ comment: Comment) throws {
    let error = #expect(throws: CheckpointError.self, comment) { try Checkpoint(verifying: store.path(step: 2)) }
    #expect(error?.file == file && error?.isInputOutput == false, comment)
    #expect(error?.description.contains(store.path(step: 2)) == true && error?.description.contains(file) == true, comment)
  }

  private func expectTheOneBefore(_ store: CheckpointStore, file: String) throws {
    let (newest, skipped) = try store.newestValid()
    #expect(newest?.state.step == 1 && skipped.map(\.path) == [store.path(step: 2)] && skipped.first?.reason.file == file)
  }

  @Test(arguments: files) func everyTruncationIsNoticed(_ name: String) throws {
    let scratch = try CheckpointScratch()
    let store = try twoCheckpoints(in: scratch)
    let path = "\(store.path(step: 2))/\(name)"
    let whole = try bytes(ofFile: path)
    let lengths = Set((0..<16).map { whole.count * $0 / 16 } + [1, whole.count - 1])
    for length in lengths {
      try write(Array(whole[..<length]), toFile: path)
      try expectDamage(store, file: name, "\(length) of \(whole.count) bytes")
      try expectTheOneBefore(store, file: name)
    }
    for more in [[0], [UInt8(ascii: "\n")], [UInt8(ascii: " ")], whole] {
      try write(whole + more, toFile: path)
      try expectDamage(store, file: name, "\(more.count) bytes more")
    }
    try FileManager.default.removeItem(atPath: path)
    try expectDamage(store, file: name, "removed")
    try expectTheOneBefore(store, file: name)
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    try expectDamage(store, file: name, "a directory")
    try FileManager.default.removeItem(atPath: path)
    try write(whole, toFile: path)
    #expect(try store.newestValid().checkpoint?.state.step == 2)
  }

  @Test(arguments: files) func everyFlippedBitIsNoticed(_ name: String) throws {
    let scratch = try CheckpointScratch()
    let store = try twoCheckpoints(in: scratch)
    let path = "\(store.path(step: 2))/\(name)"
    let whole = try bytes(ofFile: path)
    for place in whole.indices {
      var altered = whole
      altered[place] ^= 1 << UInt8(place % 8)
      try write(altered, toFile: path)
      try expectDamage(store, file: name, "bit \(place % 8) of byte \(place)")
      if place % 32 == 0 { try expectTheOneBefore(store, file: name) }
    }
    try write(whole, toFile: path)
    #expect(try store.newestValid().checkpoint?.state.step == 2)
  }

  @Test func aFileOfAnotherCheckpointIsNoticed() throws {
    let scratch = try CheckpointScratch()
    let store = try twoCheckpoints(in: scratch)
    for name in ["model.safetensors", "training.safetensors", "vocabulary.json"] {
      let path = "\(store.path(step: 2))/\(name)"
      let own = try bytes(ofFile: path)
      try write(bytes(ofFile: "\(store.path(step: 1))/\(name)"), toFile: path)
      try expectDamage(store, file: name, "of step 1")
      try write(own, toFile: path)
    }
  }

  @Test func aRenamedCheckpointIsPassedOver() throws {
    let scratch = try CheckpointScratch()
    let store = try twoCheckpoints(in: scratch)
    try FileManager.default.moveItem(atPath: store.path(step: 1), toPath: store.path(step: 9))
    let (newest, skipped) = try store.newestValid()
    #expect(newest?.state.step == 2 && skipped.first?.reason.problem == .misplaced(step: 1))
  }

  @Test func allDamagedGivesNoneWithEveryReason() throws {
    let scratch = try CheckpointScratch()
    let store = try twoCheckpoints(in: scratch)
    for step in [1, 2] { try write([], toFile: "\(store.path(step: step))/state.json") }
    let (newest, skipped) = try store.newestValid()
    #expect(newest == nil && skipped.count == 2)
    #expect(throws: CheckpointError.self) { try CheckpointStore.open(path: scratch.path) }
  }

  @Test func otherVersionsAndMadeUpStatesAreNamed() throws {
    let scratch = try CheckpointScratch()
    let store = try twoCheckpoints(in: scratch)
    let path = "\(store.path(step: 2))/state.json"
    let plain = Array(try bytes(ofFile: path).dropFirst(#"{\#n  "checksum" : "0123456789abcdef","#.utf8.count))

    func problem(replacing old: String, with new: String) throws -> CheckpointError.Problem? {
      let text = "{" + String(decoding: plain, as: UTF8.self)
      #expect(text.contains(old))
      let body = Array(text.replacingOccurrences(of: old, with: new).utf8)
      let head = "{\n  \"checksum\" : \"\(Checksum(of: body).hexadecimal)\","
      try write(Array(head.utf8) + body.dropFirst(), toFile: path)
      return #expect(throws: CheckpointError.self) { try Checkpoint(verifying: store.path(step: 2)) }?.problem
    }
    #expect(try problem(replacing: "\"formatVersion\" : 1", with: "\"formatVersion\" : 2") == .formatVersion(found: 2, allowed: 1))
    for (old, new) in [
      ("\"step\" : 2", "\"step\" : \"two\""), ("\"step\" : 2", "\"steps\" : 2"), ("model.safetensors", "model2.safetensors"),
      ("vocabulary.json", "../step-00000001/vocabulary.json"),
    ] {
      guard case .state = try problem(replacing: old, with: new) else {
        Issue.record("\(old) replaced by \(new) is not refused as a state")
        continue
      }
    }
  }
}
