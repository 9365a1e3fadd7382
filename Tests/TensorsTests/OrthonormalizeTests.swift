import Tensors
import Testing

@Suite struct OrthonormalizeTests {
  @Test(arguments: [(1, 1), (4, 4), (3, 8), (8, 3), (1, 6), (6, 1), (40, 40), (50, 17), (130, 130), (49, 200)])
  func rowsOrColumnsAreOrthonormal(_ rows: Int, _ columns: Int) {
    var random = RandomStream(seed: 3, stream: 0)
    let matrix = MatrixView<Double>(zeros: rows, columns)
    random.fillNormal(matrix.vector)
    let before = matrix.doubles
    matrix.orthonormalize()
    let count = min(rows, columns), length = max(rows, columns)
    func element(_ values: [Double], _ vector: Int, _ i: Int) -> Double {
      rows <= columns ? values[vector * columns + i] : values[i * columns + vector]
    }
    let after = matrix.doubles
    for a in 0..<count {
      for b in 0..<count {
        let dot = (0..<length).reduce(0) { $0 + element(after, a, $1) * element(after, b, $1) }
        #expect(abs(dot - (a == b ? 1 : 0)) < 1e-13)
        // Vector a of the result has no part of the vectors before it, and a positive one of the vector it comes from: the factor R.
        let part = (0..<length).reduce(0) { $0 + element(after, a, $1) * element(before, b, $1) }
        if b < a { #expect(abs(part) < 1e-12) }
        if b == a { #expect(part > 0) }
      }
    }
  }
}
