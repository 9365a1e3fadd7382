// How long a step takes on more ranks, from what communication costs on the ranks of one measurement.
//
// P ranks were measured, on one node; N are asked about, q = min(N, ranks a node) of them on a node, on M nodes. B bytes a second and α
// seconds are the link of a node. f(q) = (1 − 1/q) / (1 − 1/P) is the share of a vector that comes from other ranks, g(q) =
// (q − 1) / (P − 1) the number of other ranks, both relative to the measurement. A collective of x bytes a rank, measured to take a + b x:
//
//   reduction, in memory that a node shares   g(q) a + f(q) b x  +  2 (M − 1) α + 2 x (1 − 1/M) / B
//   reduction by messages alone               g(q) a + f(N) b x  +  2 (M − 1) α + 2 q x (1 − 1/M) / B      (so too statistics in chunks)
//   gathering whole records                   g(q) a + g(N) b x  +    (M − 1) α + (N − q) x / B
//
// With gradients of 16 bits on the wire, x is half as much in the terms with B. Both exchanges of a reduction send to one node after the
// other. Ranks of a node that add in memory send one vector, those that do not send one each.

/// Predicts steps on any number of ranks.
package struct ScalingModel: Sendable {
  /// What the program's collectives cost on `ranks` ranks of one node, by bytes a rank.
  package struct Costs: Sendable {
    package var ranks: Int
    /// Reduction of gradients, by bytes of the gradient.
    package var reduction: LinearCost
    /// Whether it adds in memory that the ranks of a node share.
    package var sharesMemory: Bool
    /// Bytes of gradients in messages, relative to those in memory.
    package var wireShare: Double
    /// Exchange of statistics in one message, and in chunks.
    package var wholeStatistics, chunkedStatistics: LinearCost
    /// Bytes of all ranks up to which statistics travel whole.
    package var smallMessage: Double
    /// Values of shards, such as losses.
    package var values: LinearCost

    package init(
      ranks: Int, reduction: LinearCost, sharesMemory: Bool, wholeStatistics: LinearCost, chunkedStatistics: LinearCost,
      smallMessage: Double, values: LinearCost, wireShare: Double = 1
    ) {
      precondition(ranks >= 2, "communication is measured between ranks")
      self.ranks = ranks
      self.reduction = reduction
      self.sharesMemory = sharesMemory
      self.wireShare = wireShare
      self.wholeStatistics = wholeStatistics
      self.chunkedStatistics = chunkedStatistics
      self.smallMessage = smallMessage
      self.values = values
    }
  }

  /// A step of one rank in the measurement.
  package struct Step: Sendable {
    /// Seconds without communication.
    package var computation: Double
    /// Of them those that do not depend on how many sequences the rank has: the optimiser's.
    package var fixed: Double
    /// Bytes of the gradient without the embedding, and of one row of it.
    package var denseBytes, rowBytes: Double
    /// Rows of the embedding that a step touches on the ranks of the measurement, and all rows.
    package var rows, allRows: Double
    /// Messages of the reduction.
    package var messages: Double
    /// Exchanges of statistics: bytes of a rank's record, and how many a step has. All groups of shards span ranks.
    package var statistics: [(bytes: Double, count: Double)]
    /// Bytes of the values of a rank's shards, and of its tokens, which all ranks exchange.
    package var valueBytes, tokenBytes: Double

    package init(
      computation: Double, fixed: Double, denseBytes: Double, rowBytes: Double = 0, rows: Double = 0, allRows: Double = 0,
      messages: Double = 1, statistics: [(bytes: Double, count: Double)] = [], valueBytes: Double = 0, tokenBytes: Double = 0
    ) {
      self.computation = computation
      self.fixed = fixed
      self.denseBytes = denseBytes
      self.rowBytes = rowBytes
      self.rows = rows
      self.allRows = allRows
      self.messages = messages
      self.statistics = statistics
      self.valueBytes = valueBytes
      self.tokenBytes = tokenBytes
    }
  }

  /// The connection of a node with the others.
  package struct Link: Sendable {
    package var bytesPerSecond: Double
    /// Seconds from one node to another.
    package var latency: Double

    package init(bytesPerSecond: Double, latency: Double) {
      self.bytesPerSecond = bytesPerSecond
      self.latency = latency
    }
  }

  /// What grows with the number of ranks.
  package enum Growth: Sendable {
    /// The minibatch: every rank keeps the sequences that it has.
    case weak
    /// Nothing: the minibatch is cut into smaller parts.
    case strong
  }

  /// A step on some number of ranks, in seconds.
  package struct Prediction: Equatable, Sendable {
    package var ranks, nodes: Int
    package var computation, reduction, statistics, values: Double
    /// Seconds that the computation would take if it were spread over all ranks without loss.
    var ideal: Double

    /// The whole step if nothing is done at a time.
    package var serial: Double { computation + reduction + statistics + values }
    /// The whole step if the reduction runs under the computation as far as that lasts. Statistics and losses are waited for in any case.
    package var overlapped: Double { max(computation, reduction) + statistics + values }
    /// Of the ranks' speed without communication, with nothing overlapped and with all.
    package var efficiency: ClosedRange<Double> { ideal / serial...ideal / overlapped }
  }

  package let costs: Costs
  package let step: Step
  package let ranksPerNode: Int

  package init(costs: Costs, step: Step, ranksPerNode: Int) {
    precondition(ranksPerNode >= 1, "\(ranksPerNode) ranks a node")
    self.costs = costs
    self.step = step
    self.ranksPerNode = ranksPerNode
  }

  /// A step on `ranks` ranks.
  package func predict(ranks N: Int, _ link: Link, _ growth: Growth) -> Prediction {
    let P = Double(costs.ranks), place = Place(ranks: N, perNode: ranksPerNode, link: link)
    let part = growth == .weak ? 1 : P / Double(N)
    let computation = step.fixed + (step.computation - step.fixed) * part
    let ideal = growth == .weak ? step.computation : (step.fixed + (step.computation - step.fixed) * P) / Double(N)
    if N == 1 {
      return Prediction(ranks: 1, nodes: 1, computation: computation, reduction: 0, statistics: 0, values: 0, ideal: ideal)
    }
    // Tokens are not exchanged where every row of the embedding gets a gradient anyway.
    let tokens = step.tokenBytes / 4 * part * Double(N)
    let isDense = step.allRows > 0 && tokens >= step.allRows
    let rows = isDense ? step.allRows : min(step.allRows, growth == .weak ? step.rows * Double(N) / P : step.rows)
    let gradient = step.denseBytes + rows * step.rowBytes
    return Prediction(
      ranks: N, nodes: place.nodes, computation: computation,
      reduction: step.messages * reduction(gradient / step.messages, place),
      statistics: step.statistics.reduce(0) { $0 + $1.count * statistics($1.bytes, place) },
      values: gather(costs.values, step.valueBytes * part, place)
        + (step.tokenBytes == 0 || isDense ? 0 : gather(costs.values, step.tokenBytes * part, place)),
      ideal: ideal)
  }

  // MARK: Collectives

  /// Where ranks are.
  private struct Place {
    let ranks, onNode, nodes: Int
    let link: Link

    init(ranks: Int, perNode: Int, link: Link) {
      self.ranks = ranks
      onNode = min(ranks, perNode)
      nodes = (ranks + perNode - 1) / perNode
      self.link = link
    }

    /// Seconds of an exchange in which a node sends `bytes` in all, to one node after the other.
    func exchange(_ bytes: Double) -> Double { nodes == 1 ? 0 : Double(nodes - 1) * link.latency + bytes / link.bytesPerSecond }
    /// 1 − 1/M.
    var remote: Double { 1 - 1 / Double(nodes) }
  }

  /// f.
  private func share(_ q: Int) -> Double { (1 - 1 / Double(q)) / (1 - 1 / Double(costs.ranks)) }
  /// g.
  private func others(_ q: Int) -> Double { Double(q - 1) / Double(costs.ranks - 1) }

  private func reduction(_ bytes: Double, _ place: Place) -> Double {
    let cost = costs.reduction
    if !costs.sharesMemory { return chunked(cost, bytes, wire: costs.wireShare * bytes, place) }
    return others(place.onNode) * cost.latency + share(place.onNode) * cost.secondsPerByte * bytes
      + 2 * place.exchange(costs.wireShare * bytes * place.remote)
  }

  /// - wire: what `bytes` of memory take in messages.
  private func chunked(_ cost: LinearCost, _ bytes: Double, wire: Double, _ place: Place) -> Double {
    others(place.onNode) * cost.latency + share(place.ranks) * cost.secondsPerByte * bytes
      + 2 * place.exchange(Double(place.onNode) * wire * place.remote)
  }

  private func gather(_ cost: LinearCost, _ bytes: Double, _ place: Place) -> Double {
    others(place.onNode) * cost.latency + others(place.ranks) * cost.secondsPerByte * bytes
      + place.exchange(Double(place.ranks - place.onNode) * bytes)
  }

  private func statistics(_ bytes: Double, _ place: Place) -> Double {
    bytes * Double(place.ranks) <= costs.smallMessage
      ? gather(costs.wholeStatistics, bytes, place) : chunked(costs.chunkedStatistics, bytes, wire: bytes, place)
  }
}
