import DataParallel
import MPI
import NeuralNetwork
import SequenceData
import Tensors

/// Writes the log posteriors of utterances to a Kaldi archive, in the order of the features' archive: every rank computes those of its own utterances,
/// rank 0 writes them.
final class PosteriorWriter {
  private let data: FrameEvaluationData
  private let model: SequenceModel<Float>
  private let context: RankContext
  private let path: String
  // What is added to log posteriors, [V].
  private let negativeLogPriors: VectorView<Float>?
  private var writer: KaldiMatrixWriter? = nil

  /// - data: keeps the order of its archive.
  /// - priors: how often each class labelled a frame, or an utterance, of the training data, for log posteriors that are to become likelihoods but for a constant;
  ///   a class that did not occur counts as if it had once.
  /// - Throws: on every rank the same error where the archive cannot be begun.
  init(path: String, _ data: FrameEvaluationData, model: SequenceModel<Float>, context: RankContext, priors: [Int]?) throws {
    self.data = data
    self.model = model
    self.context = context
    self.path = path
    negativeLogPriors = priors.map { counts in
      let total = Double(counts.reduce(0) { $0 + max($1, 1) })
      return VectorView(counts.map { Float(-logarithm(Double(max($0, 1)) / total)) })
    }
    try context.world.agree { if context.isFirst { writer = try KaldiMatrixWriter(path: path, keeping: data.sources) } }
  }

  /// Writes the utterances of a minibatch that went forward through `workspace`.
  func write(_ minibatch: Int, _ workspace: ModelWorkspace<Float>) throws {
    let S = context.layout.shards, V = model.configuration.classes
    for (k, utterance) in data.members[minibatch].enumerated() {
      let shard = k % S, isMine = context.localShards.contains(shard)
      let rows = model.configuration.outputRows.count(length: data.length(utterance))
      let posteriors = MatrixView<Float>(zeros: isMine || context.isFirst ? rows : 0, V)
      if isMine {
        let local = shard - context.localShards.lowerBound, examples = workspace.examples[local]
        guard let b = (0..<workspace.sequences[local].count).first(where: { examples[$0] == Int32(k) }) else {
          preconditionFailure("utterance \(k) is not where it belongs")
        }
        model.logPosteriors(workspace, shard: local, sequence: b, into: posteriors)
        if let negativeLogPriors { for t in 0..<rows { posteriors[t].add(negativeLogPriors) } }
      }
      try send(posteriors.vector, count: rows * V, from: shard)
      guard writer != nil else { continue }
      try posteriors.vector.withSpan { values in try writer?.write(key: data.key(utterance), rows: rows, columns: V, values: values) }
    }
  }

  /// Sends what the owner of a shard has computed to rank 0, into the same memory there.
  private func send(_ values: VectorView<Float>, count: Int, from shard: Int) throws {
    let world = context.world
    guard let owner = (0..<world.size).first(where: { context.layout.run(of: $0).contains(shard) }), owner != 0 else { return }
    func counts(_ rank: Int) -> [Int] { (0..<world.size).map { $0 == rank ? count : 0 } }
    let none = Array(repeating: 0, count: world.size)
    let outgoing = try BlockLayout(counts: world.rank == owner ? counts(0) : none)
    let incoming = try BlockLayout(counts: world.rank == 0 ? counts(owner) : none)
    let nothing = VectorView<Float>(zeros: 0)
    try world.allToAllV(
      world.rank == owner ? values : nothing, blocks: outgoing, into: world.rank == 0 ? values : nothing, blocks: incoming)
  }

  /// Gives the archive its name.
  func finish() throws {
    try context.world.agree {
      guard let writer = writer.take() else { return }
      try writer.finish()
    }
  }
}
