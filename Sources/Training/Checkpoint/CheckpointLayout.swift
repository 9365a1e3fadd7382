/// Names in a run's `checkpoints` directory. What is not whole has a name that begins with a point, which no checkpoint has.
enum CheckpointLayout {
  static let directory = "checkpoints"
  static let model = "model.safetensors"
  static let training = "training.safetensors"
  static let state = "state.json"
  static let latest = "latest"
  static let best = "best"

  /// `step-00001234`; steps of more than eight digits take what they need.
  static func name(step: Int) -> String {
    precondition(step >= 0, "a negative step")
    let digits = String(step)
    return "step-" + String(repeating: "0", count: max(0, 8 - digits.count)) + digits
  }

  /// The step of a checkpoint's name; nil for any other name.
  static func step(name: String) -> Int? {
    guard name.hasPrefix("step-"), let step = Int(name.dropFirst(5)), step >= 0, self.name(step: step) == name else { return nil }
    return step
  }

  /// Why a directory or link that is no checkpoint stands in `checkpoints`.
  enum LeftOver: String, CaseIterable {
    /// A checkpoint or link that was being written.
    case partial
    /// A checkpoint that was being removed.
    case removed
    /// A checkpoint whose place a new one of the same step was taking.
    case replaced
  }

  /// The temporary name of the checkpoint or link `name`.
  static func temporary(_ name: String, _ kind: LeftOver) -> String { ".\(name).\(kind.rawValue)" }

  /// What a temporary name stands for; nil for any other name.
  static func leftOver(_ temporaryName: String) -> (name: String, kind: LeftOver)? {
    for kind in LeftOver.allCases where temporaryName.hasPrefix(".") && temporaryName.hasSuffix(".\(kind.rawValue)") {
      let name = String(temporaryName.dropFirst().dropLast(kind.rawValue.count + 1))
      if step(name: name) != nil || name == latest || name == best { return (name, kind) }
    }
    return nil
  }
}
