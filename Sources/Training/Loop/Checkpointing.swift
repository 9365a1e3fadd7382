import DataParallel
import MPI
import NeuralNetwork
import Tensors

/// Where a run stands between two updates.
struct Progress: Equatable {
  /// Updates done.
  var step = 0
  /// The epoch that the run is in, from 1.
  var epoch = 1
  /// Minibatches of the epoch that are done.
  var minibatch = 0
  /// Frames trained on, of all ranks.
  var frames = 0
  /// Validation losses so far.
  var validation: CheckpointState.Validation?
  /// What validations have done to the schedule.
  var schedule = Schedule.State()
}

/// Gathers what a checkpoint holds from all ranks, and gives it back to them.
final class Checkpointing {
  private let context: RankContext
  private let model: SequenceModel<Float>
  private let optimizer: Optimizer<Float>
  private let average: WeightAverage?
  private let workspace: ModelWorkspace<Float>
  private let store: CheckpointStore
  private let configuration: TrainingConfiguration
  private let data: any TrainingData
  private let digests: CheckpointState.DataDigests
  // On rank 0: what is written while the run goes on.
  private var modelCopy = TensorCopy()
  private var trainingCopy = TensorCopy()

  init(
    configuration: TrainingConfiguration, context: RankContext, model: SequenceModel<Float>, optimizer: Optimizer<Float>,
    average: WeightAverage?, workspace: ModelWorkspace<Float>, store: CheckpointStore, data: any TrainingData, digests: CheckpointState.DataDigests
  ) {
    self.digests = digests
    self.configuration = configuration
    self.context = context
    self.model = model
    self.optimizer = optimizer
    self.average = average
    self.workspace = workspace
    self.store = store
    self.data = data
  }

  /// Path of the checkpoint of `step`.
  func path(step: Int) -> String { store.path(step: step) }

  /// Copies what a checkpoint holds, for rank 0 to write; all ranks call it. The copy before must not be in use any more.
  /// - Returns: on rank 0 the checkpoint that is to be written.
  /// - Throws: on every rank the error of the rank that failed.
  func copy(_ progress: Progress, statistics: CheckpointState.Statistics, isBest: Bool) throws -> CheckpointJob? {
    let carried = try gatherState()
    return try context.world.agree {
      guard context.isFirst else { return nil }
      try checkFinite(progress)
      modelCopy.take(model.parameterTensors + model.evaluationTensors)
      trainingCopy.take(
        trainingTensors(begunAverage) + carried.map { NamedTensor(name: $0.name, shape: [$0.values.rows, $0.values.columns], values: $0.values.vector) })
      var state = CheckpointState(
        programVersion: Version.current, step: progress.step, epoch: progress.epoch, position: progress.minibatch,
        seed: configuration.training.seed, shards: context.layout.shards, frames: progress.frames, statistics: statistics,
        configuration: configuration.yaml(), validation: progress.validation, runningSteps: model.runningSteps,
        runningFrames: model.runningFrames, data: digests)
      state.schedule = progress.schedule
      state.averagedUpdates = begunAverage?.updates
      return CheckpointJob(
        store: store, model: modelCopy.tensors, training: trainingCopy.tensors, files: [(configuration.task.definition.dataFile, data.stored)],
        state: state, isBest: isBest, keep: configuration.checkpoint.keep)
    }
  }

  /// Refuses weights and statistics that are not finite: no checkpoint may hold them.
  private func checkFinite(_ progress: Progress) throws {
    let tensors = model.parameterTensors + model.evaluationTensors + trainingTensors(begunAverage)
    for tensor in tensors where tensor.values.firstNotFinite != nil {
      throw NotFiniteError(step: progress.step, tensor: tensor.name)
    }
  }

  /// The averaged weights, if they are taken over any update.
  private var begunAverage: WeightAverage? { average.flatMap { $0.updates > 0 ? $0 : nil } }

  /// What `training.safetensors` holds beside the carried state.
  private func trainingTensors(_ average: WeightAverage?) -> [NamedTensor] {
    optimizer.tensors(layout: model.layout) + model.runningTensors + (average?.tensors(layout: model.layout) ?? [])
  }

  /// Restores model, optimiser, averages and carried state from a checkpoint that rank 0 read.
  /// - state: of the checkpoint, on all ranks.
  func restore(_ checkpoint: Checkpoint?, _ state: CheckpointState) throws {
    let names = stateNames
    let carried = names.map { (name: $0, values: MatrixView<Float>(zeros: configuration.training.batchSize, model.configuration.hiddenSize)) }
    try context.world.agree {
      guard let checkpoint else { return }
      _ = try checkpoint.model().read(into: model.parameterTensors + model.evaluationTensors)
      let tensors = carried.map { NamedTensor(name: $0.name, shape: [$0.values.rows, $0.values.columns], values: $0.values.vector) }
      // Averaged weights that are not wanted any more are read all the same, so that nothing in the file is unknown.
      let stored = state.averagedUpdates.map { _ in average ?? WeightAverage(.init(decay: 0), layout: model.layout) }
      _ = try checkpoint.training().read(into: trainingTensors(stored) + tensors)
    }
    if let average, let updates = state.averagedUpdates {
      try context.world.broadcast(average.values, root: 0)
      average.resume(updates: updates)
    }
    try broadcastModel()
    for (_, values) in optimizer.state { try context.world.broadcast(values, root: 0) }
    for (_, values) in carried { try context.world.broadcast(values.vector, root: 0) }
    scatterState(carried)
  }

  /// Sends rank 0's parameters and statistics to all ranks.
  func broadcastModel() throws { try broadcast(model, world: context.world) }

  // MARK: Carried state

  private var states: [StateKind] { model.configuration.cell.shape.states }

  private var stateNames: [String] {
    !data.carriesState ? [] : (0..<model.configuration.layers).flatMap { layer in
      states.map { "state.\(layer).\($0.rawValue)" }
    }
  }

  /// The carried state of all shards, [batch, H] for each of `stateNames`.
  private func gatherState() throws -> [(name: String, values: MatrixView<Float>)] {
    if !data.carriesState { return [] }
    let H = model.configuration.hiddenSize, perShard = workspace.capacity.sequences[0]
    let blocks = try BlockLayout(
      counts: (0..<context.world.size).map { context.layout.run(of: $0).count * perShard * H })
    return try stateNames.enumerated().map { index, name in
      let all = MatrixView<Float>(zeros: context.layout.shards * perShard, H)
      let local = MatrixView<Float>(zeros: context.localShards.count * perShard, H)
      for shard in 0..<context.localShards.count {
        local.rows(shard * perShard..<(shard + 1) * perShard).copy(from: state(index, shard: shard))
      }
      try context.world.allGatherV(local.vector, into: all.vector, blocks: blocks)
      return (name, all)
    }
  }

  private func scatterState(_ carried: [(name: String, values: MatrixView<Float>)]) {
    workspace.beginsWithInitialState = false
    let perShard = workspace.capacity.sequences[0]
    for (index, (_, values)) in carried.enumerated() {
      for (i, shard) in context.localShards.enumerated() {
        state(index, shard: i).copy(from: values.rows(shard * perShard..<(shard + 1) * perShard))
      }
    }
  }

  /// The matrix of a local shard that `stateNames[index]` stands for.
  private func state(_ index: Int, shard: Int) -> MatrixView<Float> {
    let (layer, kind) = index.quotientAndRemainder(dividingBy: states.count)
    return workspace.state(states[kind], layer: layer, shard: shard)
  }
}

/// Weights, statistics or optimiser state that are not finite after an update.
struct NotFiniteError: Error, CustomStringConvertible {
  var step: Int
  var tensor: String

  var description: String {
    "step \(step): the update left values in \(tensor) that are not finite. No checkpoint of them was written, and those of before stand; "
      + "a lower learning rate or clip norm may help."
  }
}
