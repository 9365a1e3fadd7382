import Tensors

extension TrainingConfiguration.WireFormat {
  /// The format of 16 bits; nil for single precision.
  var half: HalfFormat? {
    switch self {
    case .float32: nil
    case .float16: .float16
    case .bfloat16: .bfloat16
    }
  }
}
