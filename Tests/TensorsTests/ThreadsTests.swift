import Foundation
import Tensors
import Testing

/// Results on several threads have the bits of one. Other tests may run meanwhile: they see the same bits too.
@Suite(.serialized) struct ThreadsTests {
  /// Names of this process's worker threads.
  private var workers: [String] {
    let tasks = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/task")) ?? []
    return tasks.compactMap { task in
      (try? String(contentsOfFile: "/proc/self/task/\(task)/comm", encoding: .utf8))?.trimmingCharacters(in: .newlines)
    }.filter { $0.wholeMatch(of: /lockstep-\d+/) != nil }.sorted()
  }

  /// `body` with each number of threads; every product and kernel is divided, however small.
  private func withThreads(_ counts: [Int] = [2, 3, 7], _ body: (Int) throws -> Void) throws {
    defer { try? Threads.set(1) }
    for count in counts {
      try Threads.set(count, leastWork: 1)
      try body(count)
    }
  }

  @Test func workersComeAndGo() throws {
    #expect(Threads.count == 1 && workers.isEmpty, "threads that nobody has asked for")
    defer { try? Threads.set(1) }
    for count in [3, 2, 5, 1, 4] {
      try Threads.set(count)
      #expect(Threads.count == count)
      // A thread names itself when it begins.
      for _ in 0..<500 where workers.count != count - 1 { usleep(10_000) }
      #expect(workers == (1..<count).map { "lockstep-\($0)" }, "\(count) threads")
    }
    try Threads.set(1)
    #expect(workers.isEmpty)
  }

  @Test func noThreadsAreAMistake() async {
    await #expect(processExitsWith: .failure) { try Threads.set(0) }
    await #expect(processExitsWith: .failure) { try Threads.set(1025) }
  }

  /// A process ends, threads or not.
  @Test func processesEnd() async {
    await #expect(processExitsWith: .success) {
      try Threads.set(4)
      exit(0)
    }
  }

  /// Shapes around rows of tiles, panels, blocks of columns, parts of K, and those of recurrent layers and their gradients.
  static let shapes = [
    (1, 1, 1), (1, 49, 3), (7, 48, 5), (8, 97, 17), (9, 640, 40), (16, 96, 513), (17, 800, 200), (20, 200, 800), (33, 47, 700),
    (64, 300, 65), (65, 300, 65), (100, 1, 1100), (200, 61, 513), (240, 208, 130), (208, 650, 240), (411, 331, 530), (1000, 96, 30),
  ]

  @Test(arguments: shapes) func products(_ M: Int, _ N: Int, _ K: Int) throws {
    func matrix(_ rows: Int, _ columns: Int, stride: Int, salt: Int) -> MatrixView<Float> {
      PackedMatrixTests.matrix(rows, columns, stride: stride, salt: salt, Float.self)
    }
    let a = matrix(M, K, stride: K + 1, salt: 5), aTurned = matrix(K, M, stride: M + 2, salt: 6)
    let b = matrix(K, N, stride: N + 3, salt: 9), w = matrix(N, K, stride: K, salt: 10)
    let packed = PackedMatrix<Float>(outputs: N, inputs: K), room = MatrixView<Float>(zeros: M, N + 5), c = room.columns(0..<N)
    let forms: [(String, (Bool) -> Void)] = [
      ("packed", { packed.pack(w.asIs); c.setProduct(a.asIs, packed: packed, accumulate: $0) }),
      ("packed from the transpose", { packed.pack(b.transposed); c.setProduct(a.asIs, packed: packed, accumulate: $0) }),
      ("transposed", { packed.pack(w.asIs); c.setProduct(aTurned.transposed, packed: packed, accumulate: $0) }),
      ("direct", { c.setProduct(a.asIs, b.asIs, accumulate: $0) }),
      ("both", { c.setProduct(aTurned.transposed, b.asIs, accumulate: $0) }),
    ]
    func results() -> [(String, [Float])] {
      forms.flatMap { name, multiply in
        [false, true].map { accumulate in
          for row in 0..<M { for column in 0..<N + 5 { room[row, column] = Float((row + 3 * column) % 17) } }
          multiply(accumulate)
          return ("\(name), accumulate \(accumulate)", room.vector.array)
        }
      }
    }
    try Threads.set(1)
    let expected = results()
    try withThreads { count in
      for (result, alone) in zip(results(), expected) {
        // Not the arrays themselves, which a failure would print.
        let isSame = result.1 == alone.1
        #expect(isSame, "\(result.0): [\(M), \(K)] · [\(K), \(N)] on \(count) threads")
      }
    }
  }

  /// By BLAS every thread computes rows or columns of its own; the bits may differ.
  @Test(arguments: [(200, 70, 90), (64, 300, 65), (1000, 20, 30), (70, 9, 5)]) func productsByBLAS(_ M: Int, _ N: Int, _ K: Int) throws {
    let a = PackedMatrixTests.matrix(M, K, stride: K + 1, salt: 5, Double.self), w = PackedMatrixTests.matrix(N, K, stride: K, salt: 10, Double.self)
    let packed = PackedMatrix<Double>(outputs: N, inputs: K, library: .blas), own = PackedMatrix<Double>(outputs: N, inputs: K)
    let c = MatrixView<Double>(zeros: M, N), expected = MatrixView<Double>(zeros: M, N)
    packed.pack(w.asIs)
    own.pack(w.asIs)
    expected.setProduct(a.asIs, packed: own)
    try withThreads([1, 2, 3, 7]) { count in
      c.fill(1)
      c.setProduct(a.asIs, packed: packed)
      for (found, wanted) in zip(c.vector.array, expected.vector.array) {
        // Terms of at most 4.
        #expect(abs(found - wanted) <= 4 * Double(K) * 1e-15 * Double(K), "\(count) threads")
      }
    }
  }

  /// Gates, normalisation, softmax, updates and sums.
  @Test(arguments: [(1, 5), (3, 40), (33, 200), (130, 17)]) func kernels(_ B: Int, _ H: Int) throws {
    var expected: [(String, [Float])] = [], places = 0
    func run(_ check: Bool, _ count: Int) {
      var random = TestRandom(3), results: [(String, [Float])] = []
      func matrix(_ rows: Int, _ columns: Int) -> MatrixView<Float> { MatrixView(random.values(rows * columns), rows, columns) }
      func vector(_ n: Int) -> VectorView<Float> { VectorView(doubles: random.values(n, scale: 0.5, center: 1)) }
      func keep(_ name: String, _ values: VectorView<Float>) { results.append((name, values.array)) }

      for isScaled in [false, true] {
        let (gates, c, h, before) = (matrix(B, 4 * H), matrix(B, H), MatrixView<Float>(zeros: B, H + 3), matrix(B, H))
        let a = Preactivation(
          z: matrix(B, 4 * H), zScale: isScaled ? vector(4 * H) : nil, r: isScaled ? matrix(B, 4 * H) : nil, shift: vector(4 * H))
        let peepholes = isScaled ? Peepholes<Float>() : Peepholes(output: vector(H))
        let dPeepholes = isScaled ? Peepholes<Float>() : Peepholes(output: vector(H))
        lstmForward(a, peepholes: peepholes, cPrevious: before, gates: gates, c: c, h: h.columns(0..<H))
        for (name, values) in [("gates", gates.vector), ("c", c.vector), ("h", h.vector)] { keep(name, values) }
        let (dc, above) = (matrix(B, H), matrix(B, H + 2).columns(1..<H + 1))
        lstmBackward(
          gates: gates, c: c, cPrevious: before, dOutput: .output(above: above, next: isScaled ? matrix(B, H) : nil), dc: dc, peepholes: peepholes,
          dPeepholes: dPeepholes, da: gates)
        for (name, values) in [("da", gates.vector), ("dc", dc.vector)] { keep(name, values) }
        if let dOutput = dPeepholes.output { keep("peephole", dOutput) }
      }
      let gru = (gates: matrix(B, 3 * H), dv: matrix(B, 3 * H), h: matrix(B, H), dh: matrix(B, H))
      let products = Preactivation(z: matrix(B, 3 * H), r: matrix(B, 3 * H), rShift: vector(3 * H), shift: vector(3 * H)), before = matrix(B, H)
      gruForward(products, hPrevious: before, gates: gru.gates, h: gru.h)
      keep("gru", gru.h.vector)
      gruBackward(
        products, hPrevious: before, gates: gru.gates, dhAbove: matrix(B, H + 2).columns(1..<H + 1), dhNext: gru.dh, dhPrevious: gru.dh,
        du: gru.gates, dv: gru.dv)
      for (name, values) in [("du", gru.gates), ("dv", gru.dv), ("dh", gru.dh)] { keep(name, values.vector) }
      let rstd = vector(B)
      standardizeRows(matrix(B, H), epsilon: 1e-5, into: before, rstd: rstd)
      keep("rows", before.vector)
      standardizationBackward(dy: gru.h, standardized: before, rstd: rstd, gamma: vector(H), dx: gru.h)
      keep("derivative of rows", gru.h.vector)
      let dx = matrix(B, H)
      normalizationBackward(
        count: Float(B), dy: matrix(B, H), x: matrix(B, H), mean: vector(H), rstd: vector(H), scale: vector(H), sum: vector(H),
        sumWithX: vector(H), dx: dx)
      keep("normalisation", dx.vector)

      // B frames are classes here, and H stands for the frames of a block, so that there are several strips.
      let frames = 4 * H, blocks = [matrix(B, frames), matrix(B + 1, frames)]
      let targets = VectorView((0..<frames).map { Int32($0 % 9 == 0 ? -1 : $0 * 7 % (2 * B + 1)) })
      let softmax = BlockedSoftmax<Float>(targets: targets, classes: 2 * B + 1, memory: .init(capacity: frames, blocks: 2))
      for (i, logits) in blocks.enumerated() { softmax.add(block: i, logits: logits, bias: vector(logits.rows), first: i * B) }
      results.append(("loss", [Float(softmax.loss.loss), Float(softmax.loss.errors)]))
      for (i, logits) in blocks.enumerated() {
        let sums = vector(logits.rows)
        softmax.differentiate(block: i, logits: logits, first: i * B, gradientScale: 0.3, rowSums: sums, accumulate: i == 1)
        keep("logits", logits.vector)
        keep("row sums", sums)
      }

      let n = B * H * 40 + 3, g = vector(n), theta = vector(n), u = vector(n), v = vector(n)
      theta.add(g)
      theta.updateByGradient(g, gradientScale: 0.5, learningRate: 0.1)
      theta.updateByMomentum(g, gradientScale: 0.5, learningRate: 0.1, momentum: 0.9, velocity: u)
      theta.updateByAdam(
        g, gradientScale: 0.5, learningRate: 0.1, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, step: 3, firstMoment: u, secondMoment: v)
      theta.updateByRMSProp(
        g, gradientScale: 0.5, learningRate: 0.1, momentum: 0.9, decay: 0.95, epsilon: 1e-4, meanSquare: v, velocity: u)
      for (name, values) in [("parameters", theta), ("velocity", u), ("squares", v)] { keep(name, values) }

      if !check {
        expected = results
        return
      }
      for (result, alone) in zip(results, expected) {
        let isSame = result.1 == alone.1
        #expect(isSame, "\(result.0), \(B) × \(H), on \(count) threads")
        places += result.1.count
      }
    }
    try Threads.set(1)
    run(false, 1)
    try withThreads { run(true, $0) }
    #expect(places > 3 * B * H, "nothing was compared")
  }

  /// Two callers at a time: one has the threads, the other computes by itself.
  @Test func callersAtOnce() async throws {
    let (M, N, K) = (40, 500, 300)
    @Sendable func product(_ salt: Int) -> [Float] {
      let a = PackedMatrixTests.matrix(M, K, stride: K, salt: salt, Float.self)
      let b = PackedMatrixTests.matrix(K, N, stride: N, salt: 4, Float.self)
      let c = MatrixView<Float>(zeros: M, N)
      c.setProduct(a.asIs, b.asIs)
      return c.vector.array
    }
    try Threads.set(1)
    let expected = (0..<4).map(product)
    try Threads.set(3, leastWork: 1)
    defer { try? Threads.set(1) }
    await withTaskGroup(of: (Int, Bool).self) { group in
      for salt in 0..<4 {
        group.addTask { (salt, (0..<50).allSatisfy { _ in product(salt) == expected[salt] }) }
      }
      for await (salt, isSame) in group { #expect(isSame, "caller \(salt)") }
    }
  }

  /// Threads that have slept take part again, and a change of their number between products loses nothing.
  @Test func pausesAndChanges() throws {
    let a = PackedMatrixTests.matrix(30, 200, stride: 200, salt: 1, Float.self)
    let b = PackedMatrixTests.matrix(200, 400, stride: 400, salt: 4, Float.self)
    let alone = MatrixView<Float>(zeros: 30, 400), c = MatrixView<Float>(zeros: 30, 400)
    try Threads.set(1)
    alone.setProduct(a.asIs, b.asIs)
    defer { try? Threads.set(1) }
    for round in 0..<40 {
      if round % 5 == 0 { try Threads.set(1 + round / 5 % 4, leastWork: 1) }
      if round % 2 == 0 { usleep(2000) }
      c.fill(7)
      c.setProduct(a.asIs, b.asIs)
      let isSame = c.vector.array == alone.vector.array
      #expect(isSame, "round \(round)")
    }
  }

  @Test func coresAreKnown() throws {
    let cores = try #require(UsableCores.numbers)
    #expect(!cores.isEmpty && cores == cores.sorted() && cores.count <= ProcessInfo.processInfo.processorCount)
  }
}
