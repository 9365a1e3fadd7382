import Foundation
import NeuralNetwork
import Testing

import Training

/// The folder of the experiment files, found from this file.
private let configs = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .deletingLastPathComponent().appending(path: "Configs")

@Suite struct ConfigurationFileTests {
  /// A folder of its own, gone at the end.
  private func inTemporaryFolder(_ body: (URL) throws -> Void) throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "lockstep-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    try body(folder)
  }

  private func failure(_ path: String) throws -> ConfigurationError {
    try #require(throws: ConfigurationError.self) { try TrainingConfiguration.load(path: path) }
  }

  @Test func filesThatCannotBeRead() throws {
    try inTemporaryFolder { folder in
      let missing = try failure(folder.path + "/none.yaml")
      #expect(missing.reason == .unreadable && missing.found == "no such file" && missing.file == folder.path + "/none.yaml")
      #expect(try failure(folder.path).found == "is a directory")

      let binary = folder.path + "/binary.yaml"
      try Data("task: x\nmodel:\n  \u{e9}".utf8 + [0xff, 0xfe]).write(to: URL(fileURLWithPath: binary))
      let notUTF8 = try failure(binary)
      #expect(notUTF8.reason == .unreadable && notUTF8.found == "is not UTF-8" && notUTF8.line == 3)

      let large = folder.path + "/large.yaml"
      try Data(repeating: UInt8(ascii: "#"), count: ConfigurationFile.largestSize + 1).write(to: URL(fileURLWithPath: large))
      #expect(try failure(large).found == "is larger than 1048576 bytes")

      let empty = folder.path + "/empty.yaml"
      try Data().write(to: URL(fileURLWithPath: empty))
      #expect(try failure(empty).found == "holds no configuration")
      // Its first page is not mapped: reading gives an input/output error, also to the superuser.
      #expect(try failure("/proc/self/mem").reason == .unreadable)
    }
  }

  @Test func aFileWithByteOrderMarkAndWindowsLines() throws {
    try inTemporaryFolder { folder in
      let path = folder.path + "/x.yaml"
      let text = "\u{feff}task: language-model\r\ndata:\r\n  train: a\r\n  validation: b\r\nmodel:\r\n  layers: 3\r\n"
      try Data(text.utf8).write(to: URL(fileURLWithPath: path))
      #expect(try TrainingConfiguration.load(path: path).model.layers == 3)
      let error = try #require(throws: ConfigurationError.self) {
        try TrainingConfiguration(yaml: text + "\tx", file: "x.yaml")
      }
      #expect(error.line == 7)
    }
  }

  // MARK: The experiments

  @Test func everyExperimentLoadsAndRunsOnTwoRanks() throws {
    let files = try FileManager.default.contentsOfDirectory(atPath: configs.path).filter { $0.hasSuffix(".yaml") }
    #expect(files.count >= 13)
    for file in files {
      let configuration = try load(file)
      _ = try configuration.resolved(rankCount: 2)
      #expect(try String(contentsOf: configs.appending(path: file), encoding: .utf8).hasPrefix("# "), "\(file)")
    }
  }

  /// hidden, init range, unroll, clip, dropout, epochs, decay factor, decay after
  private typealias Row = (Int, Double, Int, Double, Double, Int, Double, Int)

  @Test func tableOfLaurentAndOthers() throws {
    let rows: [(String, Row)] = [
      ("small", (200, 0.1, 20, 10, 0, 15, 2, 6)), ("medium", (650, 0.05, 35, 5, 0.5, 40, 1.2, 6)),
      ("large", (1500, 0.04, 35, 5, 0.65, 55, 1.15, 15)),
    ]
    for (size, row) in rows {
      let plain = try load("ptb-\(size).yaml")
      try expectWordModel(plain, row, batch: 32)
      #expect(plain.normalization.placement == .none)
      let normalised = try load("ptb-\(size)-bn.yaml")
      #expect(normalised.differences(from: plain) == [.init(key: "normalization.placement", old: "none", new: "input")])
      #expect(normalised.normalization.statistics == .frame && normalised.normalization.scope == .global)
    }
  }

  /// The other placements differ from the plain model in nothing but normalisation.
  @Test(arguments: [
    ("state", Placement.state), ("separate", .separate), ("hidden", .hidden), ("whitened", .whitenedInput), ("layer-norm", .separate),
  ])
  func placementsOfTheSmallModel(_ name: String, _ placement: Placement) throws {
    let plain = try load("ptb-small.yaml"), other = try load("ptb-small-\(name).yaml")
    #expect(other.normalization.placement == placement)
    #expect(other.normalization.method == (name == "layer-norm" ? .layer : .batch))
    // Two of them need a lower learning rate.
    let rate = ["hidden", "whitened"].contains(name) ? 0.1 : 1
    #expect(other.optimizer.learningRate == rate)
    #expect(other.differences(from: plain).allSatisfy { $0.key.hasPrefix("normalization.") || $0.key == "optimizer.learning_rate" || $0.new == nil })
  }

  @Test func evaluationAsPublished() throws {
    let differences = try load("ptb-small-bn-as-published.yaml").differences(from: load("ptb-small-bn.yaml"))
    #expect(differences.map(\.key) == ["evaluation.statistics", "evaluation.streams"] && differences[0].new == "batch")
  }

  /// Settings of Cooijmans et al. 2016, each with a twin that differs in normalisation.
  @Test(arguments: ["ptb-char", "mnist", "pmnist"]) func tableOfCooijmansAndOthers(_ name: String) throws {
    let plain = try load("cooijmans-\(name).yaml"), normalised = try load("cooijmans-\(name)-bn.yaml")
    // Only images in the usual order begin with pixels that are the same in all of them.
    let noise = name == "mnist" ? ["model.initial_state_noise"] : []
    #expect(
      normalised.differences(from: plain).map(\.key) == noise + ["normalization.placement", "normalization.gamma", "evaluation.statistics"])
    #expect(normalised.evaluation.statistics == .averaged)
    #expect(normalised.normalization.placement == .separate && normalised.normalization.gamma == 0.1)
    let isText = name == "ptb-char"
    #expect(plain.model.initialState == .learned && plain.initialization.forgetBias == 1 && plain.optimizer.clipNorm == 1)
    #expect(plain.model.hiddenSize == (isText ? 1000 : 100) && plain.training.batchSize == (isText ? 64 : 100))
    #expect(plain.optimizer.method == (isText ? .adam : .rmsprop) && plain.optimizer.learningRate == (isText ? 0.002 : 0.001))
  }

  @Test func tableOfZarembaAndOthers() throws {
    let rows: [(String, Row)] = [
      ("small", (200, 0.1, 20, 5, 0, 13, 2, 4)), ("medium", (650, 0.05, 35, 5, 0.5, 39, 1.2, 6)),
      ("large", (1500, 0.04, 35, 10, 0.65, 55, 1.15, 14)),
    ]
    for (size, row) in rows {
      let configuration = try load("zaremba-\(size).yaml")
      try expectWordModel(configuration, row, batch: 20)
      #expect(configuration.normalization.placement == .none)
    }
  }

  @Test func hiddenToHiddenExperiment() throws {
    let plain = try load("char-rnn-ptb.yaml")
    let normalised = try load("char-rnn-ptb-bn.yaml")
    for configuration in [plain, normalised] {
      #expect(configuration.data.unit == .character && configuration.model.cell == .rnn)
      #expect(configuration.model.embeddingSize == 250 && configuration.initialization.embeddingDeviation == 1)
      #expect(configuration.model.layers == 3 && configuration.model.hiddenSize == 250)
      #expect(configuration.training.unrollSteps == 100 && configuration.normalization.statistics == .frame)
      #expect(configuration.data.train == .text(path: "Data/ptb/ptb.train.txt"))
      #expect(configuration.optimizer.method == .sgd)
    }
    #expect(
      normalised.differences(from: plain) == [
        .init(key: "normalization.placement", old: "none", new: "preactivation"),
        .init(key: "training.batch_size", old: "32", new: "128"),
        .init(key: "optimizer.learning_rate", old: "0.42", new: "0.000371"),
        .init(key: "optimizer.momentum", old: "0.95", new: "0.995"),
      ])
  }

  @Test func quickstartUsesTheEmbeddedCorpus() throws {
    let configuration = try load("quickstart.yaml")
    #expect(configuration.data.train == .text(path: "Configs/data/kjv.train.txt"))
    #expect(configuration.data.validation == .text(path: "Configs/data/kjv.valid.txt"))
    #expect(configuration.data.test == .text(path: "Configs/data/kjv.test.txt"))
    #expect(configuration.data.vocabularySize == 5000)
    let normalization = configuration.normalization
    #expect(normalization.placement == .input && normalization.statistics == .frame && normalization.scope == .global)
    #expect(try load("debug.yaml").training.maximumSteps != nil)
  }

  @Test func speechModelOfLaurentAndOthers() throws {
    for name in ["wsj", "open-speech", "speech-synthetic"] {
      let plain = try load("\(name).yaml")
      let normalised = try load("\(name)-bn.yaml")
      #expect(plain.normalization.placement == .none && plain.normalization.scope == .global, "\(name)")
      #expect(
        normalised.differences(from: plain) == [
          .init(key: "normalization.placement", old: "none", new: "input"),
          .init(key: "normalization.statistics", old: "frame", new: "sequence"),
        ], "\(name)")
      #expect(plain.task == .frameClassification && plain.model.cell == .lstm && plain.model.bidirectional, "\(name)")
      #expect(plain.data.deltas == 2 && plain.data.maximumFrames == 1300, "\(name)")
      #expect(plain.initialization.scheme == .glorot && plain.initialization.forgetBias == 0, "\(name)")
      #expect(plain.optimizer.method == .sgd && plain.optimizer.momentum == 0.9, "\(name)")
      #expect(plain.optimizer.decay == nil && plain.optimizer.clipNorm == nil, "\(name)")
      #expect(plain.training.averageOver == .sequences && plain.training.shuffle, "\(name)")
    }
    let paper = try load("wsj.yaml")
    #expect(paper.model.layers == 5 && paper.model.hiddenSize == 250 && paper.data.classes == 3546)
    #expect(paper.training.batchSize == 24 && paper.optimizer.learningRate == 1e-4)
  }

  /// The archives that are named exist, and there are as many classes as names.
  @Test func syntheticSpeechIsEmbedded() throws {
    let data = try load("speech-synthetic.yaml").data
    let names = try String(contentsOf: configs.appending(path: "data/speech-synthetic/classes.txt"), encoding: .utf8)
    #expect(names.split(separator: "\n").count == data.classes)
    for source in [data.train, data.validation] {
      guard case .archives(let features, let labels) = source else { Issue.record("\(source)"); continue }
      for path in features + labels {
        let file = configs.deletingLastPathComponent().appending(path: path).path
        #expect(FileManager.default.fileExists(atPath: file), "\(path)")
      }
    }
  }

  private func load(_ file: String) throws -> TrainingConfiguration {
    try TrainingConfiguration.load(path: configs.appending(path: file).path)
  }

  private func expectWordModel(_ configuration: TrainingConfiguration, _ row: Row, batch: Int) throws {
    #expect(
      configuration.task == .languageModel && configuration.data.unit == .word && configuration.data.vocabularySize == 10_000)
    #expect(configuration.data.train == .text(path: "Data/ptb/ptb.train.txt"))
    #expect(configuration.data.validation == .text(path: "Data/ptb/ptb.valid.txt"))
    #expect(configuration.data.test == .text(path: "Data/ptb/ptb.test.txt"))
    #expect(configuration.model.cell == .lstm && configuration.model.layers == 2 && configuration.model.peepholes == .none)
    #expect(configuration.model.embeddingSize == row.0 && configuration.model.hiddenSize == row.0)
    let initialization = configuration.initialization
    #expect(initialization.scheme == .uniform && initialization.embeddingDeviation == nil)
    #expect(initialization.range == row.1 && initialization.forgetBias == 0)
    #expect(configuration.training.unrollSteps == row.2 && configuration.training.batchSize == batch)
    #expect(configuration.optimizer.clipNorm == row.3)
    #expect(configuration.model.dropout == row.4)
    #expect(configuration.training.epochs == row.5 && configuration.training.averageOver == .sequences)
    #expect(configuration.optimizer.decay == .init(factor: row.6, after: row.7))
    #expect(
      configuration.optimizer.method == .sgd && configuration.optimizer.learningRate == 1 && configuration.optimizer.momentum == 0
    )
  }
}
