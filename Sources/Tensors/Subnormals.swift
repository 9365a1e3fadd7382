import CKernels

/// Numbers below the least normal one (1.2e-38 in single precision), on which processors are many times slower.
public enum Subnormals {
  /// Whether this thread, and threads that it starts later, take such numbers for zero, as operands and as results, in every kernel set alike.
  /// - Returns: whether they did before.
  @discardableResult
  public static func flush(_ isOn: Bool) -> Bool { lockstep_flush_subnormals(isOn ? 1 : 0) != 0 }
}
