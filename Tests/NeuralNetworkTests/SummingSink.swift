import NeuralNetwork
import Tensors

/// Adds up the gradients of all shards, and watches that backward keeps to its side of the protocol: every group of every shard begins and ends
/// once, in order; all of a group's tensors are written; nothing else is touched.
final class SummingSink: GradientSink {
  var accumulates = false
  var completes = true
  private(set) var events: [String] = []
  private(set) var polls = 0
  /// Where the groups and shards that were announced in parts have come to, in order.
  private(set) var advances: [Int] = []
  private let layout: ParameterLayout
  private let E: Int
  private let embeddingRows: Int
  private var buffers: [String: VectorView<Double>] = [:]
  // Groups and shards that have begun and not ended.
  private var open: Set<String> = []
  // What was announced of the group and shard under way.
  private var announced: (end: Int, values: [Double]) = (0, [])
  private static let sentinel = -12345.0

  init(_ layout: ParameterLayout, embeddingSize E: Int, embeddingRows: Int, operationsBetweenPolls: Int? = nil) {
    self.operationsBetweenPolls = operationsBetweenPolls
    self.layout = layout
    self.E = E
    self.embeddingRows = embeddingRows
  }

  private var length: Int { layout.embedding.lowerBound + embeddingRows * E }

  /// The elements of a group's tensors.
  private func elements(_ group: ParameterGroup) -> [Range<Int>] {
    switch group {
    case .output: layout.tensors.filter { layout.output.contains($0.offset) }.map(\.range)
    case .layer(let l): layout.tensors.filter { layout.layers[l].contains($0.offset) }.map(\.range)
    case .embedding: [layout.embedding.lowerBound..<length]
    }
  }

  func begin(_ group: ParameterGroup, shard: Int) -> VectorView<Double> {
    events.append("begin \(group) \(shard)")
    let key = "\(group) \(shard)"
    let isOpen = !open.insert(key).inserted
    if let buffer = buffers[key], accumulates || isOpen { return buffer }
    let buffer = VectorView<Double>(zeros: length)
    buffer.fill(Self.sentinel)
    for range in elements(group) { buffer[range].fill(accumulates ? 0 : .nan) }
    buffers[key] = buffer
    return buffer
  }

  func advance(_ group: ParameterGroup, shard: Int, to end: Int) throws {
    precondition(events.last == "begin \(group) \(shard)", "advance outside a group")
    guard let buffer = buffers["\(group) \(shard)"] else { preconditionFailure("advance without begin") }
    precondition(end > announced.end, "no progress")
    advances.append(end)
    announced = (end, buffer[0..<end].array)
    for range in elements(group) { precondition(range.clamped(to: 0..<end).allSatisfy { buffer[$0].isFinite }, "an element before \(end) was not written") }
  }

  func end(_ group: ParameterGroup, shard: Int) throws {
    events.append("end \(group) \(shard)")
    precondition(open.remove("\(group) \(shard)") != nil, "end of what has not begun")
    guard let buffer = buffers["\(group) \(shard)"] else { preconditionFailure("end without begin") }
    for range in elements(group) {
      precondition(range.clamped(to: 0..<announced.end).allSatisfy { buffer[$0] == announced.values[$0] }, "what was announced of \(group) was changed")
    }
    announced = (0, [])
    var inside = [Bool](repeating: false, count: length)
    for range in elements(group) { for i in range { inside[i] = true } }
    for i in 0..<length {
      if inside[i] {
        precondition(buffer[i].isFinite, "element \(i) of \(group) was not written")
      } else {
        precondition(buffer[i] == Self.sentinel, "element \(i) outside \(group) was touched")
      }
    }
  }

  func poll() throws { polls += 1 }

  let operationsBetweenPolls: Int?

  /// The summed gradient in the layout of the parameters; row `r` of the embedding's gradient goes to token `tokens[r]`.
  func gradient(tokens: [Int32]) -> [Double] {
    precondition(tokens.count == embeddingRows, "tokens of another count")
    var sum = [Double](repeating: 0, count: layout.count)
    let groups: [ParameterGroup] = [.output] + (E > 0 ? [.embedding] : []) + layout.layers.indices.map { .layer($0) }
    for group in groups {
      for (key, buffer) in buffers where key.hasPrefix("\(group) ") {
        for range in elements(group) {
          for i in range {
            if group == .embedding {
              let (row, column) = (i - layout.embedding.lowerBound).quotientAndRemainder(dividingBy: E)
              sum[layout.embedding.lowerBound + Int(tokens[row]) * E + column] += buffer[i]
            } else {
              sum[i] += buffer[i]
            }
          }
        }
      }
    }
    return sum
  }
}
