import NeuralNetwork

/// Collectives as measured and fitted, and steps on more ranks as predicted, in words and as JSON.
struct CommunicationReport {
  /// One network and number of ranks.
  private struct Row {
    let link: Double
    let prediction: ScalingModel.Prediction
  }

  private let costs: CommunicationCosts
  private let networks: CommunicationRequest.Networks
  private let ranksPerNode: Int
  private let hosts: Int
  private let measured: Double
  /// Seconds of a measured step in the phases of exchanges, waiting for slower ranks included.
  private let exchanges: Double
  /// A step on the ranks of this run.
  private let check: ScalingModel.Prediction
  private let weak, strong: [Row]

  init(
    _ networks: CommunicationRequest.Networks, costs: CommunicationCosts, step: ScalingModel.Step, steps: TimedSteps,
    machine: MachineDescription
  ) {
    self.networks = networks
    self.costs = costs
    ranksPerNode = networks.ranksPerNode ?? machine.ranksPerHost
    hosts = machine.hostNames.count
    measured = steps.meanSeconds
    exchanges = steps.exchanges
    let model = ScalingModel(costs: costs.model, step: step, ranksPerNode: ranksPerNode), ranks = costs.model.ranks
    // What was measured holds any network between the ranks already.
    check = ScalingModel(costs: costs.model, step: step, ranksPerNode: ranks).predict(
      ranks: ranks, ScalingModel.Link(bytesPerSecond: .infinity, latency: 0), .weak)
    let sequences = steps.sizes.map { $0.sequences / max(1, $0.minibatches) }.min() ?? 0
    func rows(_ growth: ScalingModel.Growth, upTo most: Int) -> [Row] {
      (1...12).map { 1 << $0 }.filter { $0 <= most }.flatMap { ranks in
        networks.links.map { speed in
          let link = ScalingModel.Link(bytesPerSecond: speed * 1e9 / 8, latency: networks.latency)
          return Row(link: speed, prediction: model.predict(ranks: ranks, link, growth))
        }
      }
    }
    weak = rows(.weak, upTo: 4096)
    // A rank has at least one sequence.
    strong = rows(.strong, upTo: sequences)
  }

  // MARK: In words

  var lines: [String] {
    var lines = ["communication between \(costs.model.ranks) ranks, measured and as latency + bytes / bandwidth:"]
    for collective in costs.all {
      let cost = collective.cost
      lines.append("  \(collective.name): \(fixed(cost.latency * 1e6, 1)) µs, \(perByte(cost))")
      for sample in collective.samples {
        lines.append(
          "    " + "\(Int(sample.bytes)) bytes".leading(20) + "\(fixed(sample.seconds * 1e6, 1)) µs".leading(16)
            + "\(fixed(cost.seconds(sample.bytes) * 1e6, 1)) µs".leading(16))
      }
    }
    let g = costs.gradient, line = costs.reduction.cost
    let fitted = Double(g.messages) * line.latency + Double(g.bytes) * line.secondsPerByte
    lines.append(
      "  a step's gradient, \(g.bytes) bytes in \(g.messages) message\(g.messages == 1 ? "" : "s"): \(fixed(g.seconds * 1e6, 1)) µs, "
        + "\(fixed(fitted * 1e6, 1)) µs by the line of single messages; predictions use \(perByte(costs.model.reduction)) as measured")
    if hosts > 1 {
      lines.append("  this run has \(hosts) hosts: what predictions take for communication within a node has their network in it")
    }
    lines.append(
      "check: predicted for these \(costs.model.ranks) ranks \(ms(check.overlapped)) to \(ms(check.serial)) ms a step (all of the "
        + "reduction overlapped with computation, or nothing), measured \(ms(measured)) ms; exchanges by themselves take "
        + "\(ms(check.serial - check.computation)) ms, and in the step, waiting for slower ranks included, \(ms(exchanges)) ms")
    lines.append(
      "assumed: \(ranksPerNode) rank\(ranksPerNode == 1 ? "" : "s") a node, \(fixed(networks.latency * 1e6, 1)) µs between nodes; the "
        + "reduction \(reductionWay)")
    lines += table("weak scaling, every rank with the sequences that it has here", weak)
    lines += table("strong scaling, the minibatch of this configuration cut into smaller parts (products as efficient as now)", strong)
    return lines
  }

  private func perByte(_ cost: LinearCost) -> String {
    cost.secondsPerByte > 0 ? "\(fixed(1e-9 / cost.secondsPerByte, 2)) GB/s" : "no time for bytes"
  }

  private var reductionWay: String {
    costs.model.sharesMemory
      ? "adds in memory that a node's ranks share, and one vector a node goes over the link each way"
      : "sends every rank's vector over the link"
  }

  private func table(_ title: String, _ rows: [Row]) -> [String] {
    if rows.isEmpty { return [] }
    var lines = ["\(title): ms a step and efficiency, nothing overlapped to all"]
    lines.append("  " + "ranks".leading(6) + "nodes".leading(7) + networks.links.map { "\(number($0)) Gb/s".leading(34) }.joined())
    for first in stride(from: 0, to: rows.count, by: networks.links.count) {
      let row = rows[first..<first + networks.links.count], place = rows[first].prediction
      lines.append("  " + "\(place.ranks)".leading(6) + "\(place.nodes)".leading(7) + row.map { cell($0.prediction).leading(34) }.joined())
    }
    return lines
  }

  private func cell(_ p: ScalingModel.Prediction) -> String {
    "\(fixed(p.serial * 1000, 1))–\(fixed(p.overlapped * 1000, 1))  "
      + "\(fixed(100 * p.efficiency.lowerBound, 1))–\(fixed(100 * p.efficiency.upperBound, 1)) %"
  }

  private func number(_ value: Double) -> String { value == value.rounded() ? fixed(value, 0) : "\(value)" }

  // MARK: JSON

  var json: JSONValue {
    .object([
      JSONField("collectives", .array(costs.all.map { collective in
        .object([
          JSONField("name", .string(collective.name)), JSONField("latency_seconds", .double(collective.cost.latency)),
          JSONField("seconds_per_byte", .double(collective.cost.secondsPerByte)),
          JSONField("samples", .array(collective.samples.map { sample in
            .object([
              JSONField("bytes", .double(sample.bytes)), JSONField("seconds", .double(sample.seconds)),
              JSONField("fitted_seconds", .double(collective.cost.seconds(sample.bytes))),
            ])
          })),
        ])
      })),
      JSONField("gradient", .object([
        JSONField("bytes", .integer(costs.gradient.bytes)), JSONField("messages", .integer(costs.gradient.messages)),
        JSONField("seconds", .double(costs.gradient.seconds)),
      ])),
      JSONField("check", .object([
        JSONField("measured_seconds", .double(measured)), JSONField("predicted_seconds", .double(check.serial)),
        JSONField("predicted_seconds_overlapped", .double(check.overlapped)), JSONField("measured_exchange_seconds", .double(exchanges)),
        JSONField("predicted_exchange_seconds", .double(check.serial - check.computation)),
      ])),
      JSONField("ranks_per_node", .integer(ranksPerNode)), JSONField("latency_seconds", .double(networks.latency)),
      JSONField("shares_memory", .boolean(costs.model.sharesMemory)),
      JSONField("weak_scaling", .array(weak.map(json))), JSONField("strong_scaling", .array(strong.map(json))),
    ])
  }

  private func json(_ row: Row) -> JSONValue {
    let p = row.prediction
    return .object([
      JSONField("link_gigabits", .double(row.link)), JSONField("ranks", .integer(p.ranks)), JSONField("nodes", .integer(p.nodes)),
      JSONField("step_seconds", .double(p.serial)), JSONField("step_seconds_overlapped", .double(p.overlapped)),
      JSONField("efficiency", .double(p.efficiency.lowerBound)), JSONField("efficiency_overlapped", .double(p.efficiency.upperBound)),
      JSONField("computation_seconds", .double(p.computation)), JSONField("reduction_seconds", .double(p.reduction)),
      JSONField("statistics_seconds", .double(p.statistics)), JSONField("values_seconds", .double(p.values)),
    ])
  }
}
