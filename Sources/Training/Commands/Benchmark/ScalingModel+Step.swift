import NeuralNetwork
import Tensors

extension ScalingModel.Step {
  /// A step of this run, without its communication.
  init(_ step: TrainingStep, _ context: RankContext, _ steps: TimedSteps, _ costs: CommunicationCosts) {
    let network = step.model.configuration, layout = step.model.layout
    let element = Double(MemoryLayout<Float>.size), n = Double(steps.sizes.count)
    let minibatches = Double(steps.sizes.reduce(0) { $0 + $1.minibatches }) / n
    let timeSteps = Double(steps.sizes.reduce(0) { $0 + $1.steps }) / n / minibatches
    let frames = Double(steps.sizes.reduce(0) { $0 + $1.frames }) / n
    let ranks = Double(context.world.size), E = Double(network.embeddingSize), V = Double(network.sparseRows)
    let tokenBytes = V > 0 ? frames / ranks * Double(MemoryLayout<Int32>.size) : 0
    // What lies in other phases than those of the exchanges.
    let hidden = tokenBytes == 0 || frames >= V ? 0 : costs.values.cost.seconds(tokenBytes)
    let fixed = steps.phases[Phase.optimizer.rawValue]
    self.init(
      // The costs were measured at other moments than the steps, and may exceed what small steps take on a busy machine.
      computation: max(fixed, steps.meanSeconds - steps.exchanges - hidden), fixed: fixed,
      denseBytes: element * Double(layout.embedding.lowerBound), rowBytes: element * E, rows: Double(steps.embeddingRows), allRows: V,
      messages: Double(step.gradients.messages(embeddingRows: steps.embeddingRows)),
      statistics: Self.statistics(network, context, steps: timeSteps).map { ($0.bytes, $0.count * minibatches) },
      // Loss, errors and two requests of each shard.
      valueBytes: Double(context.layout.run(of: 0).count * 4 * MemoryLayout<Double>.size), tokenBytes: tokenBytes)
  }

  /// The exchanges of one minibatch: bytes of a rank's record, and how often.
  /// - steps: time steps of its longest sequence.
  package static func statistics(
    _ network: NetworkConfiguration, groupsSpanRanks: Bool, isGlobal: Bool, steps: Double
  ) -> [(bytes: Double, count: Double)] {
    guard network.usesBatchStatistics else { return [] }
    let layers = Double(network.layers * network.directions.count), slots = network.normalization.statistics == .frame ? steps : 1
    var exchanges: [(bytes: Double, count: Double)] = [], averages = 0.0
    for site in NormalizationSite.sites(of: network) {
      // Mean and M2 forward, two sums backward.
      let record = 2 * Double(site.features * MemoryLayout<Float>.size)
      if groupsSpanRanks {
        exchanges.append(site.precedesRecurrence ? (record * slots, 2 * layers) : (record, 2 * layers * steps))
      }
      averages += record * slots * layers
    }
    // Running averages over groups, of all terms in one message.
    if !isGlobal { exchanges.append((averages, 1)) }
    return exchanges
  }

  private static func statistics(
    _ network: NetworkConfiguration, _ context: RankContext, steps: Double
  ) -> [(bytes: Double, count: Double)] {
    let runs = (0..<context.layout.ranks).map(context.layout.run)
    let spans = context.groups.groups.contains { group in !runs.contains { $0.clamped(to: group) == group } }
    return statistics(network, groupsSpanRanks: spans, isGlobal: context.groups.isGlobal, steps: steps)
  }
}
