import NeuralNetwork
import Tensors
import Testing

extension Trial {
  /// The network written the plain way with the same parameters.
  var reference: ReferenceNetwork {
    ReferenceNetwork(
      configuration: configuration,
      parameters: Dictionary(uniqueKeysWithValues: model.layout.tensors.map { ($0.name, model.parameters[$0.range].array) }))
  }

  /// The state before the first step.
  var referenceState: ReferenceNetwork.State {
    func states(_ kind: StateKind) -> [[[[Double]]]] {
      let hasKind = configuration.cell.shape.states.contains(kind)
      // In evaluation of sequences of any lengths layers have the same memory: what is learned shows with the last one alone.
      let learned = model.layout.tensors.filter { $0.name.hasSuffix(kind == .cell ? "initial_cell" : "initial_hidden") }
      let begins = workspace.beginsWithInitialState && !learned.isEmpty
      return model.layers.indices.map { layer in
        sequences.indices.map { shard in
          if !hasKind { return [] }
          let state = workspace.state(kind, layer: layer, shard: shard)
          if begins { return Array(repeating: model.parameters[learned[layer].range].array, count: state.rows) }
          return (0..<state.rows).map { state[$0].array }
        }
      }
    }
    return ReferenceNetwork.State(c: states(.cell), h: states(.output))
  }

  /// Slots seen of the statistics of every layer.
  func statistics(_ of: (BatchNormalization<Double>) -> RunningStatistics<Double>) -> [[ReferenceStatistics]] {
    model.normalizations.map { n in
      (0..<of(n).slotsSeen).map { ReferenceStatistics(mean: of(n).mean[$0].array, variance: of(n).variance[$0].array) }
    }
  }

  /// The factor that dropout gives a unit, by the documented key.
  func mask(_ connection: Int, _ shard: Int, _ t: Int, _ b: Int, _ unit: Int) -> Double {
    guard case .training(let step, let seed) = mode, configuration.dropout > 0 else { return 1 }
    let width = connection == 0 ? configuration.input.width : configuration.outputSize
    let ones = MatrixView<Double>(zeros: 1, width)
    ones.fill(1)
    let key = DropoutKey(
      probability: configuration.dropout, seed: seed, step: step, layer: UInt32(connection))
    dropout(ones, key: key, examples: VectorView([Int32(firstExamples[shard] + b)]), time: t, out: ones)
    return ones[0, unit]
  }

  func run(_ batch: Minibatch, _ normalizer: ReferenceNetwork.Normalizer) -> ReferenceNetwork.Result {
    beginSequences()
    return reference.run(batch, packed, steps: steps, state: referenceState, normalizer: normalizer, mask: mask)
  }

  /// Losses, errors, logits and last states against the plain network.
  func expectForward(_ batch: Minibatch, _ expected: ReferenceNetwork.Result, _ name: String) {
    // Both compute in double precision with other orders of addition over at most a dozen terms.
    func close(_ a: Double, _ b: Double) -> Bool { abs(a - b) <= 1e-11 * (1 + abs(b)) }
    for (s, found) in model.evaluateLoss(workspace, pass).enumerated() {
      let wanted = referenceLoss(expected.logits[s], batch.targets[s])
      #expect(close(found.loss, wanted.loss), "\(name) shard \(s): \(found.loss) is not \(wanted.loss)")
      #expect(found.errors == wanted.errors)
      #expect(wanted.loss > 1 || packed[s].frames < 2)
    }
    for t in 0..<steps where configuration.outputRows == .frames {
      let logits = model.logits(workspace, step: t)
      for b in 0..<packed[0].active(t) {
        #expect(zip(logits[b].array, expected.logits[0][t][b]).allSatisfy { close($0, $1) }, "\(name) logits of step \(t)")
      }
    }
    guard workspace.capacity.isUniform else { return }
    workspace.carryState()
    let state = referenceState
    func flat(_ s: [[[[Double]]]]) -> [Double] { s.flatMap { $0.flatMap { $0.flatMap { $0 } } } }
    #expect(zip(flat(state.h), flat(expected.state.h)).allSatisfy { close($0, $1) }, "\(name) h")
    #expect(zip(flat(state.c), flat(expected.state.c)).allSatisfy { close($0, $1) }, "\(name) c")
  }
}

@Suite struct ForwardTests {
  @Test(arguments: Variant.all)
  func training(_ variant: Variant) throws {
    // The last shard has too few frames of its own in a step.
    let sequences = [3, 2, 3, 1], trial = Trial(variant.configuration(), scope: variant.scope, sequences: sequences)
    let batch = Minibatch(vocabulary: 9, sequences: sequences, steps: 4, seed: 12)
    trial.load(batch, tokens: batch.occurring())
    let expected = trial.run(batch, .batch(groups: trial.groups.groups, fallback: trial.statistics(\.running)))
    try trial.forward()
    trial.expectForward(batch, expected, variant.testDescription)
  }

  @Test(arguments: Variant.all)
  func evaluation(_ variant: Variant) throws {
    // Windows of six steps where four slots exist and three were seen: later steps take the third's.
    let sequences = [3, 1], trial = Trial(
      variant.configuration(steps: 4), scope: variant.scope, sequences: sequences, steps: 6, training: false, room: 6)
    for n in trial.model.normalizations where n.running.mean.rows > 1 { n.running.markSeen(slots: 3) }
    trial.model.useRunningStatistics()
    trial.model.prepareEvaluation()
    trial.mode = .evaluation
    let batch = Minibatch(vocabulary: 9, sequences: sequences, steps: 6, seed: 13)
    trial.load(batch, tokens: [])
    let expected = trial.run(batch, .fixed(trial.statistics(\.running)))
    try trial.forward()
    #expect(trial.reducer.calls == 0, "evaluation needs no other shard")
    trial.expectForward(batch, expected, variant.testDescription)
  }

  /// With the statistics of the minibatch itself, of more steps than training had; a step with one sequence takes the fixed statistics.
  @Test(arguments: Variant.all, [false, true])
  func batchEvaluation(_ variant: Variant, isUniform: Bool) throws {
    let lengths = isUniform ? [[6, 6, 6], [6]] : [[6, 5, 4, 1], [], [5, 2]], configuration = variant.configuration(steps: 4)
    let trial = isUniform
      ? Trial(configuration, scope: .global, sequences: [3, 1], steps: 6, training: false, batchStatistics: true, room: 6)
      : Trial(configuration, scope: .global, lengths: lengths, training: false, batchStatistics: true)
    for n in trial.model.normalizations where n.running.mean.rows > 1 { n.running.markSeen(slots: 3) }
    trial.model.useRunningStatistics()
    trial.model.prepareEvaluation()
    trial.mode = .batchEvaluation
    let batch = Minibatch(vocabulary: 9, frames: lengths.map { $0.reduce(0, +) }, seed: 16)
    trial.load(batch, tokens: [])
    let before = trial.statistics(\.running), expected = trial.run(batch, .batch(groups: trial.groups.groups, fallback: before))
    try trial.forward()
    trial.expectForward(batch, expected, variant.testDescription)
    #expect(zip(trial.statistics(\.running), before).allSatisfy { $0.map(\.mean) == $1.map(\.mean) }, "nothing is updated")
  }

  /// A workspace that can train evaluates like one that cannot.
  @Test func evaluationInATrainingWorkspace() throws {
    for variant in Variant.all where variant.dropout > 0 {
      let sequences = [3, 2], trial = Trial(variant.configuration(), scope: .global, sequences: sequences)
      trial.model.useRunningStatistics()
      trial.model.prepareEvaluation()
      let batch = Minibatch(vocabulary: 9, sequences: sequences, steps: 4, seed: 14)
      _ = try trial.gradient(of: batch, gradientScale: 1)
      trial.restoreRunning()
      trial.mode = .evaluation
      let expected = trial.run(batch, .fixed(trial.statistics(\.running)))
      try trial.forward()
      trial.expectForward(batch, expected, variant.testDescription)
    }
  }

  /// What a sequence costs in evaluation does not depend on its neighbours.
  @Test func evaluationDoesNotDependOnTheBatch() throws {
    let variant = Variant.all.first { $0.placement == .preactivation && $0.method == .batch && $0.cell == .lstm && $0.layers > 1 }
    let configuration = try #require(variant).configuration()
    let whole = Trial(configuration, scope: .global, sequences: [3], training: false)
    let batch = Minibatch(vocabulary: 9, sequences: [3], steps: 4, seed: 15)
    var sum = 0.0
    for b in 0..<4 {
      let trial = b == 3 ? whole : Trial(configuration, scope: .global, sequences: [1], training: false)
      for (n, w) in zip(trial.model.normalizations, whole.model.normalizations) { n.evaluation.copy(from: w.running) }
      trial.model.prepareEvaluation()
      trial.mode = .evaluation
      trial.workspace.resetState()
      if b == 3 {
        trial.load(batch, tokens: [])
      } else {
        for t in 0..<4 {
          trial.workspace.tokens[0][t] = batch.inputs[0][3 * t + b]
          trial.workspace.targets[0][t] = batch.targets[0][3 * t + b]
        }
      }
      try trial.forward()
      let loss = trial.model.evaluateLoss(trial.workspace, trial.pass)[0].loss
      if b == 3 { #expect(abs(loss - sum) <= 1e-12 * loss) } else { sum += loss }
    }
    #expect(sum > 1)
  }

  /// Two windows with the state carried between them are one long window.
  @Test func carriedStateContinues() throws {
    let configuration = Variant.all[0].configuration(steps: 6)
    let whole = Trial(configuration, scope: .global, sequences: [2, 3]), halves = Trial(configuration, scope: .global, sequences: [2, 3], steps: 3)
    let batch = Minibatch(vocabulary: 9, sequences: [2, 3], steps: 6, seed: 16)
    whole.load(batch, tokens: batch.occurring())
    let loss = try whole.loss()
    var sum = 0.0
    for half in 0..<2 {
      var part = batch
      for s in 0..<2 {
        let B = [2, 3][s], rows = half * 3 * B..<(half + 1) * 3 * B
        (part.inputs[s], part.targets[s]) = (Array(batch.inputs[s][rows]), Array(batch.targets[s][rows]))
      }
      halves.load(part, tokens: batch.occurring())
      sum += try halves.loss()
      halves.workspace.carryState()
    }
    #expect(abs(sum - loss) <= 1e-12 * loss)
  }
}
