import Foundation
import Tensors
import Testing

@Suite struct SoftmaxTests {
  private func row(_ x: [Double], _ bias: [Double]) -> (p: [Double], logSum: Double) {
    let y = zip(x, bias).map { $0 + $1 }, largest = y.max() ?? 0
    let sum = y.reduce(0) { $0 + exp($1 - largest) }
    return (y.map { exp($0 - largest) / sum }, log(sum) + largest)
  }

  // One class, fewer than a vector, whole vectors and a rest, many.
  @Test(arguments: [1, 2, 15, 16, 17, 100, 1000])
  func lossAndGradient(_ V: Int) {
    func check<S: Scalar>(_ type: S.Type) {
      var random = TestRandom(8)
      let B = 5, x = random.values(B * V, scale: 6), bias = random.values(V)
      let targets: [Int32] = [0, Int32(V - 1), -1, Int32(V / 2), -1], scale = 0.25
      let logits = MatrixView<S>(x, B, V)
      let (loss, errorsToo) = softmaxCrossEntropyWithGradient(
        logits: logits, bias: VectorView(doubles: bias), targets: VectorView(targets), gradientScale: S(scale))
      let alone = softmaxCrossEntropy(logits: MatrixView<S>(x, B, V), bias: VectorView(doubles: bias), targets: VectorView(targets))
      var wanted = 0.0, errors = 0
      for b in 0..<B {
        let (p, logSum) = row(Array(x[b * V..<(b + 1) * V]), bias), t = Int(targets[b])
        if t >= 0 {
          wanted += logSum - x[b * V + t] - bias[t]
          errors += p.firstIndex(of: p.max() ?? 0) == t ? 0 : 1
        }
        for v in 0..<V {
          let gradient = t < 0 ? 0 : scale * (p[v] - (v == t ? 1 : 0))
          // The sum errs by one rounding an addition in each of 16 lanes, the exponential by 6 half units.
          #expect(isClose(type, Double(logits[b, v]), gradient, size: scale, roundings: 16 + Double(V) / 16), "row \(b) class \(v)")
        }
      }
      #expect(isClose(type, loss, wanted, size: 40, roundings: 16 + Double(V) / 16))
      #expect(alone.loss == loss && alone.errors == errors && errorsToo == errors)
    }
    check(Float.self)
    check(Double.self)
  }

  /// The first of the largest logits is the arg max.
  @Test func errorsWithTies() {
    for (target, errors) in [(Int32(0), 1), (1, 0), (2, 1), (3, 1)] {
      let logits = MatrixView<Float>([0, 5, 1, 5], 1, 4), bias = VectorView<Float>(zeros: 4), targets = VectorView([target])
      #expect(softmaxCrossEntropy(logits: logits, bias: bias, targets: targets).errors == errors)
      #expect(softmaxCrossEntropyWithGradient(logits: logits, bias: bias, targets: targets, gradientScale: 1).errors == errors)
    }
  }

  @Test func logarithms() {
    var random = TestRandom(9)
    let x = random.values(3 * 37, scale: 5), bias = random.values(37), logits = MatrixView<Double>(x, 3, 37)
    logSoftmax(logits: logits, bias: VectorView(doubles: bias))
    for b in 0..<3 {
      let (p, _) = row(Array(x[b * 37..<(b + 1) * 37]), bias)
      // Double precision, with an exponential that errs by a few roundings.
      for v in 0..<37 { #expect(abs(logits[b, v] - log(p[v])) <= 1e-12 * (1 + abs(log(p[v])))) }
    }
  }

  @Test func hugeLogits() {
    let x: [Double] = [1e4, -1e4, 9999, 0, -3e38, 3e38, 0, 0, 0, 88, -88, 0]
    let logits = MatrixView<Float>(x, 3, 4)
    let targets = VectorView<Int32>([0, 1, 1])
    let (loss, _) = softmaxCrossEntropyWithGradient(logits: logits, bias: VectorView(zeros: 4), targets: targets, gradientScale: 1)
    let p = 1 / (1 + exp(-1.0))
    #expect(abs(Double(logits[0, 0]) - (p - 1)) < 1e-6 && abs(Double(logits[0, 2]) - (1 - p)) < 1e-6 && logits[0, 3] < 1e-37)
    #expect(logits[1, 1] == 0 && logits[1, 0] < 1e-37)
    #expect(abs(Double(logits[2, 1])) < 1e-6)
    #expect(abs(loss - (log(1 + exp(-1.0)))) < 1e-6)
    #expect(logits.vector.firstNotFinite == nil)
  }

  @Test func notANumberIsNotHidden() {
    for V in [3, 40] {
      for place in [0, V - 1] {
        let logits = MatrixView<Float>(zeros: 1, V)
        logits[0, place] = .nan
        let (loss, _) = softmaxCrossEntropyWithGradient(logits: logits, bias: VectorView(zeros: V), targets: VectorView([1]), gradientScale: 1)
        #expect(loss.isNaN)
        #expect((0..<V).allSatisfy { logits[0, $0].isNaN })
      }
    }
  }

  /// Of equal logits the first counts as the prediction.
  @Test func tiesGoToTheFirst() {
    let logits = MatrixView<Float>(zeros: 2, 20)
    #expect(softmaxCrossEntropy(logits: logits, bias: VectorView(zeros: 20), targets: VectorView([0, 1])).errors == 1)
  }

  @Test func aTargetOutsideTheClassesIsAMistake() async {
    await #expect(processExitsWith: .failure) {
      _ = softmaxCrossEntropy(logits: MatrixView<Float>(zeros: 1, 3), bias: VectorView(zeros: 3), targets: VectorView([3]))
    }
  }
}
