import Tensors
import Testing

@Suite struct EmbeddingKernelTests {
  @Test func gatherTakesRows() {
    var random = TestRandom(13)
    let table = random.values(6 * 5), out = MatrixView<Float>(zeros: 4, 5)
    out.gatherRows(of: MatrixView(table, 6, 5), ids: VectorView([5, 0, 0, 3]))
    let wanted: [Double] = [5, 0, 0, 3].flatMap { (row: Int) in Array(table[row * 5..<row * 5 + 5]) }
    #expect(out.doubles == wanted)
  }

  @Test func scatterAddsRows() {
    var random = TestRandom(14)
    let x = random.values(4 * 5), start = random.values(3 * 5), table = MatrixView<Double>(start, 3, 5)
    table.scatterAddRows(of: MatrixView(x, 4, 5), slots: VectorView([2, 0, 2, 2]))
    for e in 0..<5 {
      #expect(table[0, e] == start[e] + x[5 + e])
      #expect(table[1, e] == start[5 + e])
      // In the order of the rows, so that the bits do not depend on anything else.
      #expect(table[2, e] == start[10 + e] + x[e] + x[10 + e] + x[15 + e])
    }
  }

  @Test func numbersOutsideTheTableAreMistakes() async {
    await #expect(processExitsWith: .failure) {
      MatrixView<Float>(zeros: 1, 2).gatherRows(of: MatrixView(zeros: 3, 2), ids: VectorView([3]))
    }
    await #expect(processExitsWith: .failure) {
      MatrixView<Float>(zeros: 1, 2).gatherRows(of: MatrixView(zeros: 3, 2), ids: VectorView([-1]))
    }
    await #expect(processExitsWith: .failure) {
      MatrixView<Float>(zeros: 3, 2).scatterAddRows(of: MatrixView(zeros: 1, 2), slots: VectorView([3]))
    }
  }
}
