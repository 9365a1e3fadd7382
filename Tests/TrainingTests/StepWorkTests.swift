import NeuralNetwork
import Testing
import Training

/// Operations, bytes and limits against figures worked out by hand.
@Suite struct StepWorkTests {
  /// 2 layers of 2 LSTM cells (G = 8) over an embedding of 3 columns, 10 classes.
  static let languageModel = NetworkConfiguration(
    vocabularySize: 10, embeddingSize: 3, cell: .lstm, layers: 2, hiddenSize: 2,
    normalization: NormalizationConfiguration(placement: .input), steps: 4)
  /// 4 steps of 2 sequences.
  static let window = StepSize(minibatches: 1, frames: 8, sequences: 2, targets: 8, steps: 4, embeddingRows: 5)

  func work(
    _ network: NetworkConfiguration, _ size: StepSize, carriesState: Bool = true, _ method: OptimizationMethod = .sgd, momentum: Double = 0,
    ranks: Int = 2
  ) -> StepWork {
    StepWork(network, size, carriesState: carriesState, method: method, momentum: momentum, ranks: ranks)
  }

  func count(_ work: StepWork, _ phase: Phase) -> Double { work.products[phase] ?? 0 }

  @Test func productsOfALanguageModel() {
    let work = work(Self.languageModel, Self.window)
    // Forward 2 · 8 · 8 · (3 + 2), and as much for the gradients of the inputs, of which the lowest is the embedding's.
    #expect(count(work, .inputProduct) == 1280)
    // Two layers of 2 · (8 · 2) a row: 8 rows forward, because the state before the first step is carried, 6 backward.
    #expect(count(work, .recurrence) == 2 * 32 * (8 + 6))
    // Forward, gradient and weights: 2 · 8 · 10 · 2 each.
    #expect(count(work, .softmax) == 960)
    // Input weights as forward, 640; recurrent weights 2 · 2 · 8 · 16.
    #expect(count(work, .weightGradients) == 640 + 512)
    #expect(work.operations == 1280 + 896 + 960 + 1152)
  }

  @Test func productsOfABidirectionalModel() {
    // Two layers of 2 + 2 LSTM cells over 3 features, 5 classes; utterances of 4 and 2 frames.
    let network = NetworkConfiguration(
      input: .features(3), classes: 5, cell: .lstm, layers: 2, hiddenSize: 2, isBidirectional: true,
      normalization: NormalizationConfiguration(placement: .none), steps: 4)
    let work = work(network, StepSize(minibatches: 1, frames: 6, sequences: 2, targets: 6, steps: 4), carriesState: false)
    // Both directions: the lower layer forward only, 2 · 2 · 6 · 8 · 3; the upper one, of 4 inputs, both ways, 2 · 2 · 2 · 6 · 8 · 4.
    #expect(count(work, .inputProduct) == 576 + 1536)
    // 4 of the 6 frames have one before them: 2 · 2 · 8 · 2 a row, layer and way.
    #expect(count(work, .recurrence) == 2 * 64 * (4 + 4))
    #expect(count(work, .softmax) == 720)
    #expect(count(work, .weightGradients) == 4 * (144 + 64) + 4 * (192 + 64))
  }

  @Test func oneTargetASequence() {
    let network = NetworkConfiguration(
      input: .features(3), classes: 5, cell: .lstm, layers: 1, hiddenSize: 2, isBidirectional: true,
      normalization: NormalizationConfiguration(placement: .none), steps: 4)
    let work = work(network, StepSize(minibatches: 1, frames: 6, sequences: 2, targets: 2, steps: 4), carriesState: false)
    // Three products of 2 sequences, 5 classes and 4 columns.
    #expect(count(work, .softmax) == 3 * 2 * 2 * 5 * 4)
  }

  @Test func aPlainCellHasAQuarterOfTheGates() {
    var network = Self.languageModel
    network.cell = .rnn
    let work = work(network, Self.window)
    #expect(count(work, .recurrence) == 896 / 4 && count(work, .softmax) == 960)
  }

  @Test func bytes() {
    // Weights 8 · 3 + 8 · 2, γ and β 16; 8 · 2 + 8 · 2 and 16; output 20 + 10; an embedding of 30, of which 5 rows have a gradient.
    let dense = 56 + 48 + 30, gradient = Double(dense + 15), all = Double(dense + 30)
    let plain = work(Self.languageModel, Self.window)
    #expect(plain.gradientBytes == 4 * gradient && plain.reductionBytes == 6 * gradient)
    // Gradient read, parameters read and written.
    #expect(plain.optimizerBytes == 12 * gradient)
    // Momentum moves rows without a gradient too.
    #expect(work(Self.languageModel, Self.window, momentum: 0.9).optimizerBytes == 4 * gradient + 16 * all)
    #expect(work(Self.languageModel, Self.window, .adam).optimizerBytes == 4 * gradient + 24 * all)
    #expect(work(Self.languageModel, Self.window, ranks: 1).reductionBytes == 0)

    // Tied, an embedding of 2 columns is the output layer's weights: weights 8 · 2 + 8 · 2 and γ, β of two layers, and 20 + 10, all dense.
    var tied = Self.languageModel
    tied.input = .tokens(embeddingSize: 2)
    tied.tiesEmbedding = true
    let window = StepSize(minibatches: 1, frames: 8, sequences: 2, steps: 4)
    #expect(work(tied, window).gradientBytes == 4 * (48 + 48 + 30) && work(tied, window).optimizerBytes == 12 * (48 + 48 + 30))
  }

  @Test func limit() {
    let work = work(Self.languageModel, Self.window)
    let limit = StepLimit(work, productRate: 1000, bandwidth: 149 * 4, ranks: 2)
    #expect(limit.products == 4.288 && limit.phases[.softmax] == 0.96)
    // Both replicas move 12 bytes an element through a memory of 4 bytes an element a second; of the reduction, 6.
    #expect(limit.optimizer == 6 && limit.reduction == 3 && limit.seconds == 13.288)
    #expect(limit.phases[.normalization] == nil && limit.phases[.gradientExchange] == 3)
    var measured = Array(repeating: 0.5, count: Phase.allCases.count)
    measured[Phase.optimizer.rawValue] = 6.25
    #expect(limit.largestExcess(measured).seconds == 0.5)
    measured[Phase.softmax.rawValue] = 2
    #expect(limit.largestExcess(measured).phase == .softmax && limit.largestExcess(measured).seconds == 1.04)
    let mean = StepLimit(meanOf: [limit, StepLimit(work, productRate: 500, bandwidth: 149 * 4, ranks: 2)])
    #expect(mean.products == 4.288 * 1.5 && mean.optimizer == 6 && mean.reduction == 3)
  }
}
