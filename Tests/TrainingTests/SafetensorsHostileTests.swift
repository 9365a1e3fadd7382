import Foundation
import Tensors
import Testing
import Training

/// Files that someone broke, by chance or on purpose: each is a typed error, never a crash, never a wrong tensor.
@Suite struct SafetensorsHostileTests {
  struct Case: CustomTestStringConvertible, Sendable {
    let json: String
    var data = 0
    let problem: SafetensorsError.Problem
    var tensor: String?
    var testDescription: String { String(json.prefix(100)) }
  }

  static func tensor(_ name: String, _ type: String, _ shape: String, _ offsets: String) -> String {
    "\"\(name)\":{\"dtype\":\"\(type)\",\"shape\":\(shape),\"data_offsets\":\(offsets)}"
  }

  static let cases: [Case] = [
    Case(json: "", problem: .header),
    Case(json: "[]", problem: .header),
    Case(json: "{", problem: .header),
    Case(json: "{} {}", problem: .header),
    Case(json: "{}", data: 1, problem: .offsets),
    Case(json: "{\"a\"}", problem: .header),
    Case(json: "{\"a\":null}", problem: .header),
    Case(json: "{\"a\":{}}", problem: .header),
    Case(json: "{\"a\":{\"dtype\":\"F32\"}}", problem: .header, tensor: "a"),
    Case(json: "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", problem: .header, tensor: "a"),
    Case(json: "{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4],\"more\":1}}", data: 4, problem: .header, tensor: "a"),
    Case(json: "{\"__metadata__\":{\"a\":1}}", problem: .header),
    Case(json: "{\"__metadata__\":{\"a\":\"\",\"a\":\"\"}}", problem: .duplicateName, tensor: "__metadata__"),
    Case(json: "{\"__metadata__\":{},\"__metadata__\":{}}", problem: .duplicateName, tensor: "__metadata__"),
    Case(json: "{\(tensor("a", "F32", "[1]", "[0,4]")),\(tensor("a", "F32", "[1]", "[4,8]"))}", data: 8, problem: .duplicateName, tensor: "a"),
    Case(json: "{\(tensor("a", "F33", "[1]", "[0,4]"))}", data: 4, problem: .elementType, tensor: "a"),
    Case(json: "{\(tensor("a", "f32", "[1]", "[0,4]"))}", data: 4, problem: .elementType, tensor: "a"),
    Case(json: "{\(tensor("a", "F32", "[-1]", "[0,4]"))}", data: 4, problem: .shape, tensor: "a"),
    Case(json: "{\(tensor("a", "F32", "[1.0]", "[0,4]"))}", data: 4, problem: .shape, tensor: "a"),
    Case(json: "{\(tensor("a", "F32", "[1e0]", "[0,4]"))}", data: 4, problem: .shape, tensor: "a"),
    Case(json: "{\(tensor("a", "F32", "[NaN]", "[0,4]"))}", data: 4, problem: .header),
    Case(json: "{\(tensor("a", "F32", "[Infinity]", "[0,4]"))}", data: 4, problem: .header),
    Case(json: "{\(tensor("a", "F32", "[01]", "[0,4]"))}", data: 4, problem: .header),
    Case(json: "{\(tensor("a", "F32", "[2]", "[0,4]"))}", data: 4, problem: .shape, tensor: "a"),
    Case(json: "{\(tensor("a", "F32", "[9223372036854775807]", "[0,4]"))}", data: 4, problem: .shape, tensor: "a"),
    Case(json: "{\(tensor("a", "F32", "[9223372036854775808]", "[0,4]"))}", data: 4, problem: .shape, tensor: "a"),
    Case(json: "{\(tensor("a", "F32", "[4294967296,4294967296]", "[0,0]"))}", problem: .shape, tensor: "a"),
    Case(json: "{\(tensor("a", "F32", "[\(Array(repeating: "1", count: 33).joined(separator: ","))]", "[0,4]"))}", data: 4, problem: .shape, tensor: "a"),
    Case(json: "{\(tensor("a", "F32", "[1]", "[4,0]"))}", data: 4, problem: .offsets, tensor: "a"),
    Case(json: "{\(tensor("a", "F32", "[1]", "[-4,0]"))}", data: 4, problem: .offsets, tensor: "a"),
    Case(json: "{\(tensor("a", "F32", "[1]", "[4]"))}", data: 4, problem: .offsets, tensor: "a"),
    Case(json: "{\(tensor("a", "F32", "[1]", "[0,4,8]"))}", data: 4, problem: .offsets, tensor: "a"),
    Case(json: "{\(tensor("a", "F32", "[1]", "[0,99999999999999999999]"))}", data: 4, problem: .offsets, tensor: "a"),
    Case(json: "{\(tensor("a", "F32", "[1]", "[9223372036854775803,9223372036854775807]"))}", data: 4, problem: .offsets, tensor: "a"),
    Case(json: "{\(tensor("a", "F32", "[2]", "[0,8]"))}", data: 4, problem: .truncated, tensor: "a"),
    Case(json: "{\(tensor("a", "F32", "[1]", "[0,4]"))}", data: 8, problem: .offsets),
    Case(json: "{\(tensor("a", "F32", "[1]", "[4,8]"))}", data: 8, problem: .offsets, tensor: "a"),
    Case(json: "{\(tensor("a", "F32", "[1]", "[0,4]")),\(tensor("b", "F32", "[1]", "[8,12]"))}", data: 12, problem: .offsets, tensor: "b"),
    Case(json: "{\(tensor("a", "F32", "[2]", "[0,8]")),\(tensor("b", "F32", "[1]", "[4,8]"))}", data: 8, problem: .offsets, tensor: "b"),
    Case(json: "{\(tensor("a", "F32", "[1]", "[0,4]")),\(tensor("b", "F32", "[1]", "[0,4]"))}", data: 4, problem: .offsets, tensor: "b"),
    Case(json: "{\"\\ud800\":{}}", problem: .header),
    Case(json: "{\"a\u{1}\":{}}", problem: .header),
    Case(json: String(repeating: "[", count: 100_000), problem: .header),
    Case(json: String(repeating: "{\"a\":", count: 100_000), problem: .header, tensor: "a"),
  ]

  @Test(arguments: cases) func headerIsRefused(_ example: Case) throws {
    let scratch = try CheckpointScratch()
    let path = scratch.file("hostile.safetensors")
    try write(file(example.json, data: example.data), toFile: path)
    let error = #expect(throws: SafetensorsError.self) { _ = try SafetensorsFile(path) }
    #expect(error?.problem == example.problem, "\(error?.description ?? "none")")
    #expect(error?.tensor == example.tensor)
    #expect(error?.file == path && error?.isInputOutput == false)
    #expect(error?.description.contains(path) == true)
  }

  @Test func impossibleHeaderLengthsAreRefusedBeforeAnythingIsAllocated() throws {
    let scratch = try CheckpointScratch()
    let path = scratch.file("hostile.safetensors")
    let lengths: [(UInt64, SafetensorsError.Problem)] = [
      (3, .truncated), (100_000_000, .truncated), (100_000_001, .headerLength), (1 << 63, .headerLength), (.max, .headerLength),
    ]
    for (length, problem) in lengths {
      try write((0..<8).map { UInt8(truncatingIfNeeded: length >> ($0 * 8)) } + Array("{}".utf8), toFile: path)
      let error = #expect(throws: SafetensorsError.self) { _ = try SafetensorsFile(path) }
      #expect(error?.problem == problem, "\(length)")
    }
  }

  @Test func everyTruncationIsRefused() throws {
    let scratch = try CheckpointScratch()
    let path = scratch.file("model.safetensors")
    try SafetensorsWriter.write(someTensors(seed: 5), to: path)
    let whole = try bytes(ofFile: path)
    for length in 0..<whole.count {
      try write(Array(whole[..<length]), toFile: path)
      let error = #expect(throws: SafetensorsError.self) { _ = try SafetensorsFile(path) }
      #expect(error?.problem == .truncated, "\(length) bytes")
    }
    try write(whole + [0], toFile: path)
    #expect(throws: SafetensorsError.self) { _ = try SafetensorsFile(path) }
  }

  @Test func aFileThatShrinksWhileOpenIsRefused() throws {
    let scratch = try CheckpointScratch()
    let path = scratch.file("model.safetensors")
    try SafetensorsWriter.write(someTensors(seed: 6), to: path)
    let file = try SafetensorsFile(path)
    let handle = try #require(FileHandle(forWritingAtPath: path))
    try handle.truncate(atOffset: UInt64(try bytes(ofFile: path).count - 4 * 9))
    let error = #expect(throws: SafetensorsError.self) { try file.read("embedding.weight", into: VectorView(zeros: 15)) }
    #expect(error?.problem == .truncated && error?.tensor == "embedding.weight")
  }

  /// Random damage of headers. Whatever still opens must be consistent with the file; everything else is a `SafetensorsError`.
  @Test func randomHeadersNeverCrash() throws {
    let scratch = try CheckpointScratch()
    let path = scratch.file("fuzz.safetensors")
    try SafetensorsWriter.write(someTensors(seed: 7), metadata: ["format": "pt"], to: path)
    let whole = try bytes(ofFile: path)
    let headerEnd = 8 + Int(whole[0]) + Int(whole[1]) << 8
    let tokens = ["{", "}", "[", "]", ",", ":", "\"", "\\u", "-", "9", "0", "e9", "null", "99999999999999999999", "é", "\"F64\"", "[0,4]"].map { Array($0.utf8) }
    var random = CheckpointTestRandom(state: 20_240_611)
    var (refused, opened) = (0, 0)
    for _ in 0..<1500 {
      var content = whole
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        let place = Int.random(in: 8..<headerEnd, using: &random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: content[place] = UInt8.random(in: 0...255, using: &random)
        case 1: content[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 2: content.insert(contentsOf: tokens.randomElement(using: &random)!, at: place)
        default: content.removeSubrange(place..<min(place + Int.random(in: 1...20, using: &random), headerEnd))
        }
      }
      // Half of the time the length is made to fit again, so that the damage reaches the parser's depth.
      let length = content.count - (whole.count - headerEnd) - 8
      if Bool.random(using: &random) { (content[0], content[1]) = (UInt8(length & 255), UInt8(length >> 8)) }
      try write(content, toFile: path)
      do throws(SafetensorsError) {
        let file = try SafetensorsFile(path)
        opened += 1
        for tensor in file.tensors {
          #expect(tensor.bytes.upperBound <= content.count)
          #expect(tensor.shape.reduce(1, *) == tensor.count)
          if tensor.elementType == .float32 { try file.read(tensor.name, into: VectorView(zeros: tensor.count)) }
        }
      } catch {
        refused += 1
        #expect(!error.isInputOutput && error.description.contains(path))
      }
    }
    #expect(refused > 750 && opened > 20, "\(refused) refused, \(opened) opened")
  }

  private func file(_ json: String, data: Int) -> [UInt8] {
    let header = Array(json.utf8)
    return (0..<8).map { UInt8(truncatingIfNeeded: header.count >> ($0 * 8)) } + header + [UInt8](repeating: 0, count: data)
  }
}
