import Foundation
import NeuralNetwork

/// Mean and biased variance of each feature.
struct ReferenceStatistics {
  var mean: [Double]
  var variance: [Double]

  init(mean: [Double], variance: [Double]) {
    self.mean = mean
    self.variance = variance
  }

  /// Of the rows `frames`.
  init(_ frames: [[Double]]) {
    let n = Double(frames.count), F = frames[0].count
    let mean = (0..<F).map { f in frames.reduce(0) { $0 + $1[f] } / n }
    self.mean = mean
    variance = (0..<F).map { f in frames.reduce(0) { $0 + ($1[f] - mean[f]) * ($1[f] - mean[f]) } / n }
  }
}

/// The network as the mathematics page writes it, one sequence and one step after the other, with plain arrays and no regard for speed.
struct ReferenceNetwork {
  let configuration: NetworkConfiguration
  /// Parameters by name.
  let parameters: [String: [Double]]
  /// A change of one output of a layer's forward direction, seen by all that reads it.
  struct Nudge {
    var layer, shard, step, sequence, unit: Int
    var amount: Double
  }
  var nudge: Nudge?

  /// What batch normalisation uses. Terms are counted over all layers, as `SequenceModel.normalizations` lists them.
  enum Normalizer {
    /// Statistics of each group of shards; those of `fallback` [term][slot] in a group of fewer than two frames.
    case batch(groups: [Range<Int>], fallback: [[ReferenceStatistics]])
    /// [term][slot]; steps beyond the last slot take the last.
    case fixed([[ReferenceStatistics]])
  }

  /// State of each layer, shard and sequence.
  struct State {
    var c: [[[[Double]]]]
    var h: [[[[Double]]]]
  }

  struct Result {
    /// [shard][t][b][V]; of one step where the output layer reads ends of sequences.
    var logits: [[[[Double]]]] = []
    /// What was normalised, [term][shard][t][b][F].
    var raw: [[[[[Double]]]]] = []
    var state: State
  }

  /// - mask: factor of a unit on a vertical connection, by (connection, shard, t, b, unit).
  func run(
    _ batch: Minibatch, _ packed: [PackedSequences], steps T: Int, state: State, normalizer: Normalizer,
    mask: (Int, Int, Int, Int, Int) -> Double = { _, _, _, _, _ in 1 }
  ) -> Result {
    var result = Result(state: state)
    var x: [[[[Double]]]] = packed.indices.map { s in
      (0..<T).map { t in packed[s].rows(t).map { row in bottom(batch, s, row) } }
    }
    for layer in 0..<configuration.layers {
      x = masked(x, layer, mask)
      let forward = runLayer(layer, .forward, x, T, &result, normalizer)
      guard configuration.isBidirectional else {
        x = forward
        continue
      }
      // Each sequence back to front within its own length, there and back.
      let backward = reversed(runLayer(layer, .backward, reversed(x), T, &result, normalizer))
      x = zip(forward, backward).map { zip($0, $1).map { zip($0, $1).map { $0 + $1 } } }
    }
    x = masked(x, configuration.layers, mask)
    let weight = tensor(configuration.tiesEmbedding ? "embedding.weight" : "output.weight"), bias = tensor("output.bias")
    if configuration.outputRows == .sequenceEnds { x = packed.indices.map { s in [ends(x[s], packed[s].lengths)] } }
    result.logits = x.map { $0.map { $0.map { zip(product(weight, $0), bias).map { $0 + $1 } } } }
    return result
  }

  /// What the lowest layer reads in a row.
  private func bottom(_ batch: Minibatch, _ s: Int, _ row: Int) -> [Double] {
    let I = configuration.input.width
    if !batch.features.isEmpty { return Array(batch.features[s][row * I..<(row + 1) * I]) }
    let token = Int(batch.inputs[s][row])
    return Array(tensor("embedding.weight")[token * I..<(token + 1) * I])
  }

  /// The forward output at each sequence's last frame, and the backward one, where there is one, at its first.
  private func ends(_ x: [[[Double]]], _ lengths: [Int]) -> [[Double]] {
    let H = configuration.hiddenSize
    return lengths.enumerated().map { b, length in Array(x[length - 1][b][..<H] + x[0][b][H...]) }
  }

  private func reversed(_ x: [[[[Double]]]]) -> [[[[Double]]]] {
    x.map { shard in
      shard.indices.map { t in
        shard[t].indices.map { b in
          let length = shard.count { b < $0.count }
          return shard[length - 1 - t][b]
        }
      }
    }
  }

  private func tensor(_ name: String) -> [Double] {
    guard let values = parameters[name] else { preconditionFailure("no parameter \(name)") }
    return values
  }

  private func masked(
    _ x: [[[[Double]]]], _ connection: Int, _ mask: (Int, Int, Int, Int, Int) -> Double
  ) -> [[[[Double]]]] {
    var x = x
    for s in x.indices {
      for t in x[s].indices {
        for b in x[s][t].indices { for u in x[s][t][b].indices { x[s][t][b][u] *= mask(connection, s, t, b, u) } }
      }
    }
    return x
  }

  /// `W x`, W row-major.
  private func product(_ w: [Double], _ x: [Double]) -> [Double] {
    (0..<w.count / x.count).map { row in x.indices.reduce(0) { $0 + w[row * x.count + $1] * x[$1] } }
  }

  private func runLayer(
    _ index: Int, _ direction: Direction, _ x: [[[[Double]]]], _ T: Int, _ result: inout Result, _ normalizer: Normalizer
  ) -> [[[[Double]]]] {
    let prefix = "\(configuration.cell).\(index).\(direction).", shards = x.indices
    let layer = index * configuration.directions.count + (direction == .forward ? 0 : 1)
    let wx = tensor(prefix + "input_weight"), wh = tensor(prefix + "recurrent_weight")
    let inputProducts = x.map { $0.map { $0.map { product(wx, $0) } } }
    // What each term sees, by its place in the list of all terms.
    var seen: [String: (term: Int, raw: [[[[Double]]]])] = [:]
    func normalized(_ z: [[[Double]]], _ name: String, _ t: Int) -> [[[Double]]] {
      if seen[name] == nil { seen[name] = (result.raw.count + seen.count, shards.map { _ in [] }) }
      for s in shards where seen[name]!.raw[s].count == t { seen[name]!.raw[s].append(z[s]) }
      let (term, raw) = seen[name]!
      return shards.map { s in z[s].map { normalize($0, term, prefix + name + ".", raw, shard: s, t, normalizer) } }
    }
    /// The same for a term whose input is known for all steps.
    func normalizedInput(_ t: Int) -> [[[Double]]] {
      if seen["input_norm"] == nil { seen["input_norm"] = (result.raw.count + seen.count, inputProducts) }
      return normalized(inputProducts.map { $0[t] }, "input_norm", t)
    }
    func sum(_ a: [[[Double]]], _ b: [[[Double]]]) -> [[[Double]]] {
      zip(a, b).map { zip($0, $1).map { zip($0, $1).map { $0 + $1 } } }
    }
    func biased(_ a: [[[Double]]]) -> [[[Double]]] {
      let bias = tensor(prefix + "bias")
      return a.map { $0.map { zip($0, bias).map { $0 + $1 } } }
    }
    var outputs: [[[[Double]]]] = shards.map { _ in [] }
    for t in 0..<T {
      // u and v are the two parts of the preactivation, with biases in u.
      var u = inputProducts.map { $0[t] }
      var v = shards.map { s in result.state.h[layer][s].prefix(x[s][t].count).map { product(wh, $0) } }
      switch configuration.normalization.placement {
      case .none, .hidden, .whitenedInput: u = biased(u)
      case .input: u = normalizedInput(t)
      case .preactivation:
        u = normalized(sum(u, v), "preactivation_norm", t)
        v = v.map { $0.map { $0.map { _ in 0 } } }
      case .state: v = normalized(v, "recurrent_norm", t)
      case .separate:
        u = biased(normalizedInput(t))
        v = normalized(v, "recurrent_norm", t)
      }
      var h: [[[Double]]] = shards.map { s in
        x[s][t].indices.map { b in cell(u[s][b], v[s][b], layer, s, b, prefix, &result.state) }
      }
      if configuration.normalization.placement == .separate && configuration.cell == .lstm {
        let cells = shards.map { s in Array(result.state.c[layer][s].prefix(h[s].count)) }
        // The gate is what the cell makes of h without a tanh of c.
        let c = normalized(cells, "cell_norm", t)
        h = shards.map { s in h[s].indices.map { b in h[s][b].indices.map { h[s][b][$0] * tanh(c[s][b][$0]) } } }
      }
      if configuration.normalization.placement == .hidden { h = normalized(h, "hidden_norm", t) }
      if let n = nudge, n.layer == index, direction == .forward, n.step == t { h[n.shard][n.sequence][n.unit] += n.amount }
      for s in shards {
        for b in h[s].indices { result.state.h[layer][s][b] = h[s][b] }
        outputs[s].append(h[s])
      }
    }
    result.raw += seen.values.sorted { $0.term < $1.term }.map(\.raw)
    return outputs
  }

  private func normalize(
    _ z: [Double], _ term: Int, _ name: String, _ raw: [[[[Double]]]], shard: Int, _ t: Int, _ normalizer: Normalizer
  ) -> [Double] {
    let isFrame = configuration.normalization.statistics == .frame, statistics: ReferenceStatistics
    switch (configuration.normalization.method, normalizer) {
    case (.layer, _):
      let mean = z.reduce(0, +) / Double(z.count), variance = z.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(z.count)
      statistics = ReferenceStatistics(mean: z.map { _ in mean }, variance: z.map { _ in variance })
    case (.batch, .fixed(let values)): statistics = values[term][isFrame ? min(t, values[term].count - 1) : 0]
    case (.batch, .batch(let groups, let fallback)):
      guard let group = groups.first(where: { $0.contains(shard) }) else { preconditionFailure("no group") }
      let frames = group.flatMap { s in isFrame ? raw[s][t] : raw[s].flatMap { $0 } }
      statistics = frames.count < 2 ? fallback[term][isFrame ? min(t, fallback[term].count - 1) : 0] : ReferenceStatistics(frames)
    }
    let gamma = tensor(name + "gamma"), beta = parameters[name + "beta"] ?? z.map { _ in 0 }
    return z.indices.map {
      gamma[$0] * (z[$0] - statistics.mean[$0]) / (statistics.variance[$0] + configuration.normalization.epsilon).squareRoot()
        + beta[$0]
    }
  }

  /// The new output, of which an LSTM with a normalised cell has the gate alone; the new cell goes into `state`.
  private func cell(
    _ u: [Double], _ v: [Double], _ layer: Int, _ s: Int, _ b: Int, _ prefix: String, _ state: inout State
  ) -> [Double] {
    let H = configuration.hiddenSize, a = zip(u, v).map { $0 + $1 }
    func sigma(_ x: Double) -> Double { 1 / (1 + exp(-x)) }
    switch configuration.cell {
    case .rnn: return a.map { tanh($0) }
    case .gru:
      let d = tensor(prefix + "hidden_bias"), before = state.h[layer][s][b]
      return (0..<H).map { j in
        let n = tanh(u[2 * H + j] + sigma(a[j]) * (v[2 * H + j] + d[j])), z = sigma(a[H + j])
        return (1 - z) * n + z * before[j]
      }
    case .lstm:
      let zero = [Double](repeating: 0, count: H)
      var pi = zero, pf = zero, po = zero
      switch configuration.peepholes {
      case .none: break
      case .output: po = tensor(prefix + "peephole")
      case .all:
        let p = tensor(prefix + "peephole")
        (pi, pf, po) = (Array(p[0..<H]), Array(p[H..<2 * H]), Array(p[2 * H..<3 * H]))
      }
      return (0..<H).map { j in
        let before = state.c[layer][s][b][j]
        let i = sigma(a[j] + pi[j] * before), f = sigma(a[H + j] + pf[j] * before), g = tanh(a[2 * H + j])
        let c = f * before + i * g, o = sigma(a[3 * H + j] + po[j] * c)
        state.c[layer][s][b][j] = c
        return configuration.normalization.placement == .separate ? o : o * tanh(c)
      }
    }
  }
}

/// Summed cross entropy in nats over rows that have a target, and how many of them have another class on top.
func referenceLoss(_ logits: [[[Double]]], _ targets: [Int32]) -> (loss: Double, errors: Int) {
  var sum = (loss: 0.0, errors: 0)
  for (row, target) in zip(logits.flatMap { $0 }, targets) where target >= 0 {
    let largest = row.max() ?? 0
    sum.loss += log(row.reduce(0) { $0 + exp($1 - largest) }) + largest - row[Int(target)]
    sum.errors += row.firstIndex(of: largest) == Int(target) ? 0 : 1
  }
  return sum
}
