extension TrainingConfiguration {
  /// Refuses what a configuration may say but the program does not do yet.
  public func checkSupported() throws(ConfigurationError) {
    switch normalization.placement {
    case .none, .input, .preactivation, .state, .separate, .hidden: break
    case .whitenedInput:
      throw unsupported(
        "normalization.placement", normalization.placement.rawValue, supported: "every other placement")
    }
  }

  private func unsupported(_ key: String, _ value: String, supported: String) -> ConfigurationError {
    ConfigurationError(.unsupported, key: key, found: "\(value) is not supported yet", allowed: "\(supported), for now")
  }
}
