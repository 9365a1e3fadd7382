import Foundation
import Tensors
import Testing

@Suite struct SoftmaxTests {
  private func row(_ x: [Double], _ bias: [Double]) -> (p: [Double], logSum: Double) {
    let y = zip(x, bias).map { $0 + $1 }, largest = y.max() ?? 0
    let sum = y.reduce(0) { $0 + exp($1 - largest) }
    return (y.map { exp($0 - largest) / sum }, log(sum) + largest)
  }

  /// Loss and gradient of row-major logits [B, V], which become the gradient, with classes in blocks of `block`; and the sum over frames.
  private func blocked<S: Scalar>(
    _ logits: MatrixView<S>, _ bias: VectorView<S>, _ targets: VectorView<Int32>, scale: S = 1, block: Int, rowSums: VectorView<S>? = nil
  ) -> (loss: Double, errors: Int) {
    let (B, V) = (logits.rows, logits.columns), starts = Array(stride(from: 0, to: V, by: block))
    let softmax = BlockedSoftmax<S>(targets: targets, classes: V, memory: .init(capacity: B + 3, blocks: starts.count))
    let blocks = starts.map { first in
      let part = MatrixView<S>(zeros: min(block, V - first), B)
      for v in 0..<part.rows { for b in 0..<B { part[v, b] = logits[b, first + v] } }
      return part
    }
    for (i, part) in blocks.enumerated() {
      softmax.add(block: i, logits: part, bias: bias[starts[i]..<starts[i] + part.rows], first: starts[i])
    }
    let sums = rowSums ?? VectorView<S>(zeros: V), found = softmax.loss
    for (i, part) in blocks.enumerated() {
      softmax.differentiate(
        block: i, logits: part, first: starts[i], gradientScale: scale, rowSums: sums[starts[i]..<starts[i] + part.rows],
        accumulate: rowSums != nil)
      for v in 0..<part.rows { for b in 0..<B { logits[b, starts[i] + v] = part[v, b] } }
    }
    return found
  }

  // One class, one block, several; frames fewer than a vector, whole strips and a rest.
  @Test(arguments: [(1, 5, 240), (2, 5, 1), (17, 64, 5), (100, 21, 48), (100, 133, 100), (1000, 5, 240)])
  func lossAndGradient(_ V: Int, _ B: Int, _ block: Int) {
    func check<S: Scalar>(_ type: S.Type) {
      var random = TestRandom(8)
      let x = random.values(B * V, scale: 6), bias = random.values(V)
      let targets = (0..<B).map { [0, Int32(V - 1), -1, Int32(V / 2), -1, Int32($0 % V)][$0 % 6] }, scale = 0.25
      let logits = MatrixView<S>(x, B, V), rowSums = VectorView<S>(doubles: bias)
      let (loss, errorsToo) = blocked(
        logits, VectorView(doubles: bias), VectorView(targets), scale: S(scale), block: block, rowSums: rowSums)
      var wanted = 0.0, errors = 0, sums = bias
      for b in 0..<B {
        let (p, logSum) = row(Array(x[b * V..<(b + 1) * V]), bias), t = Int(targets[b])
        if t >= 0 {
          wanted += logSum - x[b * V + t] - bias[t]
          errors += p.firstIndex(of: p.max() ?? 0) == t ? 0 : 1
        }
        for v in 0..<V {
          let gradient = t < 0 ? 0 : scale * (p[v] - (v == t ? 1 : 0))
          sums[v] += gradient
          // The sum errs by one rounding an addition, within a block and over blocks; each of three exponentials by 6 half units.
          #expect(isClose(type, Double(logits[b, v]), gradient, size: scale, roundings: 32 + Double(V)), "row \(b) class \(v)")
        }
      }
      #expect(isClose(type, loss, wanted, size: 8 * Double(B), roundings: 32 + Double(V)))
      #expect(errorsToo == errors)
      for v in 0..<V { #expect(isClose(type, Double(rowSums[v]), sums[v], size: 1 + Double(B) * scale, roundings: 32 + Double(V + B))) }
    }
    check(Float.self)
    check(Double.self)
  }

  /// The first of the largest logits is the arg max.
  @Test func errorsWithTies() {
    for (target, errors) in [(Int32(0), 1), (1, 0), (2, 1), (3, 1)] {
      for block in 1...4 {
        let logits = MatrixView<Float>([0, 5, 1, 5], 1, 4)
        #expect(blocked(logits, VectorView(zeros: 4), VectorView([target]), block: block).errors == errors, "blocks of \(block)")
      }
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
    let (loss, _) = blocked(logits, VectorView(zeros: 4), targets, block: 3)
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
        let (loss, _) = blocked(logits, VectorView(zeros: V), VectorView([1]), block: 16)
        #expect(loss.isNaN)
        #expect((0..<V).allSatisfy { logits[0, $0].isNaN })
      }
    }
  }

  /// Of equal logits the first counts as the prediction.
  @Test func tiesGoToTheFirst() {
    let logits = MatrixView<Float>(zeros: 2, 20)
    #expect(blocked(logits, VectorView(zeros: 20), VectorView([0, 1]), block: 6).errors == 1)
  }

  @Test func aTargetOutsideTheClassesIsAMistake() async {
    await #expect(processExitsWith: .failure) {
      _ = BlockedSoftmax<Float>(targets: VectorView([3]), classes: 3, memory: .init(capacity: 1, blocks: 1))
    }
  }
}
