extension TrainingConfiguration {
  /// Refuses what a configuration may say but the program does not do yet.
  public func checkSupported() throws(ConfigurationError) {
    switch normalization.placement {
    case .none, .input, .preactivation: break
    case .separate, .hidden, .whitenedInput:
      throw unsupported(
        "normalization.placement", normalization.placement.rawValue, supported: "none, input or preactivation")
    }
  }

  private func unsupported(_ key: String, _ value: String, supported: String) -> ConfigurationError {
    ConfigurationError(.unsupported, key: key, found: "\(value) is not supported yet", allowed: "\(supported), for now")
  }
}
