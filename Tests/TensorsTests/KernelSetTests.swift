import Tensors
import Testing

/// Every set of kernels that the processor can run gives the same bits. Other tests may run meanwhile: their results do not change.
@Suite(.serialized) struct KernelSetTests {
  /// The results of `body` with each set, the fastest first.
  private func withEachSet<T>(_ body: () -> T) -> [(name: String, result: T)] {
    let before = KernelSet.inUse
    defer { before.use() }
    return KernelSet.available.map { set in
      set.use()
      return (set.name, body())
    }
  }

  private func expectEqualBits(_ results: [(name: String, result: [(String, [UInt64])])]) {
    for other in results.dropFirst() {
      #expect(other.result.count == results[0].result.count)
      for (a, b) in zip(results[0].result, other.result) {
        // Not the arrays themselves, which a failure would print.
        let difference = zip(a.1, b.1).enumerated().first { $0.element.0 != $0.element.1 }?.offset
        #expect(a.1.count == b.1.count && difference == nil, "\(a.0), \(other.name): element \(difference ?? -1)")
      }
    }
  }

  @Test func setsHaveNames() throws {
    let available = KernelSet.available
    #expect(available.last?.name == "portable" || available.last?.name == "aarch64")
    #expect(Set(available.map(\.name)).isSubset(of: KernelSet.names) && Set(available.map(\.name)).count == available.count)
    for set in available { #expect(try KernelSet.named(set.name) == set) }
    #expect(try KernelSet.named("portable") == available.last)
    #expect(throws: KernelSetError.unknown("avx2", available.map(\.name))) { try KernelSet.named("avx2") }
    for name in KernelSet.names where name != "portable" && !available.contains(where: { $0.name == name }) {
      #expect(throws: KernelSetError.lacking(name, available.map(\.name))) { try KernelSet.named(name) }
    }
  }

  /// Memories that fade, and products of small numbers: zero in every set, where they would be below the least normal number.
  @Test func subnormals() {
    func faded(flushing isOn: Bool) -> [(name: String, result: [(String, [UInt64])])] {
      let before = Subnormals.flush(isOn)
      defer { Subnormals.flush(before) }
      return withEachSet {
        let n = 67, theta = VectorView<Float>(zeros: n), zero = VectorView<Float>(zeros: n)
        let a = VectorView<Float>((0..<n).map { Float(1.2e-38) * Float(1 + $0 / 8) }), b = VectorView<Float>(a.array)
        let c = VectorView<Float>(a.array), d = VectorView<Float>(zeros: n)
        for step in 1...8 {
          theta.updateByAdam(zero, gradientScale: 1, learningRate: 0, beta1: 0.5, beta2: 0.5, epsilon: 1e-8, step: step, firstMoment: a, secondMoment: b)
          theta.updateByRMSProp(zero, gradientScale: 1, learningRate: 0, momentum: 0, decay: 0.5, epsilon: 1e-4, meanSquare: c, velocity: d)
        }
        let x = VectorView<Float>((0..<3 * n).map { Float(3e-20) * Float($0 % 7 + 1) }).matrix(rows: n, columns: 3)
        let w = VectorView<Float>((0..<3 * n).map { Float(4e-20) * Float($0 % 5) }).matrix(rows: 3, columns: n)
        let product = MatrixView<Float>(zeros: n, n)
        product.setProduct(x.asIs, w.asIs)
        return [("first", a.array), ("second", b.array), ("square", c.array), ("product", product.vector.array)].map { name, values in
          (name, values.map { UInt64($0.bitPattern) })
        }
      }
    }
    func below(_ bits: UInt64) -> Bool { Float(bitPattern: UInt32(bits)).isSubnormal }
    let flushed = faded(flushing: true), gradual = faded(flushing: false)
    expectEqualBits(flushed)
    expectEqualBits(gradual)
    for (name, values) in flushed[0].result {
      #expect(!values.contains { below($0) } && values.contains { $0 == 0 }, "\(name)")
    }
    for (name, values) in gradual[0].result where name != "product" { #expect(values.contains { below($0) }, "\(name)") }
    #expect(flushed[0].result[3].1.contains { $0 != 0 })
  }

  /// Shapes around the lanes of vectors, tiles, panels, blocks, parts of K, rows that are copied together, and weights that are prefetched.
  static let shapes = [
    (1, 1, 1), (2, 3, 9), (3, 7, 5), (4, 8, 16), (5, 15, 3), (6, 16, 8), (7, 17, 33), (8, 48, 7), (9, 49, 12), (13, 63, 769), (16, 200, 80),
    (17, 333, 65), (13, 97, 1541), (70, 65, 40), (150, 33, 700), (2, 1450, 1450),
  ]

  /// The specification of a product: each element one chain over ascending k, fused in single precision and not in double.
  @Test(arguments: shapes) func products(_ M: Int, _ N: Int, _ K: Int) {
    check(M, N, K, Float.self) { $0.addingProduct($1, $2) }
    check(M, N, K, Double.self) { $0 + $1 * $2 }
  }

  private func check<S: Scalar>(_ M: Int, _ N: Int, _ K: Int, _: S.Type, multiplyAdd: (S, S, S) -> S) {
    var random = TestRandom(UInt64(M * 1_000_003 + N * 1009 + K))
    func matrix(_ rows: Int, _ columns: Int, gap: Int) -> MatrixView<S> {
      MatrixView(random.values(rows * columns), rows, columns, stride: columns + gap)
    }
    let a = matrix(M, K, gap: 3), w = matrix(N, K, gap: 1), start = matrix(M, N, gap: 0)
    let aTurned = MatrixView<S>(zeros: K, M), wTurned = MatrixView<S>(zeros: K, N + 5).columns(0..<N), near = MatrixView<S>(zeros: N, K)
    for k in 0..<K {
      for m in 0..<M { aTurned[k, m] = a[m, k] }
      for n in 0..<N {
        wTurned[k, n] = w[n, k]
        near[n, k] = S(Self.rounded(Float(w[n, k])))
      }
    }
    func specification(_ w: MatrixView<S>, accumulate: Bool) -> [S] {
      let rows = (0..<M).map { a[$0].array }, columns = (0..<N).map { w[$0].array }
      return (0..<M * N).map { i in
        let row = rows[i / N], column = columns[i % N]
        return (0..<K).reduce(accumulate ? start[i / N, i % N] : 0) { multiplyAdd($0, row[$1], column[$1]) }
      }
    }
    for accumulate in [false, true] {
      let exact = specification(w, accumulate: accumulate), rounded = specification(near, accumulate: accumulate)
      for (set, results) in withEachSet({ () -> [(String, [S], [S])] in
        let packed = PackedMatrix<S>(outputs: N, inputs: K), half = PackedMatrix<S>(outputs: N, inputs: K, format: .bfloat16)
        let forms: [(String, [S], (MatrixView<S>) -> Void)] = [
          ("packed", exact, { packed.pack(w.asIs); $0.setProduct(a.asIs, packed: packed, accumulate: accumulate) }),
          ("packed from the transpose", exact,
            { packed.pack(wTurned.transposed); $0.setProduct(a.asIs, packed: packed, accumulate: accumulate) }),
          ("A transposed", exact, { $0.setProduct(aTurned.transposed, packed: packed, accumulate: accumulate) }),
          ("B not packed", exact, { $0.setProduct(a.asIs, wTurned.asIs, accumulate: accumulate) }),
          ("A transposed, B not packed", exact, { $0.setProduct(aTurned.transposed, wTurned.asIs, accumulate: accumulate) }),
          ("bfloat16", rounded, { half.pack(w.asIs); $0.setProduct(a.asIs, packed: half, accumulate: accumulate) }),
          ("bfloat16 from the transpose, A transposed", rounded,
            { half.pack(wTurned.transposed); $0.setProduct(aTurned.transposed, packed: half, accumulate: accumulate) }),
        ]
        return forms.map { name, expected, multiply in
          let room = MatrixView<S>(zeros: M, N + 4)
          room.fill(7)
          let c = room.columns(1..<N + 1)
          c.copy(from: start)
          multiply(c)
          let isUntouched = (0..<M).allSatisfy { row in [0, N + 1, N + 2, N + 3].allSatisfy { room[row, $0] == 7 } }
          return (name, isUntouched ? (0..<M).flatMap { c[$0].array } : [], expected)
        }
      }) {
        for (name, found, expected) in results {
          let isSame = found == expected
          #expect(isSame, "\(S.self) \(M) × \(N) × \(K), accumulate \(accumulate), \(name), \(set)")
        }
      }
    }
  }

  /// The nearest number of 8 significant bits, ties to even.
  private static func rounded(_ x: Float) -> Float {
    let bits = x.bitPattern
    return Float(bitPattern: (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF_0000)
  }

  /// The fused multiply-adds of gates and softmax, where they are emulated, and divisions: over the whole range of arguments.
  @Test func elementaryFunctions() {
    let special: [Float] = [0, -0.0, 1, -1, .infinity, -.infinity, .nan, .leastNonzeroMagnitude, .greatestFiniteMagnitude, .leastNormalMagnitude / 8, -1e-30, 88, -88, 103]
    var random = TestRandom(5)
    let spread = (0..<4000).map { _ in Float(random.value() * 100) } + (0..<4000).map { _ in Float(random.value()) }
    let bits = (0..<8000).map { _ in Float(bitPattern: UInt32(truncatingIfNeeded: random.next())) }
    let x = special + spread + bits, n = x.count
    expectEqualBits(withEachSet {
      let z = MatrixView<Float>(zeros: 1, n), h = MatrixView<Float>(zeros: 1, n), zero = VectorView<Float>(zeros: n)
      for i in 0..<n { z[0, i] = x[i] }
      rnnForward(Preactivation(z: z, shift: zero), h: h)
      // σ of every number, as the gates of cells whose other preactivations are the same number.
      let four = MatrixView<Float>(zeros: 1, 4 * n), c = MatrixView<Float>(zeros: 1, n), before = MatrixView<Float>(zeros: 1, n)
      for gate in 0..<4 { for i in 0..<n { four[0, gate * n + i] = x[i] } }
      before.fill(0.5)
      lstmForward(
        Preactivation(z: four, shift: VectorView(zeros: 4 * n)), peepholes: Peepholes(), cPrevious: before, gates: four, c: c, h: z)
      let finite = x.filter { $0.isFinite && abs($0) < 1e4 }, logits = MatrixView<Float>(zeros: 1, finite.count)
      for i in finite.indices { logits[0, i] = finite[i] }
      logSoftmax(logits: logits, bias: VectorView(zeros: finite.count))
      return [("tanh", h.vector.patterns), ("σ", four.vector.patterns), ("c", c.vector.patterns), ("h", z.vector.patterns),
        ("log softmax", logits.vector.patterns)]
    })
  }

  /// Gates, moments, normalisation, softmax, sums, embedding, dropout, updates and 16-bit formats.
  @Test(arguments: [(1, 5), (3, 40), (33, 200), (130, 17), (2, 3100)]) func kernels(_ B: Int, _ H: Int) {
    kernels(B, H, Float.self)
    kernels(B, H, Double.self)
  }

  private func kernels<S: Scalar>(_ B: Int, _ H: Int, _: S.Type) {
    expectEqualBits(withEachSet {
      var random = TestRandom(3), results: [(String, [UInt64])] = []
      func matrix(_ rows: Int, _ columns: Int) -> MatrixView<S> { MatrixView(random.values(rows * columns, scale: 3), rows, columns) }
      func vector(_ n: Int) -> VectorView<S> { VectorView(doubles: random.values(n, scale: 0.5, center: 1)) }
      func keep(_ name: String, _ values: VectorView<S>) { results.append((name, values.patterns)) }

      for form in 0..<6 {
        let (gates, c, h, before) = (matrix(B, 4 * H), matrix(B, H), matrix(B, H), matrix(B, H))
        let z = matrix(B, 4 * H), r = matrix(B, 4 * H), shift = vector(4 * H), all = (vector(H), vector(H), vector(H))
        let a = Preactivation(
          z: z, zScale: form % 2 == 1 ? vector(4 * H) : nil, r: form > 1 ? r : nil, rScale: form > 3 ? vector(4 * H) : nil,
          rShift: form > 3 ? vector(4 * H) : nil, shift: shift)
        let p = form < 2 ? Peepholes() : form < 4 ? Peepholes(output: all.2) : Peepholes(input: all.0, forget: all.1, output: all.2)
        let d = (vector(H), vector(H), vector(H))
        let dp = form < 2 ? Peepholes() : form < 4 ? Peepholes(output: d.2) : Peepholes(input: d.0, forget: d.1, output: d.2)
        lstmForward(a, peepholes: p, cPrevious: before, gates: gates, c: c, h: h)
        for (name, values) in [("gates", gates), ("c", c), ("h", h)] { keep("\(name), form \(form)", values.vector) }
        let dc = matrix(B, H), above = matrix(B, H), next = matrix(B, H)
        lstmBackward(
          gates: gates, c: c, cPrevious: before, dOutput: .output(above: above, next: form % 2 == 0 ? next : nil), dc: dc, peepholes: p,
          dPeepholes: dp, da: gates)
        for (name, values) in [("da", gates.vector), ("dc", dc.vector), ("dp_i", d.0), ("dp_f", d.1), ("dp_o", d.2)] {
          keep("\(name), form \(form)", values)
        }
        let plain = Preactivation(
          z: matrix(B, H), zScale: a.zScale?[0..<H], r: form > 1 ? matrix(B, H) : nil, rScale: a.rScale?[0..<H],
          rShift: a.rShift?[0..<H], shift: shift[0..<H])
        rnnForward(plain, h: h)
        keep("rnn, form \(form)", h.vector)
        rnnBackward(h: h, dhAbove: above, dhNext: form % 2 == 0 ? next : nil, da: dc)
        keep("rnn's derivative, form \(form)", dc.vector)
      }

      for form in 0..<4 {
        let (gates, dv, h, before) = (matrix(B, 3 * H), matrix(B, 3 * H), matrix(B, H), matrix(B, H))
        let a = Preactivation(
          z: matrix(B, 3 * H), zScale: form % 2 == 1 ? vector(3 * H) : nil, r: matrix(B, 3 * H), rScale: form > 1 ? vector(3 * H) : nil,
          rShift: vector(3 * H), shift: vector(3 * H))
        gruForward(a, hPrevious: before, gates: gates, h: h)
        keep("gru's gates, form \(form)", gates.vector)
        keep("gru's output, form \(form)", h.vector)
        let above = matrix(B, H), next = matrix(B, H)
        gruBackward(
          a, hPrevious: before, gates: gates, dhAbove: above, dhNext: form < 2 ? next : nil, dhPrevious: next, du: gates, dv: dv)
        for (name, values) in [("du", gates), ("dv", dv), ("dh", next)] { keep("gru's \(name), form \(form)", values.vector) }
      }
      do {
        let (gates, cell, h, above, next, through) = (matrix(B, 4 * H), matrix(B, H), matrix(B, H), matrix(B, H), matrix(B, H), matrix(B, H))
        let (scale, shift, dc, c, before) = (vector(H), vector(H), matrix(B, H), matrix(B, H), matrix(B, H))
        let a = Preactivation(
          z: matrix(B, 4 * H), zScale: vector(4 * H), r: matrix(B, 4 * H), rScale: vector(4 * H), rShift: vector(4 * H), shift: vector(4 * H))
        lstmForward(a, peepholes: Peepholes(), cPrevious: before, gates: gates, c: c, h: nil)
        keep("gates without an output", gates.vector)
        lstmOutput(gates: gates, cell: cell, scale: scale, shift: shift, h: h)
        keep("output of a normalised cell", h.vector)
        lstmOutputBackward(
          gates: gates, cell: cell, scale: scale, shift: shift, dhAbove: above, dhNext: next, dNormalized: through, da: gates)
        keep("gradient of a normalised cell", through.vector)
        lstmBackward(
          gates: gates, c: c, cPrevious: before, dOutput: .throughCell(through), dc: dc, peepholes: Peepholes(), dPeepholes: Peepholes(),
          da: gates)
        keep("da through a normalised cell", gates.vector)
        let rstd = vector(B), out = matrix(B, H)
        standardizeRows(cell, epsilon: S(1e-5), into: h, rstd: rstd)
        keep("standardised rows", h.vector)
        keep("their deviations", rstd)
        standardizationBackward(dy: above, standardized: h, rstd: rstd, gamma: scale, dx: out)
        keep("derivative of standardisation", out.vector)
        scaleAndShift(h, scale: scale, shift: shift, out: out)
        keep("scaled and shifted rows", out.vector)
      }

      let x = matrix(B, H), dy = matrix(B, H), gamma = vector(H), beta = vector(H)
      let (mean, squares, other, otherSquares) = (vector(H), vector(H), vector(H), vector(H))
      let (rstd, scale, shift, sum, sumWithX) = (vector(H), vector(H), vector(H), vector(H), vector(H))
      computeMoments(of: x, mean: mean, squares: squares)
      keep("mean", mean)
      keep("squares", squares)
      mergeMoments(count: B, mean: mean, squares: squares, otherCount: B + 3, otherMean: other, otherSquares: otherSquares)
      keep("merged mean", mean)
      keep("merged squares", squares)
      foldNormalization(
        count: S(2 * B + 3), epsilon: S(1e-5), mean: mean, squares: squares, gamma: gamma, beta: beta, rstd: rstd, scale: scale,
        shift: shift)
      for (name, values) in [("rstd", rstd), ("scale", scale), ("shift", shift)] { keep(name, values) }
      sumForNormalizationBackward(dy: dy, x: x, mean: mean, rstd: rstd, sum: sum, sumWithX: sumWithX)
      keep("sum", sum)
      keep("sum with x", sumWithX)
      let dx = matrix(B, H)
      normalizationBackward(
        count: S(B), dy: dy, x: x, mean: mean, rstd: rstd, scale: scale, sum: sum, sumWithX: sumWithX, dx: dx)
      keep("dx", dx.vector)
      mean.blend(keep: S(0.9), weight: S(0.1), other)
      keep("blend", mean)
      sum.columnSums(of: x, accumulate: true)
      keep("column sums", sum)

      let logits = matrix(H, B), bias = vector(H), rowSums = vector(H)
      let targets = VectorView((0..<B).map { $0 % 3 == 2 ? -1 : Int32($0 * 7 % H) })
      let softmax = BlockedSoftmax<S>(targets: targets, classes: H, memory: .init(capacity: B, blocks: 1))
      softmax.add(block: 0, logits: logits, bias: bias, first: 0)
      keep("exponentials", logits.vector)
      results.append(("loss", [softmax.loss.loss.bitPattern, UInt64(softmax.loss.errors)]))
      softmax.differentiate(block: 0, logits: logits, first: 0, gradientScale: S(0.1), rowSums: rowSums, accumulate: true)
      keep("softmax gradient", logits.vector)
      keep("its row sums", rowSums)
      logSoftmax(logits: x, bias: gamma)
      keep("log softmax", x.vector)

      let total = matrix(B, H).vector, blocks = VectorView<Double>(zeros: squaresCount(of: B * H))
      total.setSum(total, dy.vector, squares: blocks)
      keep("sum of vectors", total)
      results.append(("squares", blocks.array.map(\.bitPattern)))
      total.scale(by: S(0.3))
      keep("scaled", total)
      let ids = VectorView((0..<B).map { Int32($0 * 5 % B) }), rows = matrix(B, H)
      rows.gatherRows(of: dy, ids: ids)
      rows.addGatheredRows(of: dx, ids: ids)
      keep("gathered", rows.vector)
      rows.scatterAddRows(of: dy, slots: ids)
      keep("scattered", rows.vector)
      dropout(rows, key: DropoutKey(probability: 0.3, seed: 9, step: 4, layer: 1), examples: ids, time: 2, out: rows)
      keep("dropout", rows.vector)
      let turned = MatrixView<S>(zeros: H, B)
      turned.copy(transposing: dy)
      keep("transposed", turned.vector)

      let g = vector(B * H), u = vector(B * H), v = vector(B * H), theta = vector(B * H)
      theta.updateByGradient(g, gradientScale: S(0.7), learningRate: S(0.1))
      theta.updateByMomentum(g, gradientScale: S(0.7), learningRate: S(0.1), momentum: S(0.9), velocity: u)
      theta.updateByAdam(
        g, gradientScale: S(0.7), learningRate: S(0.1), beta1: 0.9, beta2: 0.999, epsilon: S(1e-8), step: 3, firstMoment: u,
        secondMoment: v)
      theta.updateByRMSProp(
        g, gradientScale: S(0.7), learningRate: S(0.1), momentum: S(0.9), decay: 0.95, epsilon: S(1e-4), meanSquare: v, velocity: u)
      for (name, values) in [("θ", theta), ("u", u), ("v", v)] { keep(name, values) }
      return results
    })
  }

  @Test(arguments: HalfFormat.allCases) func halfPrecision(_ format: HalfFormat) {
    var random = TestRandom(7)
    let x = VectorView((0..<3001).map { _ in Float(bitPattern: UInt32(truncatingIfNeeded: random.next())) })
    let y = VectorView<Float>(doubles: random.values(3001, scale: 100))
    expectEqualBits(withEachSet {
      let bits = VectorView<UInt16>(zeros: x.count), other = VectorView<UInt16>(zeros: x.count), z = VectorView<Float>(zeros: x.count)
      bits.encode(x, format)
      other.encode(y, format)
      var results = [("encoded", bits.array.map(UInt64.init))]
      z.decode(bits, format)
      results.append(("decoded", z.patterns))
      z.add(y, rounding: format)
      results.append(("added", z.patterns))
      bits.addEncoded(other, format)
      results.append(("added encoded", bits.array.map(UInt64.init)))
      z.round(x, to: format)
      return results + [("rounded", z.patterns)]
    })
  }
}

extension VectorView where Element: Scalar {
  /// The bits of every element; all NaN count as the same.
  fileprivate var patterns: [UInt64] { array.map { $0.isNaN ? .max : $0.double.bitPattern } }
}
