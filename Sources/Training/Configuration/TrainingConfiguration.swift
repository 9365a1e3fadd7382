import NeuralNetwork
import SequenceData

/// One experiment: everything that decides what a run computes, as its YAML file states it.
///
/// The Swift names are the YAML keys in camel case, the initial values are the keys' defaults. Keys that belong to the
/// other tasks keep their default. What each key means and allows stands once, in `ConfigurationTable`.
public struct TrainingConfiguration: Equatable, Sendable {
  public var task: Task
  public var data: Data
  public var model = Model()
  public var normalization = Normalization()
  public var initialization = Initialization()
  public var training = Training()
  public var optimizer = Optimizer()
  public var evaluation = Evaluation()
  public var checkpoint = Checkpoint()
  public var replicaCheck = ReplicaCheck()
  public var watchdog = Watchdog()
  public var logging = Logging()
  public var compute = Compute()
  public var communication = Communication()

  /// The required keys given, every other key at its default. Nothing is checked: see `validate()`.
  public init(task: Task, train: Source, validation: Source) {
    self.task = task
    self.data = Data(train: train, validation: validation)
  }
}

extension TrainingConfiguration {
  /// What is learned.
  public enum Task: String, CaseIterable, Sendable {
    case languageModel = "language-model"
    case frameClassification = "frame-classification"
    case sequenceClassification = "sequence-classification"
  }

  /// Where one part of the data lies.
  public enum Source: Equatable, Sendable {
    /// Text files that follow each other, for language models.
    case texts([String])
    /// Kaldi archives (`.ark`) or indices (`.scp`) of features and of labels, for classification of frames or sequences.
    case archives(features: [String], labels: [String])

    /// One text file.
    public static func text(path: String) -> Self { .texts([path]) }

    /// One archive of features, and one of labels.
    public static func frames(features: String, labels: String) -> Self { .archives(features: [features], labels: [labels]) }
  }

  /// Section `data`.
  public struct Data: Equatable, Sendable {
    public var train: Source
    public var unit = Unit.word
    public var validation: Source
    public var test: Source?
    public var vocabularySize = 10_000
    public var unknown = UnknownTokens.automatic
    public var classes = 3546
    public var deltas = 0
    public var maximumFrames = 1300
    public var normalize = FeatureNormalization.global
    public var onUnusable = UnusablePolicy.stop
    public var allowCommands = false

    /// The required keys given, every other key at its default.
    public init(train: Source, validation: Source) {
      self.train = train
      self.validation = validation
    }
  }

  /// What one token of a text is.
  public enum Unit: String, CaseIterable, Sendable {
    case word, character
  }

  public typealias UnknownTokens = SequenceData.UnknownTokens

  public typealias UnusablePolicy = SequenceData.UnusablePolicy

  /// Over what each feature is brought to mean 0 and variance 1.
  public enum FeatureNormalization: String, CaseIterable, Sendable {
    case global, utterance, none
  }

  /// Section `model`.
  public struct Model: Equatable, Sendable {
    public var embeddingSize = 200
    public var cell = Cell.lstm
    public var layers = 2
    public var hiddenSize = 200
    public var bidirectional = false
    public var peepholes = Peepholes.none
    public var dropout = 0.0
    public var dropoutKind = DropoutKind.standard
    public var recurrentDropout = 0.0
    public var recurrentWeights = WeightFormat.float32
    public var initialState = InitialState.zero
    public var initialStateNoise = 0.0
    public var tiedEmbedding = false
  }

  /// How weights are stored where products read them.
  public enum WeightFormat: String, CaseIterable, Sendable {
    case float32, bfloat16
  }

  public typealias Cell = NeuralNetwork.Cell
  public typealias Peepholes = PeepholeConnections
  public typealias InitialState = NeuralNetwork.InitialState

  /// Section `normalization`.
  public struct Normalization: Equatable, Sendable {
    public var method = NormalizationMethod.batch
    public var placement = Placement.input
    public var statistics = Statistics.frame
    public var scope = Scope.global
    public var epsilon = 1e-5
    public var momentum = 0.1
    public var gamma = 1.0
    public var whiteningInterval = 100

    /// Whether anything is normalised by statistics of minibatches.
    var usesBatchStatistics: Bool { method == .batch && placement.normalizes }
  }

  public typealias Placement = NeuralNetwork.Placement
  public typealias Statistics = StatisticsKind

  /// Over whom a mean and a variance are taken.
  public enum Scope: Equatable, Sendable {
    case local, global
    /// So many consecutive shards together.
    case group(Int)
  }

  /// Section `initialization`.
  public struct Initialization: Equatable, Sendable {
    public var scheme = Scheme.uniform
    /// nil: as `scheme`.
    public var recurrentScheme: RecurrentScheme?
    public var embeddingDeviation: Double?
    public var range = 0.1
    public var forgetBias = 0.0
  }

  public typealias Scheme = InitializationScheme

  public typealias RecurrentScheme = NeuralNetwork.RecurrentScheme

  /// Section `training`.
  public struct Training: Equatable, Sendable {
    public var seed: UInt64 = 1
    public var batchSize = 32
    /// nil: one a rank (`auto`).
    public var shards: Int?
    public var unrollSteps = 20
    public var windows = Windows.continued
    public var epochs = 15
    public var maximumSteps: Int?
    public var averageOver = AverageOver.sequences
    public var shuffle = true
    public var accumulateSteps = 1
    /// nil: `batchSize` sequences are a minibatch.
    public var batchFrames: Int?
    /// nil: the run goes through all its epochs.
    public var earlyStopping: EarlyStopping?
  }

  /// How a training text becomes minibatches.
  public enum Windows: String, CaseIterable, Sendable {
    /// Windows of parallel streams that follow each other and carry the state on.
    case continued
    /// Pieces in an order of each epoch's own, which begin from the initial state.
    case shuffled
  }

  /// By what the summed cross entropy is divided before it is differentiated.
  public enum AverageOver: String, CaseIterable, Sendable {
    case sequences, frames
  }

  /// Section `optimizer`.
  public struct Optimizer: Equatable, Sendable {
    public var method = Method.sgd
    public var learningRate = 1.0
    public var momentum = 0.0
    /// nil: no clipping.
    public var clipNorm: Double? = 10
    /// nil: the learning rate stays.
    public var decay: Decay? = Decay(factor: 2, after: 6)
    public var warmupSteps = 0
    public var plateau: Plateau?
    public var cosine: Cosine?
    public var weightDecay = 0.0
    /// ρ of rmsprop.
    public var decayRate = Self.defaultDecayRate
    /// nil: the method's own.
    public var epsilon: Double?

    /// What Graves 2013 gives.
    static let defaultDecayRate = 0.95
  }

  public typealias Method = OptimizationMethod

  /// The learning rate of epoch e (from 1) is divided by `factor ^ max(0, e - after)`.
  public struct Decay: Equatable, Sendable {
    public var factor: Double
    public var after: Int

    /// Division by `factor` an epoch after epoch `after`.
    public init(factor: Double, after: Int) {
      self.factor = factor
      self.after = after
    }
  }

  /// The learning rate is divided by `factor` after `patience` validations in a row none of which is below the best loss before it by more
  /// than the share `threshold`.
  public struct Plateau: Equatable, Sendable {
    public var factor: Double
    public var patience: Int
    public var threshold: Double

    /// Division by `factor` after `patience` validations without progress by the share `threshold`.
    public init(factor: Double, patience: Int, threshold: Double) {
      self.factor = factor
      self.patience = patience
      self.threshold = threshold
    }
  }

  /// The learning rate falls along half a cosine over all updates of the run, to the share `final`.
  public struct Cosine: Equatable, Sendable {
    public var final: Double

    /// From the share 1 at the first update to `final` at the last.
    public init(final: Double) { self.final = final }
  }

  /// The run ends after `patience` validations in a row without a new best one.
  public struct EarlyStopping: Equatable, Sendable {
    public var patience: Int

    /// The end after `patience` validations without a new best one.
    public init(patience: Int) { self.patience = patience }
  }

  /// Section `evaluation`.
  public struct Evaluation: Equatable, Sendable {
    public var statistics = EvaluationStatistics.population
    public var framesPerStep = 100
    /// nil: the whole training set.
    public var populationBatches: Int?
    public var everyEpochs = 1
    /// nil: the weights alone are evaluated.
    public var average: Average?
    /// nil: the batch size (`auto`).
    public var streams: Int?
  }

  /// An exponential average of the weights after each update.
  public struct Average: Equatable, Sendable {
    public var decay: Double

    /// The weights of an update earlier count `decay` times as much.
    public init(decay: Double) { self.decay = decay }
  }

  /// Which statistics stand in for those of a batch.
  public enum EvaluationStatistics: String, CaseIterable, Sendable {
    /// Exponential averages of training.
    case running
    /// Of passes over the training set, all frames together.
    case population
    /// Of the same passes, with the mean over groups of their variances.
    case averaged
    /// Of the evaluation minibatch itself.
    case batch

    /// The variance that passes over the training set give; nil where there are none.
    var populationVariance: PopulationVariance? {
      switch self {
      case .running, .batch: nil
      case .population: .pooled
      case .averaged: .averaged
      }
    }

    /// What a checkpoint holds that was written with these statistics.
    var stored: CheckpointState.Statistics {
      switch self {
      // A minibatch without statistics of its own takes the running ones.
      case .running, .batch: .running
      case .population: .population
      case .averaged: .averaged
      }
    }
  }

  /// Section `checkpoint`.
  public struct Checkpoint: Equatable, Sendable {
    public var everySteps: Int?
    public var everyMinutes: Double? = 10
    public var keep = 3
    public var onError = OnError.stop
  }

  /// What a run does when a checkpoint or its metrics cannot be written.
  public enum OnError: String, CaseIterable, Sendable {
    case stop, `continue`
  }

  /// Section `replica_check`.
  public struct ReplicaCheck: Equatable, Sendable {
    /// nil: never.
    public var everySteps: Int? = 100
    public var heal = false
  }

  /// Section `watchdog`; nil: never.
  public struct Watchdog: Equatable, Sendable {
    public var warnSeconds: Double? = 60
    public var abortSeconds: Double? = 600
  }

  /// Section `logging`.
  public struct Logging: Equatable, Sendable {
    public var tensorBoard = true
  }

  /// Section `compute`.
  public struct Compute: Equatable, Sendable {
    public var products = Products.automatic
  }

  /// Who multiplies large matrices.
  public enum Products: String, CaseIterable, Sendable {
    /// What is faster on the processor.
    case automatic
    case own, blas
  }

  /// Section `communication`.
  public struct Communication: Equatable, Sendable {
    public var gradients = WireFormat.float32
    public var reproducible = true
    public var overlap = true
    public var bucketMegabytes = 25.0
  }

  /// The format of numbers on the wire.
  public enum WireFormat: String, CaseIterable, Sendable {
    case float32, float16, bfloat16
  }
}
