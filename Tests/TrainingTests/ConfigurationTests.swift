import Foundation
import NeuralNetwork
import Testing

import Training

private typealias Configuration = TrainingConfiguration

private let base = "task: language-model\ndata: {train: a.txt, validation: b.txt}\n"
private let speech =
  "task: frame-classification\ndata: {train: {features: a.ark, labels: b.ark}, validation: {features: c.scp, labels: d.scp}}\n"

private func parse(_ yaml: String, _ overrides: String...) throws -> Configuration {
  try Configuration(yaml: yaml, file: "x.yaml", overrides: overrides)
}

@Suite struct ConfigurationTests {
  // The defaults, written out once more: they are promises to users.
  @Test func everyDefault() throws {
    #expect(
      try parse(base).yaml() == """
        task: language-model
        data:
          train: a.txt
          unit: word
          validation: b.txt
          test: null
          vocabulary_size: 10000
          unknown: automatic
        model:
          embedding_size: 200
          cell: lstm
          layers: 2
          hidden_size: 200
          bidirectional: false
          peepholes: none
          dropout: 0
          dropout_kind: standard
          recurrent_dropout: 0
          recurrent_weights: float32
          initial_state: zero
          initial_state_noise: 0
          tied_embedding: false
        normalization:
          method: batch
          placement: input
          statistics: frame
          scope: global
          epsilon: 1e-05
          momentum: 0.1
          gamma: 1
        initialization:
          scheme: uniform
          recurrent_scheme: null
          embedding_deviation: null
          range: 0.1
          forget_bias: 0
        training:
          seed: 1
          batch_size: 32
          shards: auto
          unroll_steps: 20
          windows: continued
          epochs: 15
          maximum_steps: null
          average_over: sequences
          accumulate_steps: 1
          early_stopping: null
        optimizer:
          method: sgd
          learning_rate: 1
          momentum: 0
          clip_norm: 10
          decay: {factor: 2, after: 6}
          warmup_steps: 0
          plateau: null
          cosine: null
          weight_decay: 0
          decay_rate: 0.95
          epsilon: null
        evaluation:
          statistics: population
          frames_per_step: 100
          average: null
          population_batches: null
          every_epochs: 1
          streams: auto
        checkpoint:
          every_steps: null
          every_minutes: 10
          keep: 3
          on_error: stop
        replica_check:
          every_steps: 100
          heal: false
        watchdog:
          warn_seconds: 60
          abort_seconds: 600
        logging:
          tensorboard: true
        compute:
          products: automatic
        communication:
          gradients: float32
          reproducible: true
          overlap: true
          bucket_megabytes: 25

        """)
  }

  @Test func keysOfSpeech() throws {
    let configuration = try parse(speech)
    #expect(configuration.data.train == .frames(features: "a.ark", labels: "b.ark"))
    let yaml = configuration.yaml()
    #expect(yaml.contains("\n  train: {features: a.ark, labels: b.ark}\n"))
    for line in ["  classes: 3546", "  deltas: 0", "  maximum_frames: 1300", "  normalize: global", "  on_unusable: stop", "  shuffle: true"] {
      #expect(yaml.contains("\n\(line)\n"), "\(line)")
    }
    for key in ["embedding_size", "unroll_steps", "streams", "unit", "vocabulary_size", "unknown", "embedding_deviation"] {
      #expect(!yaml.contains("  \(key):"), "\(key)")
    }
    #expect(try parse(yaml) == configuration)
    // Sequence classification has the same keys.
    let ofSequences = try parse(speech, "task=sequence-classification")
    #expect(ofSequences.task == .sequenceClassification)
    #expect(ofSequences.yaml() == yaml.replacing("frame-classification", with: "sequence-classification"))
    #expect(ofSequences.differences(from: configuration).map(\.key) == ["task"])
  }

  @Test func valuesOfEveryKind() throws {
    let configuration = try parse(
      """
      task: language-model
      data: {train: "1.5", unit: character, validation: 'é b.txt', test: c}
      model: {dropout: 5e-1, bidirectional: False, peepholes: all}
      normalization: {epsilon: 1e-5, scope: {group: 2}, gamma: 1, placement: hidden}
      initialization: {embedding_deviation: 1, forget_bias: -1}
      training: {seed: 18446744073709551615, shards: 4, maximum_steps: 7}
      optimizer: {learning_rate: 3.71e-4, clip_norm: ~, decay: , momentum: .5}
      evaluation: {streams: 1}
      checkpoint: {every_steps: 5, every_minutes: null}
      """)
    #expect(configuration.data.train == .text(path: "1.5"))
    #expect(configuration.data.unit == .character)
    #expect(configuration.data.validation == .text(path: "é b.txt"))
    #expect(configuration.data.test == .text(path: "c"))
    #expect(configuration.model.dropout == 0.5 && !configuration.model.bidirectional && configuration.model.peepholes == .all)
    #expect(configuration.normalization.epsilon == 1e-5)
    #expect(configuration.normalization.scope == .group(2))
    #expect(configuration.normalization.placement == .hidden)
    #expect(configuration.initialization.embeddingDeviation == 1 && configuration.initialization.forgetBias == -1)
    #expect(configuration.training.seed == UInt64.max)
    #expect(configuration.training.shards == 4 && configuration.training.maximumSteps == 7)
    #expect(configuration.optimizer.learningRate == 3.71e-4 && configuration.optimizer.momentum == 0.5)
    #expect(configuration.optimizer.clipNorm == nil && configuration.optimizer.decay == nil)
    #expect(configuration.evaluation.streams == 1)
    #expect(configuration.checkpoint.everySteps == 5 && configuration.checkpoint.everyMinutes == nil)
  }

  @Test func overridesInOrder() throws {
    let configuration = try parse(
      base, "model.hidden_size=400", "model.hidden_size=500", "optimizer.decay.factor=1.2", "normalization.scope={group: 2}",
      "data.test=a=b.txt", "optimizer.clip_norm=null")
    #expect(configuration.model.hiddenSize == 500)
    #expect(configuration.optimizer.decay == .init(factor: 1.2, after: 6))
    #expect(configuration.normalization.scope == .group(2))
    #expect(configuration.data.test == .text(path: "a=b.txt"))
    #expect(configuration.optimizer.clipNorm == nil)
    let other = try parse(speech, "data.train.features=z.ark")
    #expect(other.data.train == .frames(features: "z.ark", labels: "b.ark"))
    let language = try parse("data: {train: a, validation: b}", "task=language-model")
    #expect(language.task == .languageModel)
  }

  // MARK: Writing

  /// Random configurations: each key takes values that it allows, each text is odd.
  @Test func writtenConfigurationsReadBackEqual() throws {
    var random = SplitMix(state: 7)
    var numbers = [0.1, 1e-5, 1.0 / 3, 2.2250738585072014e-308, 1.7976931348623157e308, 123_456_789, 1e16, 0.30000000000000004]
    numbers += (0..<50).map { _ in Double.random(in: 0..<1, using: &random) }
    for number in numbers {
      #expect(ConfigurationValue(plain: ConfigurationValue.number(number).yaml).asDouble == number)
    }
    let paths = [
      "a b", "null", "~", "true", "1", "1e5", "-", "- a", "a: b", "a #b", "\"", "'", "\\", "\n", "\t", "é", "日本", "\u{2028}",
      "\u{85}", "a\u{feff}",
      "\u{7}", "😀", "{", "[x]", "*a", "&a", "!x", "%", "@", "`", "|", ">", "a,b", " a", "a ", "010", ".nan", "auto", "yes", "<<",
      "=", "e\u{301}",
    ]
    for path in paths {
      for isSpeech in [false, true] {
        var configuration = try parse(isSpeech ? speech : base)
        configuration.data.test = isSpeech ? .frames(features: path, labels: path + path) : .text(path: path)
        configuration.model.dropout = numbers.randomElement(using: &random)!.truncatingRemainder(dividingBy: 1) / 2 + 0.1
        configuration.training.seed = .random(in: 0...UInt64.max, using: &random)
        configuration.optimizer.clipNorm = Bool.random(using: &random) ? nil : 1 / Double.random(in: 1...9, using: &random)
        configuration.optimizer.decay =
          Bool.random(using: &random) ? nil : .init(factor: .random(in: 1...3, using: &random), after: 4)
        configuration.optimizer.plateau = Bool.random(using: &random)
          ? nil : .init(factor: .random(in: 1.1...9, using: &random), patience: .random(in: 1...9, using: &random), threshold: .random(in: 0...0.9, using: &random))
        configuration.optimizer.cosine = Bool.random(using: &random) ? nil : .init(final: .random(in: 0...1, using: &random))
        configuration.training.earlyStopping = Bool.random(using: &random) ? nil : .init(patience: .random(in: 1...9, using: &random))
        configuration.normalization.scope = [.local, .global, .group(3)].randomElement(using: &random)!
        configuration.training.shards = Bool.random(using: &random) ? nil : 1
        if case .group = configuration.normalization.scope { configuration.training.shards = nil }
        let read = try parse(configuration.yaml())
        #expect(read == configuration)
        #expect(read.yaml() == configuration.yaml())
      }
    }
  }

  @Test func differences() throws {
    let old = try parse(base)
    let new = try parse(base, "optimizer.decay=null", "model.layers=3", "training.shards=8")
    #expect(new.differences(from: new).isEmpty)
    #expect(
      new.differences(from: old) == [
        .init(key: "model.layers", old: "2", new: "3"), .init(key: "training.shards", old: "auto", new: "8"),
        .init(key: "optimizer.decay", old: "{factor: 2, after: 6}", new: "null"),
      ])
    let tasks = try parse(speech).differences(from: old)
    #expect(tasks.contains(.init(key: "data.classes", old: nil, new: "3546")))
    #expect(tasks.contains(.init(key: "training.unroll_steps", old: "20", new: nil)))
  }

  @Test func tableOfAllKeys() {
    #expect(Set(Configuration.keys).count == Configuration.keys.count)
    #expect(Configuration.keys.count == 82)
    let rows = Configuration.referenceTable().split(separator: "\n")
    #expect(rows.count == Configuration.keys.count + 2)
    #expect(rows.allSatisfy { row in row.count { $0 == "|" } == 5 })
    #expect(rows.contains("| `model.layers` | an integer from 1 to 64 | `2` | recurrent layers |"))
  }

  // MARK: Resolution

  @Test func resolution() throws {
    let resolved = try parse(base).resolved(rankCount: 4)
    #expect(resolved.training.shards == 4 && resolved.evaluation.streams == 32)
    #expect(try resolved.resolved(rankCount: 2) == resolved)
    #expect(try parse(base, "evaluation.streams=1", "training.shards=8").resolved(rankCount: 3).evaluation.streams == 1)
    let frames = try parse(speech, "training.batch_size=5").resolved(rankCount: 3)
    #expect(frames.training.shards == 3 && frames.evaluation.streams == nil)
    #expect(try parse(resolved.yaml()) == resolved)
  }

  @Test(arguments: [
    (["training.shards=2"], 3, "training.shards: is 2, and 3 ranks run"),
    ([], 3, "training.batch_size: is 32, which 3 shards cannot share equally (training.shards is auto: one for each of 3 ranks)"),
    (["normalization.scope={group: 5}"], 4, "normalization.scope: is {group: 5}, and there are 4 shards"),
  ])
  func resolutionFails(overrides: [String], rankCount: Int, message: String) throws {
    let configuration = try Configuration(yaml: base, file: "x.yaml", overrides: overrides)
    let error = try #require(throws: ConfigurationError.self) { try configuration.resolved(rankCount: rankCount) }
    #expect(error.reason == .conflict)
    #expect(error.description.hasPrefix(message))
  }

  @Test func changesInMemoryAreChecked() throws {
    var configuration = try parse(base)
    try configuration.validate()
    configuration.optimizer.decay?.factor = 0
    let error = try #require(throws: ConfigurationError.self) { try configuration.validate() }
    #expect(error.key == "optimizer.decay.factor" && error.found == "found 0" && error.file == nil)
  }

  @Test func placementsOfEveryTask() throws {
    for placement in Placement.allCases {
      for yaml in [base, speech] {
        let configuration = try parse(yaml, "normalization.placement=\(placement.rawValue)", "normalization.statistics=frame")
        #expect(configuration.normalization.placement == placement)
      }
    }
    for format in TrainingConfiguration.WireFormat.allCases {
      #expect(try parse(base, "communication.gradients=\(format.rawValue)").communication.gradients == format)
    }
  }

  /// Keys without a meaning are left out of what is written, so that it can be read again.
  @Test func layerNormalizationIsWrittenWithoutStatistics() throws {
    let layer = try parse(base, "normalization.method=layer"), yaml = layer.yaml()
    for key in ["statistics: frame", "scope:", "momentum: 0.1", "statistics: population"] { #expect(!yaml.contains(key)) }
    #expect(try parse(yaml) == layer)
    let batch = try parse(base)
    #expect(layer.differences(from: batch).map(\.key).contains("normalization.scope"))
    #expect(batch.yaml().contains("  scope: global\n"))
  }

  @Test func exitCodes() {
    #expect(ExitCode.allCases.map(\.rawValue) == [0, 64, 65, 70, 74, 75])
  }
}

extension ConfigurationValue {
  fileprivate var asDouble: Double? {
    switch self {
    case .number(let value, _): value
    case .integer(let value): Double(value)
    default: nil
    }
  }
}
