import MPI
import NeuralNetwork
import SequenceData
import Tensors

/// Minibatches of utterances in order, read ahead, with each rank's part of them.
final class MinibatchStream {
  /// The epoch whose minibatches these are.
  let epoch: Int
  /// The minibatch that comes next.
  private(set) var next: Int
  private let minibatches: [[Int]]
  private let loader: BatchLoader
  private let world: Communicator
  private let clock = ContinuousClock()

  /// - minibatches: utterances of each; utterance `k` goes to shard `k mod S`.
  /// - from: the first one that will be asked for.
  init(
    _ source: any UtteranceSource, _ minibatches: [[Int]], from first: Int, epoch: Int, transform: FeatureTransform, classes: Int,
    _ context: RankContext
  ) {
    self.epoch = epoch
    self.minibatches = minibatches
    next = first
    world = context.world
    let shards = context.layout.shards, local = Array(context.localShards)
    let items = minibatches[first...].map { members in
      local.map { shard in
        stride(from: shard, to: members.count, by: shards).map { (example: $0, utterance: members[$0]) }
      }
    }
    loader = BatchLoader(items, from: source, transform: transform, classes: classes)
  }

  /// Whether all minibatches were given out.
  var isAtEnd: Bool { next == minibatches.count }

  /// Puts the next minibatch into `workspace`.
  /// - Returns: the utterances of all shards, and the seconds spent waiting for them to be read.
  /// - Throws: on every rank what went wrong in reading on the lowest one: where a file has changed, many ranks meet the fault at once.
  func load(into workspace: ModelWorkspace<Float>) throws -> (members: [Int], waited: Double) {
    let start = clock.now
    var waited = 0.0
    let batches = try world.agree {
      defer { waited = (clock.now - start) / .seconds(1) }
      return try loader.next()
    }
    workspace.begin(batches.map { PackedSequences(lengths: $0.lengths) }, examples: batches.map(\.examples))
    for (i, batch) in batches.enumerated() {
      let bottom = workspace.bottom[i], frames = batch.frames
      bottom.rows(0..<frames).vector.copy(from: batch.features.span)
      workspace.targets[i][0..<frames].copy(from: batch.labels.span)
    }
    loader.recycle(batches)
    next += 1
    return (minibatches[next - 1], waited)
  }
}
