import Tensors
import Testing

@Suite struct GemmTests {
  /// Shapes [M, K, N] with and without transposes, rows with gaps, and accumulation.
  @Test(arguments: [(1, 1, 1), (2, 3, 5), (16, 8, 4), (3, 70, 40), (33, 1, 9), (70, 9, 130)])
  func products(_ M: Int, _ K: Int, _ N: Int) {
    func check<S: Scalar>(_ type: S.Type) {
      var random = TestRandom(11)
      let a = random.values(M * K), b = random.values(K * N), c = random.values(M * N)
      func transpose(_ x: [Double], _ rows: Int, _ columns: Int) -> [Double] {
        (0..<columns).flatMap { j in (0..<rows).map { x[$0 * columns + j] } }
      }
      for (ta, tb) in [(false, false), (true, false), (false, true), (true, true)] {
        let A = ta ? MatrixView<S>(transpose(a, M, K), K, M, stride: M + 2).transposed : MatrixView<S>(a, M, K, stride: K + 1).asIs
        let B = tb ? MatrixView<S>(transpose(b, K, N), N, K).transposed : MatrixView<S>(b, K, N, stride: N + 4).asIs
        for accumulate in [false, true] {
          // The program's own kernels take a transposed right factor only packed.
          for library in tb ? [ProductLibrary.blas] : ProductLibrary.allCases {
            let whole = MatrixView<S>(zeros: M, N + 3)
            whole.fill(7)
            let C = whole.columns(1..<N + 1)
            C.copy(from: MatrixView(c, M, N))
            C.setProduct(A, B, accumulate: accumulate, by: library)
            for m in 0..<M {
              for n in 0..<N {
                let wanted = (0..<K).reduce(accumulate ? c[m * N + n] : 0) { $0 + a[m * K + $1] * b[$1 * N + n] }
                #expect(isClose(type, Double(C[m, n]), wanted, size: Double(K) + 1, roundings: Double(K) + 2))
              }
              #expect(whole[m, 0] == 7 && whole[m, N + 1] == 7 && whole[m, N + 2] == 7, "elements beside the result stay")
            }
          }
        }
      }
    }
    check(Float.self)
    check(Double.self)
  }

  @Test func emptyProducts() {
    let c = MatrixView<Double>(zeros: 2, 3)
    c.fill(4)
    c.setProduct(MatrixView(zeros: 2, 0).asIs, MatrixView(zeros: 0, 3).asIs, accumulate: true)
    #expect(c.doubles == [4, 4, 4, 4, 4, 4])
    c.setProduct(MatrixView(zeros: 2, 0).asIs, MatrixView(zeros: 0, 3).asIs)
    #expect(c.doubles == [0, 0, 0, 0, 0, 0])
    MatrixView<Double>(zeros: 0, 3).setProduct(MatrixView(zeros: 0, 2).asIs, MatrixView(zeros: 2, 3).asIs)
  }

  @Test func wrongShapesAreAMistake() async {
    await #expect(processExitsWith: .failure) {
      MatrixView<Float>(zeros: 2, 3).setProduct(MatrixView(zeros: 2, 4).asIs, MatrixView(zeros: 5, 3).asIs)
    }
  }

  /// The library that the package is linked with, whichever it is.
  @Test func libraryNamesItself() {
    #expect(BLAS.version != "unknown" && !BLAS.version.isEmpty)
    #expect(BLAS.coreType != "unknown" && !BLAS.coreType.isEmpty)
  }
}
