import Tensors

/// The rule that turns a gradient into an update.
public enum OptimizationMethod: String, Sendable, CaseIterable {
  case sgd, adam, rmsprop

  /// What keeps the divisor from 0 where nothing else is configured: values of Kingma & Ba 2015 and of Graves 2013; nil: no divisor.
  public var epsilon: Double? {
    switch self {
    case .sgd: nil
    case .adam: 1e-8
    case .rmsprop: 1e-4
    }
  }
}

/// Updates all parameters from the reduced gradient; holds what the rule remembers.
///
/// The gradient of an embedding of its own comes as the rows that occurred; all other rows have gradient 0.
public final class Optimizer<S: Scalar> {
  public let method: OptimizationMethod
  private let momentum: S
  private let decayRate: Double
  private let epsilon: S
  private let weightDecay: Double
  /// The dense part's weight matrices, on which `weightDecay` acts.
  private let weights: [Range<Int>]
  private let layout: ParameterLayout
  /// What the rule remembers, by name, each in the layout of the parameters.
  public let state: [(name: String, values: VectorView<S>)]
  private let zeroRow: VectorView<S>
  private let tokens: Int

  // Kingma & Ba 2015 give these values.
  private static var adamBeta1: Double { 0.9 }
  private static var adamBeta2: Double { 0.999 }

  /// - momentum: m of SGD and RMSProp; 0 for Adam, which has its own.
  /// - decayRate: ρ of RMSProp, the share of the mean square that stays, at least 0 and below 1.
  /// - weightDecay: λ of `θ ← θ − ηλθ`, which acts beside the update (Loshchilov & Hutter 2019) on weight matrices and on the embedding's rows
  ///   that have a gradient.
  /// - epsilon: what Adam adds to the root and RMSProp under it; nil for the method's own.
  public init(
    _ method: OptimizationMethod, momentum: Double, decayRate: Double, weightDecay: Double = 0, epsilon: Double? = nil,
    configuration: NetworkConfiguration, layout: ParameterLayout
  ) {
    self.weightDecay = weightDecay
    let dense = layout.tensors.filter { $0.range.upperBound <= layout.embedding.lowerBound }
    weights = dense.filter { $0.role.isWeightMatrix }.map(\.range)
    self.epsilon = S(epsilon ?? method.epsilon ?? 0)
    self.method = method
    self.momentum = S(momentum)
    self.decayRate = decayRate
    self.layout = layout
    let names: [String] =
      switch method {
      case .sgd: momentum > 0 ? ["velocity"] : []
      case .adam: ["first_moment", "second_moment"]
      case .rmsprop: ["mean_square", "velocity"]
      }
    state = names.map { ($0, VectorView(zeros: layout.count)) }
    zeroRow = VectorView(zeros: configuration.embeddingSize)
    tokens = configuration.sparseRows
  }

  /// `θ` moves by the gradient `gradientScale · g`.
  /// - gradient: [dense part up to the embedding | rows of the embedding's gradient].
  /// - embeddingRows: token of each row of the embedding's gradient, ascending.
  /// - step: number of the update, from 1.
  @specialized(where S == Float)
  public func update(
    _ parameters: VectorView<S>, gradient: VectorView<S>, embeddingRows: [Int32], gradientScale: Double, learningRate: Double,
    step: Int
  ) {
    let dense = 0..<layout.embedding.lowerBound, s = S(gradientScale), rate = S(learningRate)
    let kept = S(1 - learningRate * weightDecay)
    if weightDecay > 0 { for range in weights { parameters[range].scale(by: kept) } }
    apply(parameters, dense, gradient[dense], s, rate, step)
    let E = zeroRow.count
    func row(_ token: Int) -> Range<Int> {
      let first = layout.embedding.lowerBound + token * E
      return first..<first + E
    }
    if weightDecay > 0 {
      // The rows that are handed over may be more than those that occurred.
      for (i, token) in embeddingRows.enumerated() where !gradient[row(i)].isZero { parameters[row(Int(token))].scale(by: kept) }
    }
    if method == .sgd && state.isEmpty {
      for (i, token) in embeddingRows.enumerated() {
        apply(parameters, row(Int(token)), gradient[row(i)], s, rate, step)
      }
      return
    }
    // What the rule remembers moves rows without a gradient too.
    var next = 0
    for token in 0..<tokens {
      let hasGradient = next < embeddingRows.count && Int(embeddingRows[next]) == token
      apply(parameters, row(token), hasGradient ? gradient[row(next)] : zeroRow, s, rate, step)
      if hasGradient { next += 1 }
    }
  }

  /// Sets to zero what the rule remembers of some parameters.
  public func forget(_ range: Range<Int>) {
    for (_, values) in state { values[range].fill(0) }
  }

  private func apply(
    _ parameters: VectorView<S>, _ range: Range<Int>, _ gradient: VectorView<S>, _ s: S, _ rate: S, _ step: Int
  ) {
    let theta = parameters[range]
    switch method {
    case .sgd where state.isEmpty: theta.updateByGradient(gradient, gradientScale: s, learningRate: rate)
    case .sgd:
      theta.updateByMomentum(
        gradient, gradientScale: s, learningRate: rate, momentum: momentum, velocity: state[0].values[range])
    case .adam:
      theta.updateByAdam(
        gradient, gradientScale: s, learningRate: rate, beta1: Self.adamBeta1, beta2: Self.adamBeta2, epsilon: epsilon,
        step: step, firstMoment: state[0].values[range], secondMoment: state[1].values[range])
    case .rmsprop:
      theta.updateByRMSProp(
        gradient, gradientScale: s, learningRate: rate, momentum: momentum, decay: decayRate,
        epsilon: epsilon, meanSquare: state[0].values[range], velocity: state[1].values[range])
    }
  }
}
