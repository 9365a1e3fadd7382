import Tensors
import Testing

@Suite struct ElementwiseTests {
  @Test(arguments: [0, 1, 5, 16, 100])
  func operationsOnVectors(_ n: Int) {
    func check<S: Scalar>(_ type: S.Type) {
      var random = TestRandom(9)
      let a = random.values(n), b = random.values(n)
      func vector() -> VectorView<S> { VectorView(doubles: a) }
      let other = VectorView<S>(doubles: b), sum = vector(), scaled = vector(), blended = vector()
      sum.add(other)
      scaled.scale(by: 3)
      blended.blend(keep: 0.75, weight: 0.25, other)
      for i in 0..<n {
        #expect(isClose(type, Double(sum[i]), a[i] + b[i], size: 2, roundings: 1))
        #expect(isClose(type, Double(scaled[i]), 3 * a[i], size: 3, roundings: 1))
        #expect(isClose(type, Double(blended[i]), 0.75 * a[i] + 0.25 * b[i], size: 1, roundings: 3))
      }
    }
    check(Float.self)
    check(Double.self)
  }

  /// Sizes around the squares that are transposed at a time.
  @Test(arguments: [(1, 1), (3, 40), (16, 16), (17, 15), (33, 64), (100, 31)])
  func transposes(_ rows: Int, _ columns: Int) {
    func check<S: Scalar>(_ type: S.Type) {
      let source = MatrixView<S>(zeros: rows, columns + 3).columns(0..<columns), room = MatrixView<S>(zeros: columns, rows + 2)
      for r in 0..<rows { for c in 0..<columns { source[r, c] = S(r * 1000 + c) } }
      room.fill(-1)
      room.columns(0..<rows).copy(transposing: source)
      for c in 0..<columns {
        for r in 0..<rows { #expect(room[c, r] == S(r * 1000 + c)) }
        #expect(room[c, rows] == -1 && room[c, rows + 1] == -1, "elements beside the result stay")
      }
    }
    check(Float.self)
    check(Double.self)
  }

  /// Around the ends of vectors and of blocks. A sum may take the place of either of its terms.
  @Test(arguments: [0, 1, 15, 16, 17, 100, squaresBlock - 1, squaresBlock, squaresBlock + 1, 3 * squaresBlock + 40])
  func sumsWithSquares(_ n: Int) {
    func check<S: Scalar>(_ type: S.Type) {
      var random = TestRandom(11)
      let first = random.values(n), second = random.values(n), count = squaresCount(of: n)
      let a = VectorView<S>(doubles: first), b = VectorView<S>(doubles: second), wanted = VectorView<S>(doubles: first)
      wanted.add(b)
      let found = (sum: VectorView<S>(zeros: n), squares: VectorView<Double>(zeros: count)), again = VectorView<Double>(zeros: count)
      found.sum.setSum(a, b, squares: found.squares)
      again.takeSquares(of: wanted)
      #expect(found.sum.array == wanted.array && again.array == found.squares.array)
      for block in 0..<count {
        let exact = (block * squaresBlock..<min(n, (block + 1) * squaresBlock)).reduce(0) { $0 + Double(wanted[$1]) * Double(wanted[$1]) }
        #expect(abs(found.squares[block] - exact) <= 1e-13 * exact)
      }
      #expect(found.squares.added(to: 5) == found.squares.array.reduce(5, +))
      let inPlace = VectorView<S>(doubles: second)
      inPlace.setSum(a, inPlace)
      a.setSum(a, b, squares: again)
      #expect(inPlace.array == wanted.array && a.array == wanted.array && again.array == found.squares.array)
    }
    check(Float.self)
    check(Double.self)
  }

  @Test func squaresAreSummedInDoublePrecision() {
    let v = VectorView<Float>([Float](repeating: 1e30, count: 33)), squares = VectorView<Double>(zeros: 1)
    squares.takeSquares(of: v)
    #expect(abs(squares[0] / 33e60 - 1) < 1e-6)
  }

  @Test func firstNotFinite() {
    let v = VectorView<Float>(zeros: 100)
    #expect(v.firstNotFinite == nil && VectorView<Float>(zeros: 0).firstNotFinite == nil)
    for (value, at) in [(Float.nan, 99), (.infinity, 40), (-.infinity, 3)] {
      v[at] = value
      #expect(v.firstNotFinite == at)
    }
    v[0] = .greatestFiniteMagnitude
    #expect(v.firstNotFinite == 3)
  }

  @Test func columnSumsOfRowsWithGaps() {
    var random = TestRandom(10)
    let B = 7, F = 600, x = random.values(B * F), matrix = MatrixView<Double>(x, B, F, stride: F + 3), sums = VectorView<Double>(zeros: F)
    sums.fill(5)
    for times in 1...2 {
      sums.columnSums(of: matrix, accumulate: times > 1)
      for f in 0..<F {
        let wanted = Double(times) * (0..<B).reduce(0) { $0 + x[$1 * F + f] }
        #expect(abs(sums[f] - wanted) <= 1e-14 * 20)
      }
    }
  }
}
