import Tensors
import Testing

@Suite struct ViewTests {
  @Test func storageIsAlignedAndZero() {
    for n in [0, 1, 17, 1000] {
      let v = VectorView<Float>(zeros: n)
      #expect(unsafe UInt(bitPattern: v.pointer) % UInt(AlignedStorage<Float>.alignment) == 0)
      #expect(v.array == [Float](repeating: 0, count: n))
    }
  }

  @Test func vectorsShareMemory() {
    let v = VectorView<Int32>([0, 1, 2, 3, 4, 5]), part = v[2..<5]
    part[0] = 20
    #expect(v.array == [0, 1, 20, 3, 4, 5] && part.array == [20, 3, 4] && part[1..<1].count == 0)
    part.fill(7)
    #expect(v.array == [0, 1, 7, 7, 7, 5])
    part.copy(from: v[0..<3])
    #expect(v.array == [0, 1, 0, 1, 7, 5])
    #expect(v.withSpan { $0[4] } == 7)
    v.withMutableSpan { $0[5] = 9 }
    #expect(v[5] == 9)
  }

  @Test func matricesShareMemory() {
    let m = VectorView<Float>([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]).matrix(rows: 3, columns: 4)
    #expect(m[1].array == [4, 5, 6, 7] && m[2, 3] == 11 && m.isContiguous)
    let block = m.rows(1..<3).columns(1..<3)
    #expect(block.doubles == [5, 6, 9, 10] && !block.isContiguous && block.stride == 4)
    block[0, 1] = 60
    #expect(m[1, 2] == 60)
    block.fill(0)
    #expect(m.vector.array == [0, 1, 2, 3, 4, 0, 0, 7, 8, 0, 0, 11])
    let copy = MatrixView<Float>(zeros: 2, 2)
    copy.copy(from: m.rows(0..<2).columns(2..<4))
    #expect(copy.doubles == [2, 3, 0, 7])
    #expect(m.rows(3..<3).rows == 0 && m.columns(4..<4).columns == 0)
  }

  @Test func reachingOutsideIsAMistake() async {
    await #expect(processExitsWith: .failure) { _ = VectorView<Float>(zeros: 3)[3] }
    await #expect(processExitsWith: .failure) { _ = VectorView<Float>(zeros: 3)[1..<4] }
    await #expect(processExitsWith: .failure) { _ = MatrixView<Float>(zeros: 3, 2).rows(2..<4) }
    await #expect(processExitsWith: .failure) { _ = MatrixView<Float>(zeros: 3, 2)[0, 2] }
    await #expect(processExitsWith: .failure) { _ = MatrixView<Float>(zeros: 3, 2).columns(0..<1).vector }
    await #expect(processExitsWith: .failure) { VectorView<Float>(zeros: 3).add(VectorView(zeros: 4)) }
  }
}
