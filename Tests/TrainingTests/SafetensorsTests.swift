import Foundation
import Tensors
import Testing
import Training

@Suite struct SafetensorsTests {
  @Test func roundTripKeepsEveryBit() throws {
    let scratch = try CheckpointScratch()
    let path = scratch.file("model.safetensors")
    let special: [Float] = [.nan, Float(bitPattern: 0x7FC1_2345), -0.0, .infinity, -.infinity, .leastNonzeroMagnitude, 1e38, 0.1]
    let tensors =
      someTensors(seed: 1) + [
        NamedTensor(name: "with \"quotes\", \\ and \n é 🙂", shape: [2, 2, 2], values: VectorView(special))
      ]
    try SafetensorsWriter.write(tensors, metadata: ["b": "2", "a": "\t"], to: path)
    let file = try SafetensorsFile(path)
    #expect(file.tensors.map(\.name) == tensors.map(\.name))
    #expect(file.tensors.map(\.shape) == tensors.map(\.shape))
    #expect(file.tensors.allSatisfy { $0.elementType == .float32 })
    #expect(file.metadata == ["a": "\t", "b": "2"])
    let read = blanks(of: tensors)
    #expect(try file.read(into: read) == [])
    #expect(bits(read) == bits(tensors))
    #expect(try !FileManager.default.contentsOfDirectory(atPath: scratch.path).contains { $0.hasSuffix(".partial") })
  }

  @Test func writesTheFormatByteForByte() throws {
    let scratch = try CheckpointScratch()
    let path = scratch.file("a.safetensors")
    try write([1, 2, 3], toFile: path)
    try SafetensorsWriter.write([NamedTensor(name: "w", shape: [1, 2], values: VectorView([1, -2]))], to: path)
    let json = #"{"w":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}"#
    #expect(json.utf8.count == 56)
    let expected: [UInt8] = [56, 0, 0, 0, 0, 0, 0, 0] + Array(json.utf8) + [0, 0, 0x80, 0x3F, 0, 0, 0, 0xC0]
    #expect(try bytes(ofFile: path) == expected)
  }

  @Test func theSameTensorsGiveTheSameBytesAndAlignedData() throws {
    let scratch = try CheckpointScratch()
    for length in 1...9 {
      let tensors = [NamedTensor(name: String(repeating: "n", count: length), shape: [3], values: VectorView([1, 2, 3]))]
      try SafetensorsWriter.write(tensors, metadata: ["z": "1", "y": "2", "x": "3"], to: scratch.file("a"))
      try SafetensorsWriter.write(tensors, metadata: ["x": "3", "z": "1", "y": "2"], to: scratch.file("b"))
      let content = try bytes(ofFile: scratch.file("a"))
      #expect(try content == bytes(ofFile: scratch.file("b")))
      #expect(content[0] % 8 == 0 && content.count == 8 + Int(content[0]) + 12)
    }
  }

  /// Written by Python's safetensors 0.8.0: `save({"output.weight": arange(6) / 2 as float32 [2, 3], "counts": [1, -2] as int64,
  /// "scale": 0.1 as float32 [], "empty": float32 [0, 4], "mask": [True, False, True]}, metadata={"format": "np", "note": 'a "quoted" é'})`.
  private static let fromPython =
    "cAEAAAAAAAB7Il9fbWV0YWRhdGFfXyI6eyJub3RlIjoiYSBcInF1b3RlZFwiIMOpIiwiZm9ybWF0IjoibnAifSwiY291bnRzIjp7"
      + "ImR0eXBlIjoiSTY0Iiwic2hhcGUiOlsyXSwiZGF0YV9vZmZzZXRzIjpbMCwxNl19LCJlbXB0eSI6eyJkdHlwZSI6IkYzMiIsInNo"
      + "YXBlIjpbMCw0XSwiZGF0YV9vZmZzZXRzIjpbMTYsMTZdfSwib3V0cHV0LndlaWdodCI6eyJkdHlwZSI6IkYzMiIsInNoYXBlIjpb"
      + "MiwzXSwiZGF0YV9vZmZzZXRzIjpbMTYsNDBdfSwic2NhbGUiOnsiZHR5cGUiOiJGMzIiLCJzaGFwZSI6W10sImRhdGFfb2Zmc2V0"
      + "cyI6WzQwLDQ0XX0sIm1hc2siOnsiZHR5cGUiOiJCT09MIiwic2hhcGUiOlszXSwiZGF0YV9vZmZzZXRzIjpbNDQsNDddfX0gICAg"
      + "IAEAAAAAAAAA/v////////8AAAAAAAAAPwAAgD8AAMA/AAAAQAAAIEDNzMw9AQAB"

  @Test func readsWhatPythonWrites() throws {
    let scratch = try CheckpointScratch()
    let path = scratch.file("python.safetensors")
    try write([UInt8](try #require(Data(base64Encoded: Self.fromPython))), toFile: path)
    let file = try SafetensorsFile(path)
    #expect(file.metadata == ["format": "np", "note": "a \"quoted\" é"])
    #expect(Set(file.tensors.map(\.name)) == ["output.weight", "counts", "scale", "empty", "mask"])
    #expect(file["counts"]?.elementType == .int64 && file["mask"]?.elementType == .bool)
    let weight = VectorView<Float>(zeros: 6)
    try file.read("output.weight", into: weight)
    #expect(weight.array == [0, 0.5, 1, 1.5, 2, 2.5])
    #expect(file["output.weight"]?.shape == [2, 3])
    let scale = VectorView<Float>(zeros: 1)
    try file.read("scale", into: scale)
    #expect(scale.array == [0.1])
    try file.read("empty", into: VectorView(zeros: 0))
    let error = #expect(throws: SafetensorsError.self) { try file.read("counts", into: VectorView(zeros: 2)) }
    #expect(error?.problem == .elementType && error?.tensor == "counts" && error?.found == "the type I64" && error?.allowed == "F32")
  }

  @Test func namesWhatDoesNotFitTheModelAndLeavesItAlone() throws {
    let scratch = try CheckpointScratch()
    let path = scratch.file("model.safetensors")
    let tensors = someTensors(seed: 2)
    try SafetensorsWriter.write(tensors, to: path)
    let file = try SafetensorsFile(path)

    func failure(_ model: [NamedTensor], optional: Set<String> = []) -> SafetensorsError? {
      let error = #expect(throws: SafetensorsError.self) { try file.read(into: model, optional: optional) }
      #expect(bits(model) == bits(blanks(of: model)), "a model that does not fit is left alone")
      #expect(error?.isInputOutput == false)
      return error
    }
    let blank = blanks(of: tensors)
    let more = blank + [NamedTensor(name: "more", shape: [2], values: VectorView(zeros: 2))]
    var turned = blank
    turned[0] = NamedTensor(name: "embedding.weight", shape: [3, 5], values: VectorView(zeros: 15))

    #expect(failure(more)?.problem == .missingTensor && failure(more)?.tensor == "more")
    #expect(failure(Array(blank.dropLast()))?.problem == .extraTensor && failure(Array(blank.dropLast()))?.tensor == "scalar")
    #expect(failure(turned)?.problem == .shape)
    #expect(failure(turned)?.description.contains("\"embedding.weight\": the shape [5, 3]; allowed: [3, 5]") == true)
    #expect(try file.read(into: more, optional: ["more", "scalar"]) == ["more"])
    #expect(bits(Array(more.dropLast())) == bits(tensors))
  }

  @Test func aMissingFileIsBadDataAndARefusedOneIsInputOutput() throws {
    let scratch = try CheckpointScratch()
    let missing = #expect(throws: SafetensorsError.self) { _ = try SafetensorsFile(scratch.file("none")) }
    #expect(missing?.isInputOutput == false && missing?.description.contains("none: No such file") == true)
    let directory = #expect(throws: SafetensorsError.self) { _ = try SafetensorsFile(scratch.path) }
    #expect(directory?.isInputOutput == false)
    let refused = FileSystem { operation, _ in operation == .open ? EACCES : nil }
    let error = #expect(throws: SafetensorsError.self) { _ = try SafetensorsFile(scratch.file("none"), system: refused) }
    #expect(error?.isInputOutput == true && error?.description.contains("Permission denied") == true)
  }

  @Test func aFullDiskNamesTheTensorAndKeepsTheOldFile() throws {
    let disk = try CheckpointSmallDisk(kilobytes: 64)
    let path = "\(disk.path)/model.safetensors"
    try SafetensorsWriter.write(someTensors(seed: 3), to: path)
    let before = try bytes(ofFile: path)
    let error = #expect(throws: SafetensorsError.self) {
      try SafetensorsWriter.write(someTensors(seed: 4, scale: 10_000), to: path)
    }
    #expect(error?.isInputOutput == true && error?.tensor == "embedding.weight")
    #expect(error?.description.contains("No space left on device") == true)
    #expect(try bytes(ofFile: path) == before)
    #expect(try FileManager.default.contentsOfDirectory(atPath: disk.path) == ["model.safetensors"])
  }
}
