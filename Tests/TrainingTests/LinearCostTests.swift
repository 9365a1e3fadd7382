import Testing
import Training

@Suite struct LinearCostTests {
  @Test func findsTheLineThatSamplesLieOn() {
    let line = LinearCost(fitting: [(0, 2), (4, 4), (16, 10)])
    // The normal equations lose a few bits.
    #expect(abs(line.latency - 2) < 1e-12 && abs(line.secondsPerByte - 0.5) < 1e-12)
    #expect(abs(line.seconds(100) - 52) < 1e-10)
  }

  @Test func takesTheEdgeWhereTheLineWouldBeNegative() {
    // Falling: the constant with Σ (a/t − 1)² least is Σ 1/t / Σ 1/t² = 0.75 / 0.3125.
    let flat = LinearCost(fitting: [(10, 4), (20, 2)])
    #expect(abs(flat.latency - 2.4) < 1e-12 && flat.secondsPerByte == 0)
    // The line through (1, 1) and (2, 4) starts below 0: b = Σ x/t / Σ (x/t)² = 1.5 / 1.25.
    let steep = LinearCost(fitting: [(1, 1), (2, 4)])
    #expect(steep.latency == 0 && abs(steep.secondsPerByte - 1.2) < 1e-12)
  }

  @Test func fewSamplesAreEnough() {
    #expect(LinearCost(fitting: [(64, 3)]) == LinearCost(latency: 3, secondsPerByte: 0))
    let same = LinearCost(fitting: [(64, 2), (64, 4)])
    #expect(same.secondsPerByte == 0 && same.latency > 2 && same.latency < 4)
  }

  /// No line nearby has smaller relative errors, with samples over six orders of magnitude.
  @Test func noLineIsBetter() {
    let noise = [1.1, 0.93, 1.02, 0.88, 1.07, 0.97]
    let samples = noise.enumerated().map { i, factor in
      let bytes = [8.0, 512, 4096, 65536, 1e6, 2e7][i]
      return (bytes: bytes, seconds: (5e-6 + bytes / 3e9) * factor)
    }
    func errors(_ line: LinearCost) -> Double {
      samples.reduce(0) { $0 + (line.seconds($1.bytes) / $1.seconds - 1) * (line.seconds($1.bytes) / $1.seconds - 1) }
    }
    let best = LinearCost(fitting: samples)
    for (a, b) in [(1.001, 1), (0.999, 1), (1, 1.001), (1, 0.999), (1.001, 0.999), (0.999, 1.001)] {
      #expect(errors(LinearCost(latency: best.latency * a, secondsPerByte: best.secondsPerByte * b)) > errors(best))
    }
    // Within the noise of what they were made from.
    #expect(abs(best.latency / 5e-6 - 1) < 0.12 && abs(best.secondsPerByte * 3e9 - 1) < 0.12)
  }
}
