import Foundation
import Tensors
import Testing
import Training

/// A directory for one test, removed with its owner.
final class CheckpointScratch {
  let path: String

  init() throws {
    path = FileManager.default.temporaryDirectory.appendingPathComponent("lockstep-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func file(_ name: String) -> String { "\(path)/\(name)" }
}

/// A file system of a few kilobytes in memory. Mounting it needs root; without it the test fails and says so.
final class CheckpointSmallDisk {
  private let scratch: CheckpointScratch
  var path: String { scratch.path }

  init(kilobytes: Int) throws {
    scratch = try CheckpointScratch()
    let result = unsafe mount("tmpfs", scratch.path, "tmpfs", 0, "size=\(kilobytes)k")
    try #require(result == 0, "mounting a small file system needs root: \(unsafe String(cString: strerror(errno)))")
  }

  deinit { unsafe _ = umount2(scratch.path, Int32(MNT_DETACH)) }
}

/// SplitMix64 (Steele, Lea & Flood 2014): the same numbers on every run.
struct CheckpointTestRandom: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

func bytes(ofFile path: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: URL(fileURLWithPath: path))) }

func write(_ bytes: [UInt8], toFile path: String) throws { try Data(bytes).write(to: URL(fileURLWithPath: path)) }

/// Tensors with contents that follow from `seed`.
func someTensors(seed: UInt64, scale: Int = 1) -> [NamedTensor] {
  var random = CheckpointTestRandom(state: seed)
  return [("embedding.weight", [5 * scale, 3]), ("output.bias", [7]), ("none", [0, 4]), ("scalar", [])].map { name, shape in
    let values = (0..<shape.reduce(1, *)).map { _ in Float.random(in: -1...1, using: &random) }
    return NamedTensor(name: name, shape: shape, values: VectorView(values))
  }
}

/// The same names and shapes, all zero.
func blanks(of tensors: [NamedTensor]) -> [NamedTensor] {
  tensors.map { NamedTensor(name: $0.name, shape: $0.shape, values: VectorView(zeros: $0.values.count)) }
}

/// Bits of all elements: comparing them tells NaN from NaN and 0 from -0.
func bits(_ tensors: [NamedTensor]) -> [[UInt32]] { tensors.map { $0.values.array.map(\.bitPattern) } }
