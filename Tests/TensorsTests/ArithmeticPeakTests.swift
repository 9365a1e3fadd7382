import Tensors
import Testing

@Suite struct ArithmeticPeakTests {
  /// Every chain runs towards 0.001 / (1 − 0.999) = 1, so the sum of all is their number: none of the operations that are counted was left
  /// out.
  @Test func allOperationsAreDone() {
    let rounds = 20_000, (operations, result) = ArithmeticPeak.multiplyAdds(rounds: rounds)
    let chains = operations / Double(2 * rounds)
    #expect(chains >= 4 && chains == chains.rounded())
    // 0.999 in single precision is off by 1e-8 of 0.001, and each of the last thousand steps rounds by 6e-8.
    #expect(abs(Double(result) / chains - 1) < 1e-3)
    #expect(ArithmeticPeak.multiplyAdds(rounds: 0).operations == 0)
  }
}
