import Foundation
import Testing

extension CommandTests {
  /// The same shards give the same bits on every number of ranks.
  @Suite struct Reproducibility {
    struct Variant: CustomTestStringConvertible, Sendable {
      var name: String
      var ranks: [Int]
      var settings: [String]
      var testDescription: String { name }
    }

    static let variants = [
      Variant(name: "local", ranks: [1, 2, 3, 4, 5, 8], settings: ["normalization.scope=local", "model.dropout=0.3"]),
      Variant(
        name: "global", ranks: [1, 2, 3, 4, 5, 8],
        settings: ["normalization.scope=global", "normalization.placement=preactivation", "optimizer.momentum=0.5"]),
      Variant(
        name: "group of 2", ranks: [1, 2, 3, 4, 5, 8],
        settings: ["normalization.scope={group: 2}", "normalization.statistics=sequence", "optimizer.momentum=0.9"]),
      Variant(
        name: "group of 3, adam, accumulation", ranks: [1, 3, 8],
        settings: [
          "normalization.scope={group: 3}", "optimizer.method=adam", "optimizer.learning_rate=0.01", "training.accumulate_steps=2",
        ]),
      Variant(
        name: "many buckets, uneven accumulation", ranks: [1, 4, 5],
        settings: [
          "normalization.placement=preactivation", "normalization.scope=local", "communication.bucket_megabytes=0.001",
          "model.hidden_size=24", "training.accumulate_steps=3", "optimizer.momentum=0.5",
        ]),
      Variant(
        name: "sparse embedding", ranks: [1, 3, 8],
        settings: ["data.train=wide.txt", "data.vocabulary_size=300", "training.accumulate_steps=2", "normalization.scope=global"]),
      Variant(
        name: "shuffled windows, sparse embedding", ranks: [1, 3, 8],
        settings: [
          "training.windows=shuffled", "data.train=wide.txt", "data.vocabulary_size=300", "training.batch_size=16", "normalization.scope={group: 3}",
        ]),
      Variant(
        name: "tied embedding", ranks: [1, 2, 3, 8],
        settings: ["model.tied_embedding=true", "model.embedding_size=8", "normalization.scope={group: 2}", "optimizer.momentum=0.5"]),
      Variant(
        name: "tied embedding, many buckets, accumulation, adam", ranks: [1, 3, 4],
        settings: [
          "model.tied_embedding=true", "model.embedding_size=24", "model.hidden_size=24", "communication.bucket_megabytes=0.001",
          "training.accumulate_steps=2", "optimizer.method=adam", "optimizer.learning_rate=0.01", "data.train=wide.txt",
          "data.vocabulary_size=300",
        ]),
      Variant(
        name: "recurrent and variational dropout, accumulation", ranks: [1, 3, 8],
        settings: [
          "model.recurrent_dropout=0.4", "model.dropout=0.2", "model.dropout_kind=variational", "training.accumulate_steps=2",
          "normalization.scope={group: 2}",
        ]),
      Variant(
        name: "sequence, global", ranks: [1, 5],
        settings: ["normalization.statistics=sequence", "normalization.scope=global", "training.average_over=frames"]),
      Variant(
        name: "rnn", ranks: [1, 2, 5],
        settings: ["model.cell=rnn", "normalization.placement=preactivation", "normalization.scope={group: 3}"]),
      Variant(
        name: "one sequence a shard, running averages", ranks: [1, 3, 8],
        settings: ["training.batch_size=8", "normalization.scope={group: 3}", "evaluation.statistics=running"]),
      Variant(
        name: "statistics of what is evaluated", ranks: [1, 2, 3, 8],
        settings: ["normalization.scope=local", "evaluation.statistics=batch", "evaluation.streams=11", "model.initial_state_noise=0.1"]),
      Variant(
        name: "group of 2, averaged statistics", ranks: [1, 2, 3],
        settings: ["normalization.scope={group: 2}", "evaluation.statistics=averaged", "evaluation.population_batches=7"]),
      Variant(
        name: "separate, learned states, dropout", ranks: [1, 2, 3, 8],
        settings: [
          "normalization.placement=separate", "normalization.scope={group: 3}", "normalization.gamma=0.1", "model.initial_state=learned",
          "model.dropout=0.3", "model.peepholes=all", "model.initial_state_noise=0.1", "training.windows=shuffled",
        ]),
      Variant(name: "state", ranks: [1, 3], settings: ["normalization.placement=state", "normalization.scope=global", "model.dropout=0.3"]),
      Variant(
        name: "hidden, gru", ranks: [1, 2, 5], settings: ["normalization.placement=hidden", "model.cell=gru", "model.initial_state=learned"]),
      Variant(
        name: "layer normalisation", ranks: [1, 4],
        settings: ["normalization.method=layer", "normalization.placement=separate", "model.dropout=0.3"]),
      Variant(
        name: "whitened input", ranks: [1, 2, 3, 8],
        settings: [
          "normalization.placement=whitened-input", "normalization.whitening_interval=7", "optimizer.momentum=0.9",
          "optimizer.learning_rate=0.1", "model.dropout=0.3", "training.accumulate_steps=2",
        ]),
      Variant(
        name: "no normalisation, peepholes, rmsprop", ranks: [1, 4],
        settings: ["normalization.placement=none", "model.peepholes=all", "optimizer.method=rmsprop", "optimizer.learning_rate=0.003"]),
      Variant(
        name: "float16 gradients", ranks: [1, 2, 3, 4, 8],
        settings: ["communication.gradients=float16", "normalization.scope=global", "training.accumulate_steps=2", "communication.overlap=false"]),
      Variant(
        name: "bfloat16 gradients and weights, many buckets", ranks: [1, 2, 4, 5],
        settings: ["communication.gradients=bfloat16", "communication.bucket_megabytes=0.001", "optimizer.momentum=0.5",
          "model.recurrent_weights=bfloat16",
        ]),
    ]

    @Test(arguments: variants) func sameBits(_ variant: Variant) throws {
      let sandbox = try Sandbox()
      try sandbox.write("wide.txt", randomText(tokens: 3000, types: 500, seed: 4))
      let settings = ["training.maximum_steps=50", "checkpoint.every_steps=null"] + variant.settings
      for ranks in variant.ranks { try sandbox.train("on-\(ranks)", ranks: ranks, settings) }

      let first = "on-\(variant.ranks[0])", numbers = try sandbox.numbers(first)
      #expect(numbers.count { $0.contains("\"event\":\"step\"") } == 50)
      #expect(numbers.count { $0.contains("\"event\":\"validation\"") } >= 1)
      #expect(numbers.count { $0.contains("\"event\":\"test\"") } == 1)
      for ranks in variant.ranks.dropFirst() {
        let other = "on-\(ranks)"
        #expect(try sandbox.numbers(other) == numbers, "metrics on \(ranks) ranks")
        for file in ["model.safetensors", "training.safetensors"] {
          let bytes = try sandbox.data("\(sandbox.checkpoint(other, 50))/\(file)")
          #expect(try bytes == sandbox.data("\(sandbox.checkpoint(first, 50))/\(file)"), "\(file) on \(ranks) ranks")
        }
      }
    }

    /// However long the pieces are in which gradients are added, and with them the squares of the norm that clips every step.
    @Test func sizesOfPieces() throws {
      let sandbox = try Sandbox()
      try sandbox.write("wide.txt", randomText(tokens: 3000, types: 500, seed: 4))
      // The output layer has two blocks of classes, and several pieces that are complete before its end.
      let settings = [
        "training.maximum_steps=20", "checkpoint.every_steps=null", "model.hidden_size=64", "optimizer.clip_norm=0.01", "data.train=wide.txt",
        "data.vocabulary_size=300",
      ]
      let runs = [(ranks: 1, megabytes: "25"), (2, "25"), (2, "0.02"), (4, "0.001")].map { run in
        (name: "\(run.ranks)-\(run.megabytes)", ranks: run.ranks, setting: "communication.bucket_megabytes=\(run.megabytes)")
      }
      for run in runs { try sandbox.train(run.name, ranks: run.ranks, settings + [run.setting]) }
      let first = try sandbox.numbers(runs[0].name), weights = try sandbox.data("\(sandbox.checkpoint(runs[0].name, 20))/model.safetensors")
      #expect(first.count { $0.contains("\"event\":\"step\"") } == 20)
      for run in runs.dropFirst() {
        #expect(try sandbox.numbers(run.name) == first && sandbox.data("\(sandbox.checkpoint(run.name, 20))/model.safetensors") == weights)
      }
    }

    /// What is compared above is not the same by being constant.
    @Test func settingsMatter() throws {
      let sandbox = try Sandbox()
      var models: Set<Data> = []
      let variants = [
        "normalization.scope=local", "normalization.scope=global", "normalization.scope={group: 2}", "normalization.scope={group: 3}",
        "normalization.statistics=sequence", "normalization.placement=preactivation", "normalization.placement=state",
        "normalization.placement=separate", "normalization.placement=hidden", "normalization.placement=whitened-input",
        "normalization.method=layer", "model.cell=gru", "model.initial_state=learned", "training.seed=2", "model.dropout=0.3",
        "communication.gradients=float16", "communication.gradients=bfloat16", "model.recurrent_weights=bfloat16",
        "initialization.recurrent_scheme=identity", "initialization.recurrent_scheme=orthogonal",
        "training.windows=shuffled", "model.initial_state_noise=0.1",
        "evaluation.statistics=averaged", "evaluation.statistics=running",
      ]
      for (index, setting) in variants.enumerated() {
        try sandbox.train("run-\(index)", [setting])
        models.insert(try sandbox.data("run-\(index)/checkpoints/latest/model.safetensors"))
      }
      #expect(models.count == variants.count)

      // Only where both sizes are equal.
      for (index, setting) in ["model.tied_embedding=false", "model.tied_embedding=true"].enumerated() {
        try sandbox.train("tied-\(index)", ["model.embedding_size=8", setting])
        models.insert(try sandbox.data("tied-\(index)/checkpoints/latest/model.safetensors"))
      }
      #expect(models.count == variants.count + 2)

      // Keys of one method.
      for (index, setting) in ["optimizer.decay_rate=0.95", "optimizer.decay_rate=0.5", "optimizer.epsilon=1e-6"].enumerated() {
        try sandbox.train("rmsprop-\(index)", ["optimizer.method=rmsprop", "optimizer.learning_rate=0.003", setting])
        models.insert(try sandbox.data("rmsprop-\(index)/checkpoints/latest/model.safetensors"))
      }
      #expect(models.count == variants.count + 5)
    }
  }
}
