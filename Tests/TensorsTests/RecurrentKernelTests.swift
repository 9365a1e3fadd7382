import Foundation
import Tensors
import Testing

/// One step of the cells against the formulas for one unit, in both precisions, for every form of the preactivation.
@Suite struct RecurrentKernelTests {
  /// Which parts of `zScale z + rScale r + shift` there are, and how many peepholes.
  private struct Form: CustomTestStringConvertible, Sendable {
    var scaled, added, rescaled: Bool
    var peepholes: Int
    var testDescription: String { "scaled=\(scaled) added=\(added) rescaled=\(rescaled) peepholes=\(peepholes)" }
    static let all = [(false, false, false), (false, true, false), (false, true, true), (true, false, false), (true, true, false), (true, true, true)].flatMap { f in
      (0..<3).map { Form(scaled: f.0, added: f.1, rescaled: f.2, peepholes: $0) }
    }
  }

  /// Values of one step, row-major.
  private struct Values {
    let B = 3, H = 21
    var z, r, zScale, rScale, rShift, shift, p, c, dh, dhNext, dc: [Double]

    init(gates: Int) {
      var random = TestRandom(2)
      let G = gates * H
      (z, r) = (random.values(B * G, scale: 2), random.values(B * G, scale: 2))
      (zScale, rScale, shift) = (random.values(G), random.values(G), random.values(G))
      rShift = random.values(G)
      (p, c) = (random.values(3 * H), random.values(B * H, scale: 2))
      (dh, dhNext, dc) = (random.values(B * H), random.values(B * H), random.values(B * H))
    }

    func preactivation(_ form: Form, _ b: Int, _ j: Int, G: Int) -> Double {
      var a = shift[j] + z[b * G + j] * (form.scaled ? zScale[j] : 1)
      if form.added { a += form.rescaled ? r[b * G + j] * rScale[j] + rShift[j] : r[b * G + j] }
      return a
    }
  }

  private func input<S: Scalar>(_ form: Form, _ v: Values, G: Int) -> Preactivation<S> {
    Preactivation(
      z: MatrixView(v.z, v.B, G), zScale: form.scaled ? VectorView(doubles: v.zScale) : nil, r: form.added ? MatrixView(v.r, v.B, G) : nil,
      rScale: form.rescaled ? VectorView(doubles: v.rScale) : nil,
      rShift: form.rescaled ? VectorView(doubles: v.rShift) : nil, shift: VectorView(doubles: v.shift))
  }

  private func peepholes<S: Scalar>(_ number: Int, _ p: VectorView<S>, _ H: Int) -> Peepholes<S> {
    switch number {
    case 0: Peepholes()
    case 1: Peepholes(output: p[2 * H..<3 * H])
    default: Peepholes(input: p[0..<H], forget: p[H..<2 * H], output: p[2 * H..<3 * H])
    }
  }

  @Test(arguments: Form.all)
  private func lstm(_ form: Form) {
    check(Float.self, form)
    check(Double.self, form)
  }

  private func check<S: Scalar>(_ type: S.Type, _ form: Form) {
    let v = Values(gates: 4), (B, H) = (v.B, v.H), G = 4 * H
    let a: Preactivation<S> = input(form, v, G: G), p = VectorView<S>(doubles: v.p)
    let cPrevious = MatrixView<S>(v.c, B, H), c = MatrixView<S>(zeros: B, H), h = MatrixView<S>(zeros: B, H + 5).columns(2..<H + 2)
    // Gates take the place of z, as in the layer without normalisation.
    lstmForward(a, peepholes: peepholes(form.peepholes, p, H), cPrevious: cPrevious, gates: a.z, c: c, h: h)
    let gates = MatrixView<S>(zeros: B, G), dp = VectorView<S>(zeros: 3 * H), dc = MatrixView<S>(v.dc, B, H)
    gates.copy(from: a.z)
    dp.fill(1)
    lstmBackward(
      gates: gates, c: c, cPrevious: cPrevious,
      dOutput: .output(above: MatrixView(v.dh, B, H, stride: H + 3), next: MatrixView(v.dhNext, B, H)), dc: dc, peepholes: peepholes(form.peepholes, p, H), dPeepholes: peepholes(form.peepholes, dp, H), da: gates)
    func sigma(_ x: Double) -> Double { 1 / (1 + exp(-x)) }
    // A few dozen roundings of numbers below 10.
    func near(_ found: S, _ wanted: Double) -> Bool { isClose(type, Double(found), wanted, size: 10, roundings: 8) }
    var sums = [Double](repeating: 1, count: 3 * H)
    for b in 0..<B {
      for j in 0..<H {
        let before = v.c[b * H + j], po = form.peepholes > 0 ? v.p[2 * H + j] : 0
        let (pi, pf) = form.peepholes > 1 ? (v.p[j], v.p[H + j]) : (0, 0)
        let i = sigma(v.preactivation(form, b, j, G: G) + pi * before), f = sigma(v.preactivation(form, b, H + j, G: G) + pf * before)
        let g = tanh(v.preactivation(form, b, 2 * H + j, G: G)), cell = f * before + i * g
        let o = sigma(v.preactivation(form, b, 3 * H + j, G: G) + po * cell), t = tanh(cell)
        #expect(near(a.z[b, j], i) && near(a.z[b, H + j], f) && near(a.z[b, 2 * H + j], g) && near(a.z[b, 3 * H + j], o))
        #expect(near(c[b, j], cell) && near(h[b, j], o * t))
        let dh = v.dh[b * H + j] + v.dhNext[b * H + j], daO = dh * t * o * (1 - o)
        let dCell = v.dc[b * H + j] + dh * o * (1 - t * t) + daO * po
        let daI = dCell * g * i * (1 - i), daF = dCell * before * f * (1 - f), daG = dCell * i * (1 - g * g)
        #expect(near(gates[b, j], daI) && near(gates[b, H + j], daF) && near(gates[b, 2 * H + j], daG) && near(gates[b, 3 * H + j], daO))
        #expect(near(dc[b, j], dCell * f + daI * pi + daF * pf))
        if form.peepholes > 0 { sums[2 * H + j] += daO * cell }
        if form.peepholes > 1 {
          sums[j] += daI * before
          sums[H + j] += daF * before
        }
      }
    }
    for (found, wanted) in zip(dp.array, sums) { #expect(near(found, wanted)) }
    #expect(Set(h.doubles).count == B * H)
  }

  @Test(arguments: Form.all.filter { $0.peepholes == 0 })
  private func rnn(_ form: Form) {
    func check<S: Scalar>(_ type: S.Type) {
      let v = Values(gates: 1), (B, H) = (v.B, v.H)
      let a: Preactivation<S> = input(form, v, G: H), h = MatrixView<S>(zeros: B, H + 5).columns(2..<H + 2), da = MatrixView<S>(zeros: B, H)
      rnnForward(a, h: h)
      for next in [false, true] {
        rnnBackward(h: h, dhAbove: MatrixView(v.dh, B, H, stride: H + 3), dhNext: next ? MatrixView(v.dhNext, B, H) : nil, da: da)
        for b in 0..<B {
          for j in 0..<H {
            let y = tanh(v.preactivation(form, b, j, G: H)), dh = v.dh[b * H + j] + (next ? v.dhNext[b * H + j] : 0)
            #expect(isClose(type, Double(h[b, j]), y, size: 4, roundings: 8))
            #expect(isClose(type, Double(da[b, j]), dh * (1 - y * y), size: 4, roundings: 8))
          }
        }
      }
    }
    check(Float.self)
    check(Double.self)
  }

  /// By the formulas, and their derivative by central differences of those.
  @Test(arguments: [false, true], [false, true])
  func gru(_ scaled: Bool, _ rescaled: Bool) {
    func sigma(_ x: Double) -> Double { 1 / (1 + exp(-x)) }
    func check<S: Scalar>(_ type: S.Type) {
      let v = Values(gates: 3), (B, H) = (v.B, v.H), G = 3 * H
      /// The output of unit j of sequence b, with something added to one of what it is made of.
      func output(_ b: Int, _ j: Int, u: [Double] = [0, 0, 0], v dv: [Double] = [0, 0, 0], before: Double = 0) -> Double {
        let parts = (0..<3).map { gate in
          let k = gate * H + j
          return (v.z[b * G + k] * (scaled ? v.zScale[k] : 1) + v.shift[k] + u[gate],
            v.r[b * G + k] * (rescaled ? v.rScale[k] : 1) + v.rShift[k] + dv[gate])
        }
        let r = sigma(parts[0].0 + parts[0].1), z = sigma(parts[1].0 + parts[1].1), n = tanh(parts[2].0 + r * parts[2].1)
        return (1 - z) * n + z * (v.c[b * H + j] + before)
      }
      let a = Preactivation<S>(
        z: MatrixView(v.z, B, G), zScale: scaled ? VectorView(doubles: v.zScale) : nil, r: MatrixView(v.r, B, G),
        rScale: rescaled ? VectorView(doubles: v.rScale) : nil, rShift: VectorView(doubles: v.rShift), shift: VectorView(doubles: v.shift))
      let before = MatrixView<S>(v.c, B, H, stride: H + 2), h = MatrixView<S>(zeros: B, H + 5).columns(2..<H + 2)
      gruForward(a, hPrevious: before, gates: a.z, h: h)
      for next in [false, true] {
        let du = MatrixView<S>(zeros: B, G), dv = MatrixView<S>(zeros: B, G), dh = MatrixView<S>(v.dhNext, B, H)
        gruBackward(
          a, hPrevious: before, gates: a.z, dhAbove: MatrixView(v.dh, B, H, stride: H + 3), dhNext: next ? dh : nil, dhPrevious: dh, du: du,
          dv: dv)
        for b in 0..<B {
          for j in 0..<H {
            let weight = v.dh[b * H + j] + (next ? v.dhNext[b * H + j] : 0), step = 1e-5
            func near(_ found: S, _ difference: (Double) -> Double) {
              let wanted = weight * (difference(step) - difference(-step)) / (2 * step)
              #expect(abs(Double(found) - wanted) <= (type == Float.self ? 1e-5 : 1e-8) * (1 + abs(wanted)))
            }
            #expect(isClose(type, Double(h[b, j]), output(b, j), size: 10, roundings: 8))
            near(dh[b, j]) { output(b, j, before: $0) }
            for gate in 0..<3 {
              func only(_ x: Double) -> [Double] { (0..<3).map { $0 == gate ? x : 0 } }
              near(du[b, gate * H + j]) { output(b, j, u: only($0)) }
              near(dv[b, gate * H + j]) { output(b, j, v: only($0)) }
            }
          }
        }
      }
      #expect(Set(h.doubles).count == B * H)
    }
    check(Float.self)
    check(Double.self)
  }
}
