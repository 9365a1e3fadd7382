import Foundation

/// A tensor of a safetensors file, read and written by code of its own.
struct FileTensor: Equatable {
  var name: String
  var shape: [Int]
  var values: [Float]

  static func read(_ data: Data) throws -> [FileTensor] {
    let header = data[..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
    let object = try JSONSerialization.jsonObject(with: data[8..<8 + header]) as? [String: Any] ?? [:]
    return object.keys.sorted().compactMap { name in
      guard name != "__metadata__", let entry = object[name] as? [String: Any], let shape = entry["shape"] as? [Int],
        let offsets = entry["data_offsets"] as? [Int], entry["dtype"] as? String == "F32"
      else { return nil }
      let bytes = [UInt8](data[(8 + header + offsets[0])..<(8 + header + offsets[1])])
      let values = stride(from: 0, to: bytes.count, by: 4).map { i in
        Float(bitPattern: UInt32(bytes[i]) | UInt32(bytes[i + 1]) << 8 | UInt32(bytes[i + 2]) << 16 | UInt32(bytes[i + 3]) << 24)
      }
      return FileTensor(name: name, shape: shape, values: values)
    }
  }

  /// - type: of the elements: F32, F64, F16, BF16 or I32.
  static func write(_ tensors: [FileTensor], type: String = "F32") throws -> Data {
    var header: [String: Any] = [:], content = Data()
    for tensor in tensors {
      let start = content.count
      for value in tensor.values {
        let (bits, width): (UInt64, Int) =
          switch type {
          case "F64": (Double(value).bitPattern, 8)
          case "F16": (UInt64(Float16(value).bitPattern), 2)
          case "BF16": (UInt64(value.bitPattern >> 16), 2)
          default: (UInt64(value.bitPattern), 4)
          }
        content.append(contentsOf: (0..<width).map { UInt8(truncatingIfNeeded: bits >> (8 * UInt64($0))) })
      }
      header[tensor.name] = ["dtype": type, "shape": tensor.shape, "data_offsets": [start, content.count]] as [String: Any]
    }
    var json = try JSONSerialization.data(withJSONObject: header)
    json.append(contentsOf: repeatElement(UInt8(ascii: " "), count: (8 - json.count % 8) % 8))
    return Data((0..<8).map { UInt8(truncatingIfNeeded: json.count >> (8 * $0)) }) + json + content
  }
}

extension Sandbox {
  func tensors(_ name: String) throws -> [FileTensor] { try FileTensor.read(data(name)) }

  /// Whether every value of every checkpoint of a run is finite.
  func checkpointsAreFinite(_ directory: String) throws -> Bool {
    for name in try names(in: "\(directory)/checkpoints") where name.hasPrefix("step-") {
      for file in ["model", "training"] {
        let tensors = try tensors("\(directory)/checkpoints/\(name)/\(file).safetensors")
        if !tensors.allSatisfy({ $0.values.allSatisfy(\.isFinite) }) { return false }
      }
    }
    return true
  }

  /// The events of a run.
  func events(_ directory: String, _ kind: String? = nil) throws -> [[String: Any]] {
    try text("\(directory)/metrics.jsonl").split(separator: "\n").compactMap {
      try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any]
    }.filter { kind == nil || $0["event"] as? String == kind }
  }

  /// The numbers of a run that must not depend on the number of ranks: the lines of its metrics, as text, without times and paths.
  func numbers(_ directory: String, kinds: [String] = ["step", "validation", "normalization", "gradient_flow", "test"]) throws -> [String] {
    try text("\(directory)/metrics.jsonl").split(separator: "\n").map(String.init)
      .filter { line in kinds.contains { line.hasPrefix("{\"event\":\"\($0)\"") } }
      .map { $0.replacing(/,"seconds":[^,}]*/, with: "") }
  }

  /// The step of the checkpoint that `latest` or `best` names.
  func linkedStep(_ directory: String, _ link: String = "latest") throws -> Int {
    let target = try FileManager.default.destinationOfSymbolicLink(atPath: self("\(directory)/checkpoints/\(link)"))
    return Int(target.dropFirst("step-".count)) ?? -1
  }

  /// The directory of the checkpoint of a step.
  func checkpoint(_ directory: String, _ step: Int) -> String {
    "\(directory)/checkpoints/step-" + String(repeating: "0", count: 8 - String(step).count) + "\(step)"
  }
}
