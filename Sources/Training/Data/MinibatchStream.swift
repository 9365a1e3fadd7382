import MPI
import NeuralNetwork
import SequenceData
import Tensors

/// What a rank knows of a minibatch beside the values of its own utterances; made ahead, like these.
struct Minibatch {
  /// Lengths of the utterances of all shards, in their order.
  let lengths: [Int]
  /// Share of the rectangle [longest, utterances] that is empty.
  let padding: Double
  /// Frames of every shard and step.
  let counts: FrameCounts
  /// What has a label, of all shards.
  let targets: Int
  /// The utterances of each local shard, and their numbers in the minibatch.
  fileprivate let sequences: [PackedSequences], examples: [[Int]]

  fileprivate init(lengths: [Int], _ labelled: Labelled, _ batches: [UtteranceBatch], shards: Int, _ groups: ShardGroups) {
    self.lengths = lengths
    padding = MinibatchPlan.padding(lengths)
    targets = lengths.reduce(0) { $0 + labelled.count(frames: $1) }
    counts = frameCounts(lengths, shards: shards, groups)
    sequences = batches.map { PackedSequences(lengths: $0.lengths) }
    examples = batches.map(\.examples)
  }
}

/// Minibatches of utterances in order, read ahead, with each rank's part of them.
final class MinibatchStream {
  /// The epoch whose minibatches these are.
  let epoch: Int
  /// The minibatch that comes next.
  private(set) var next: Int
  /// Utterances of each minibatch of the epoch, and their frames.
  let sizes: [(sequences: Int, frames: Int)]
  private let count: Int
  private let loader: BatchLoader<Minibatch>
  private let world: Communicator
  private let clock = ContinuousClock()

  /// - minibatches: utterances of each; utterance `k` goes to shard `k mod S`.
  /// - from: the first one that will be asked for.
  init(
    _ source: any UtteranceSource, _ minibatches: [[Int]], from first: Int, epoch: Int, transform: FeatureTransform, classes: Int,
    _ context: RankContext
  ) {
    self.epoch = epoch
    count = minibatches.count
    next = first
    world = context.world
    sizes = minibatches.map { members in (members.count, members.reduce(0) { $0 + source.frames[$1] }) }
    let shards = context.layout.shards, local = Array(context.localShards), groups = context.groups, frames = source.frames
    let labelled = source.labelled
    let items = minibatches[first...].map { members in
      local.map { shard in
        stride(from: shard, to: members.count, by: shards).map { (example: $0, utterance: members[$0]) }
      }
    }
    loader = BatchLoader(items, from: source, transform: transform, classes: classes, trace: context.world.trace) { number, batches in
      Minibatch(lengths: minibatches[first + number].map { frames[$0] }, labelled, batches, shards: shards, groups)
    }
  }

  /// Whether all minibatches were given out.
  var isAtEnd: Bool { next == count }

  /// Puts the next minibatch into `workspace`.
  /// - Returns: what there is to know of it, and the seconds spent waiting for it to be read.
  /// - Throws: on every rank what went wrong in reading on the lowest one: where a file has changed, many ranks meet the fault at once.
  func load(into workspace: ModelWorkspace<Float>) throws -> (minibatch: Minibatch, waited: Double) {
    let start = clock.now
    var waited = 0.0
    let (batches, minibatch) = try world.agree {
      defer { waited = (clock.now - start) / .seconds(1) }
      return try loader.next()
    }
    workspace.begin(minibatch.sequences, examples: minibatch.examples)
    for (i, batch) in batches.enumerated() {
      let bottom = workspace.bottom[i], frames = batch.frames
      bottom.rows(0..<frames).vector.copy(from: batch.features.span)
      workspace.targets[i][0..<batch.labels.count].copy(from: batch.labels.span)
    }
    loader.recycle(batches)
    next += 1
    return (minibatch, waited)
  }
}
