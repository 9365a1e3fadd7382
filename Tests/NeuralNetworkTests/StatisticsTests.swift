import NeuralNetwork
import Tensors
import Testing

/// Running averages and population statistics against what the plain network saw.
@Suite struct StatisticsTests {
  private static let normalized = Variant.all.filter { $0.placement != .none && $0.method == .batch }

  /// Frames of each slot of `raw` [shard][t][b][F] in a group.
  private func frames(_ raw: [[[[Double]]]], _ group: Range<Int>, _ isFrame: Bool) -> [[[Double]]] {
    let T = raw[0].count
    return isFrame ? (0..<T).map { t in group.flatMap { raw[$0][t] } } : [group.flatMap { s in raw[s].flatMap { $0 } }]
  }

  private func expectEqual(_ found: RunningStatistics<Double>, _ wanted: [ReferenceStatistics], _ name: String) {
    #expect(found.slotsSeen == wanted.count)
    for (slot, w) in wanted.enumerated() {
      // Sums of at most some dozen terms in double precision.
      for f in w.mean.indices {
        #expect(abs(found.mean[slot, f] - w.mean[f]) <= 1e-12 * (1 + abs(w.mean[f])), "\(name) mean \(slot) \(f)")
        #expect(abs(found.variance[slot, f] - w.variance[f]) <= 1e-12 * (1 + w.variance[f]), "\(name) variance \(slot) \(f)")
      }
    }
  }

  @Test(arguments: normalized)
  func runningAverages(_ variant: Variant) throws {
    // Groups of unequal frames: the weights show. The group of one sequence has no variance and is left out.
    let sequences = [3, 2, 4, 1], isFrame = variant.statistics == .frame, m = 0.1
    let trial = Trial(variant.configuration(), scope: variant.scope, sequences: sequences)
    for n in trial.model.normalizations { n.running.markSeen(slots: 0) }
    var averages: [[ReferenceStatistics]] = []
    for step in 0..<3 {
      trial.mode = .training(step: UInt32(step), seed: 4)
      let batch = Minibatch(vocabulary: 9, sequences: sequences, steps: 4, seed: UInt64(20 + step))
      trial.load(batch, tokens: batch.occurring())
      let fallback = step == 0
        ? trial.model.normalizations.map { [ReferenceStatistics(mean: $0.running.mean[0].array, variance: $0.running.variance[0].array)] }
        : averages
      let result = trial.run(batch, .batch(groups: trial.groups.groups, fallback: fallback))
      try trial.forward()
      let seen = result.raw.map { raw in
        let groups = trial.groups.groups.map { frames(raw, $0, isFrame) }
        return groups[0].indices.map { slot in weighted(groups.map { $0[slot] }) }
      }
      averages = step == 0 ? seen : zip(averages, seen).map { r, s in
        zip(r, s).map { r, s in
          ReferenceStatistics(
            mean: zip(r.mean, s.mean).map { (1 - m) * $0 + m * $1 },
            variance: zip(r.variance, s.variance).map { (1 - m) * $0 + m * $1 })
        }
      }
      for (l, n) in trial.model.normalizations.enumerated() { expectEqual(n.running, averages[l], "\(variant) layer \(l) step \(step)") }
    }
    #expect(averages.count == trial.model.normalizations.count && averages.count >= variant.layers)
  }

  /// Mean over groups weighted by frames, the variance unbiased within each.
  private func weighted(_ groups: [[[Double]]]) -> ReferenceStatistics {
    let counted = groups.filter { $0.count > 1 }, total = Double(counted.reduce(0) { $0 + $1.count })
    var sum = ReferenceStatistics(mean: counted[0][0].map { _ in 0 }, variance: counted[0][0].map { _ in 0 })
    for group in counted {
      let n = Double(group.count), s = ReferenceStatistics(group)
      for f in sum.mean.indices {
        sum.mean[f] += n / total * s.mean[f]
        sum.variance[f] += n / total * s.variance[f] * n / (n - 1)
      }
    }
    return sum
  }

  /// The statistics of groups seen: of all frames together, or with the plain mean of the groups' variances.
  private func population(_ groups: [[[Double]]], _ variance: PopulationVariance) -> ReferenceStatistics {
    var result = ReferenceStatistics(groups.flatMap { $0 })
    if variance == .averaged {
      let variances = groups.map { ReferenceStatistics($0).variance }
      result.variance = result.variance.indices.map { f in variances.reduce(0) { $0 + $1[f] } / Double(groups.count) }
    }
    return result
  }

  @Test(arguments: normalized, [PopulationVariance.pooled, .averaged])
  func population(_ variant: Variant, _ variance: PopulationVariance) throws {
    let sequences = [3, 2, 4, 1], isFrame = variant.statistics == .frame
    let trial = Trial(variant.configuration(), scope: variant.scope, sequences: sequences)
    let running = trial.statistics(\.running)
    trial.mode = .population
    trial.model.beginPopulation(groups: trial.groups, variance: variance)
    // Groups of each term and slot.
    var all: [[[[[Double]]]]] = []
    for number in 0..<3 {
      let batch = Minibatch(vocabulary: 9, sequences: sequences, steps: 4, seed: UInt64(30 + number))
      trial.load(batch, tokens: batch.occurring())
      let result = trial.run(batch, .batch(groups: trial.groups.groups, fallback: running))
      try trial.forward()
      // A group of one frame has no statistics, and training uses nothing of it.
      let seen = result.raw.map { raw in
        let groups = trial.groups.groups.map { frames(raw, $0, isFrame) }
        return groups[0].indices.map { slot in groups.map { $0[slot] }.filter { $0.count > 1 } }
      }
      all = number == 0 ? seen : zip(all, seen).map { zip($0, $1).map { $0 + $1 } }
      // The state is carried from window to window, as in the training text.
      trial.workspace.carryState()
    }
    try trial.model.finishPopulation(groups: trial.groups, globalReducer: trial.globalReducer)
    for (l, n) in trial.model.normalizations.enumerated() {
      expectEqual(n.evaluation, all[l].map { population($0, variance) }, "\(variant) \(variance) layer \(l)")
    }
    for (found, before) in zip(trial.statistics(\.running), running) {
      #expect(found.map(\.mean) == before.map(\.mean) && found.map(\.variance) == before.map(\.variance), "the running averages stay")
    }
  }

  /// Where no group has two frames there are no statistics of the population, and evaluation has the running averages.
  @Test(arguments: normalized.filter { $0.statistics == .frame && $0.scope == .local })
  func populationOfSingleFrames(_ variant: Variant) throws {
    let trial = Trial(variant.configuration(), scope: .local, sequences: [1, 1])
    let running = trial.statistics(\.running)
    trial.mode = .population
    trial.model.beginPopulation(groups: trial.groups)
    let batch = Minibatch(vocabulary: 9, sequences: [1, 1], steps: 4, seed: 33)
    trial.load(batch, tokens: batch.occurring())
    try trial.forward()
    try trial.model.finishPopulation(groups: trial.groups, globalReducer: trial.globalReducer)
    for (n, wanted) in zip(trial.model.normalizations, running) { expectEqual(n.evaluation, wanted, "\(variant)") }
    #expect(running.count == trial.model.normalizations.count && running.count >= variant.layers)
  }

  /// Time steps with too few frames behind their statistics take those of the last step that has enough.
  @Test(arguments: [(least: 12, own: 2), (13, 1), (100, 4), (1, 4)], [false, true])
  func framesPerStep(_ c: (least: Int, own: Int), isRunning: Bool) throws {
    let variant = try #require(Self.normalized.first { $0.statistics == .frame && $0.layers > 1 && $0.scope == .global })
    let lengths = [[4, 3, 3, 1], [4, 2, 2]], trial = Trial(variant.configuration(), scope: .global, lengths: lengths)
    for n in trial.model.normalizations { n.running.markSeen(slots: 0) }
    if !isRunning {
      trial.mode = .population
      trial.model.beginPopulation(groups: trial.groups)
    }
    // 7, 6, 4 and 2 frames at the four steps.
    for number in 0..<2 {
      trial.load(Minibatch(vocabulary: 9, frames: trial.packed.map(\.frames), seed: UInt64(50 + number)), tokens: [])
      try trial.forward()
    }
    let running = trial.statistics(\.running)
    if isRunning {
      trial.model.useRunningStatistics(framesPerStep: c.least)
    } else {
      try trial.model.finishPopulation(groups: trial.groups, globalReducer: trial.globalReducer, framesPerStep: c.least)
    }
    let enough = c.least == 100 ? 0 : c.own
    #expect(trial.model.evaluationSteps == EvaluationSteps(enough: enough, seen: 4))
    #expect(trial.model.runningFrames == (isRunning ? [14, 12, 8, 4] : [0, 0, 0, 0]))
    for n in trial.model.normalizations {
      #expect(n.evaluation.slotsSeen == c.own)
      let rows = (0..<4).map { n.evaluation.mean[$0].array + n.evaluation.variance[$0].array }
      for t in 0..<4 { #expect(rows[t] == rows[min(t, c.own - 1)]) }
      #expect(Set(rows).count == c.own)
      if isRunning { #expect(n.running.slotsSeen == 4) }
    }
    #expect(zip(running, trial.statistics(\.running)).allSatisfy { $0.map(\.mean) == $1.map(\.mean) }, "the running averages stay")
  }

  /// A population pass uses no dropout and keeps masks out of the statistics.
  @Test func populationHasNoDropout() throws {
    let variant = try #require(Self.normalized.first { $0.dropout > 0 && $0.layers > 1 }), sequences = [3, 3]
    var losses: [Double] = []
    for dropout in [0, 0.4] {
      var configuration = variant.configuration()
      configuration.dropout = dropout
      let trial = Trial(configuration, scope: .global, sequences: sequences)
      trial.mode = .population
      let batch = Minibatch(vocabulary: 9, sequences: sequences, steps: 4, seed: 40)
      trial.load(batch, tokens: batch.occurring())
      losses.append(try trial.loss())
    }
    #expect(losses[0] == losses[1])
  }
}
