/// One place in a recurrent layer where features are normalised.
public struct NormalizationSite: Equatable, Sendable {
  /// What is normalised.
  public enum Place: Sendable {
    /// `W_x x_t`.
    case inputProduct
    /// `W_h h_{t-1}`.
    case recurrentProduct
    /// `W_x x_t + W_h h_{t-1}`.
    case sum
    /// `c_t`, where the output is made of it.
    case cell
    /// `h_t`.
    case output
  }

  public let place: Place
  /// Number of features: G of a product, H of a state.
  public let features: Int
  /// Whether β is trained; where it is not, it is 0.
  public let hasBeta: Bool

  /// Name in tensor names, as `input_norm`.
  public var name: String {
    switch place {
    case .inputProduct: "input_norm"
    case .recurrentProduct: "recurrent_norm"
    case .sum: "preactivation_norm"
    case .cell: "cell_norm"
    case .output: "hidden_norm"
    }
  }

  /// Whether all time steps are known before the recurrence runs.
  public var precedesRecurrence: Bool {
    switch place {
    case .inputProduct: true
    case .recurrentProduct, .sum, .cell, .output: false
    }
  }

  /// Whether β is added to the preactivation, so that it takes the place of the layer's bias.
  public var replacesBias: Bool {
    switch place {
    case .inputProduct, .recurrentProduct, .sum: hasBeta
    case .cell, .output: false
    }
  }

  /// The sites of every layer of `configuration`.
  public static func sites(of configuration: NetworkConfiguration) -> [NormalizationSite] {
    let (G, H) = (configuration.gateSize, configuration.hiddenSize)
    switch configuration.normalization.placement {
    case .none: return []
    case .input: return [NormalizationSite(place: .inputProduct, features: G, hasBeta: true)]
    case .preactivation: return [NormalizationSite(place: .sum, features: G, hasBeta: true)]
    case .state: return [NormalizationSite(place: .recurrentProduct, features: G, hasBeta: true)]
    case .separate:
      let products = [
        NormalizationSite(place: .inputProduct, features: G, hasBeta: false),
        NormalizationSite(place: .recurrentProduct, features: G, hasBeta: false),
      ]
      return configuration.cell.shape.hasCell ? products + [NormalizationSite(place: .cell, features: H, hasBeta: true)] : products
    case .hidden: return [NormalizationSite(place: .output, features: H, hasBeta: true)]
    case .whitenedInput: return []
    }
  }
}
