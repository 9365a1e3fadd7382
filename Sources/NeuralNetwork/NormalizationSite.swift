/// One place in a recurrent layer where features are normalised.
public struct NormalizationSite: Equatable, Sendable {
  /// Name in tensor names: `input_norm`, `preactivation_norm`.
  public let name: String
  /// Number of features.
  public let features: Int
  /// Whether β is trained; where it is not, it is 0.
  public let hasBeta: Bool
  /// Whether the statistics of all time steps are known before the recurrence runs.
  public let precedesRecurrence: Bool

  /// The sites of every layer of `configuration`.
  public static func sites(of configuration: NetworkConfiguration) -> [NormalizationSite] {
    let G = configuration.gateSize
    switch configuration.normalization.placement {
    case .none: return []
    case .input: return [NormalizationSite(name: "input_norm", features: G, hasBeta: true, precedesRecurrence: true)]
    case .preactivation:
      return [NormalizationSite(name: "preactivation_norm", features: G, hasBeta: true, precedesRecurrence: false)]
    case .separate, .hidden, .whitenedInput:
      preconditionFailure("placement \(configuration.normalization.placement.rawValue) is refused by the configuration")
    }
  }
}
