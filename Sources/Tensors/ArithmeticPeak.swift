import CKernels

/// The arithmetic of the cores of this process's threads by itself, without memory.
public enum ArithmeticPeak {
  /// Runs `rounds` of independent multiplications and additions in registers, on each thread.
  /// - Returns: the number of floating-point operations done, and their result, a finite number.
  public static func multiplyAdds(rounds: Int) -> (operations: Double, result: Float) {
    precondition(rounds >= 0, "\(rounds) rounds")
    var result: Float = 0
    // The chains approach 0.001 / (1 − 0.999): neither denormal nor infinite after any number of rounds.
    // SAFETY: the kernel writes one element through the pointer before it returns.
    let operations = unsafe lockstep_multiply_adds(rounds, 0.999, 0.001, &result)
    return (operations, result)
  }
}
