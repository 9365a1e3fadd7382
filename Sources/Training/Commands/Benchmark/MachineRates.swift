import MPI
import NeuralNetwork
import Tensors

/// What the machine reaches with all ranks at work at once: rates are those of all ranks together.
struct MachineRates {
  /// A kind of product or of memory access and its rate, in operations or bytes a second.
  struct Case {
    let name: String
    let rate: Double
  }

  /// Matrix products by BLAS, and by the program's own kernels.
  let blas, own: [Case]
  /// Multiplications and additions in registers.
  let arithmeticPeak: Double
  /// Bytes read and written by a copy or an addition of vectors larger than the cache.
  let memoryBandwidth: Double
  /// The same of vectors as long as the parameters, which the cache may hold.
  let updateBandwidth: Double

  var bestBLAS: Case { best(blas) }
  var bestOwn: Case { best(own) }
  /// The fastest product of all.
  var bestProduct: Case { best(blas + own) }

  private func best(_ cases: [Case]) -> Case { cases.max { $0.rate < $1.rate }! }

  /// Measures everything; all ranks call it together.
  /// - framesOfRank, sequencesOfRank: about how many one rank works on in a minibatch, for products of the model's own shapes.
  /// - parameters: elements of one replica.
  init(_ network: NetworkConfiguration, framesOfRank: Int, sequencesOfRank: Int, parameters: Int, world: Communicator) throws {
    let blasProducts = Self.blasProducts(network, frames: framesOfRank)
    let ownProducts = Self.ownProducts(network, frames: framesOfRank, sequences: sequencesOfRank)
    // Two rounds, some time apart: what else the machine does for a moment does not become the limit.
    var best = Array(repeating: 0.0, count: blasProducts.count + ownProducts.count), peak = 0.0
    for _ in 0..<2 {
      for (i, product) in (blasProducts + ownProducts).enumerated() {
        best[i] = max(best[i], try rateOfAllRanks(world) {
          product.run()
          return product.operations
        })
      }
      for _ in 0..<3 { peak = max(peak, try rateOfAllRanks(world) { ArithmeticPeak.multiplyAdds(rounds: 100_000).operations }) }
    }
    blas = zip(blasProducts, best).map { Case(name: $0.name, rate: $1) }
    own = zip(ownProducts, best[blasProducts.count...]).map { Case(name: $0.name, rate: $1) }
    arithmeticPeak = peak
    let large = Self.elementsBeyondCache
    memoryBandwidth = try Self.bandwidth(elements: large, world)
    updateBandwidth = parameters >= large ? memoryBandwidth : max(memoryBandwidth, try Self.bandwidth(elements: max(parameters, 16), world))
  }

  // MARK: Products

  private struct Product {
    let name: String
    let operations: Double
    let run: () -> Void
  }

  /// Square and oblong products, and the largest of the model itself.
  private static func blasProducts(_ network: NetworkConfiguration, frames: Int) -> [Product] {
    let rows = max(1, min(frames, 2048))
    return [
      blas(1024, 1024, 1024), blas(512, 2048, 1024), blas(2048, 512, 512), blas(rows, network.gateSize, network.hiddenSize),
      blas(min(rows, 256), network.classes, network.outputSize),
    ]
  }

  /// Few and many rows times a packed matrix, products without packing, and the model's recurrent product and its weights' gradient.
  private static func ownProducts(_ network: NetworkConfiguration, frames: Int, sequences: Int) -> [Product] {
    var products = [16, 32, 64].flatMap { [packed($0, 1024, 256), packed($0, 2048, 512)] }
    products.append(packed(max(1, min(sequences, 64)), network.gateSize, network.hiddenSize))
    // Elsewhere BLAS does these.
    if Float.isProductTuned {
      let rows = max(1, min(frames, 2048))
      products += [packed(512, 1024, 512), packed(network.gateSize, network.hiddenSize, rows)]
      products += [direct(512, 1024, 512), direct(rows, 240, 512)]
    }
    return products
  }

  /// `[M, K] · [N, K]ᵀ`, the form that the program leaves to BLAS.
  private static func blas(_ M: Int, _ N: Int, _ K: Int) -> Product {
    let (a, b, c) = matrices((M, K), (N, K), (M, N))
    return Product(name: "BLAS \(M) × \(N) × \(K)", operations: operations(M, N, K)) { c.setProduct(a.asIs, b.transposed) }
  }

  /// The same with the right factor packed beforehand.
  private static func packed(_ M: Int, _ N: Int, _ K: Int) -> Product {
    let (a, b, c) = matrices((M, K), (N, K), (M, N)), packed = PackedMatrix<Float>(outputs: N, inputs: K)
    packed.pack(b.asIs)
    return Product(name: "packed \(M) × \(N) × \(K)", operations: operations(M, N, K)) { c.setProduct(a.asIs, packed: packed) }
  }

  /// `[M, K] · [K, N]`, which needs no packing.
  private static func direct(_ M: Int, _ N: Int, _ K: Int) -> Product {
    let (a, b, c) = matrices((M, K), (K, N), (M, N))
    return Product(name: "direct \(M) × \(N) × \(K)", operations: operations(M, N, K)) { c.setProduct(a.asIs, b.asIs) }
  }

  private static func operations(_ M: Int, _ N: Int, _ K: Int) -> Double { 2 * Double(M) * Double(N) * Double(K) }

  /// Two factors and the product of these rows and columns.
  private static func matrices(
    _ a: (Int, Int), _ b: (Int, Int), _ c: (Int, Int)
  ) -> (MatrixView<Float>, MatrixView<Float>, MatrixView<Float>) {
    let factors = (MatrixView<Float>(zeros: a.0, a.1), MatrixView<Float>(zeros: b.0, b.1))
    factors.0.fill(1)
    factors.1.fill(0.5)
    return (factors.0, factors.1, MatrixView(zeros: c.0, c.1))
  }

  // MARK: Memory

  /// The better of copying and adding vectors of `elements`.
  private static func bandwidth(elements: Int, _ world: Communicator) throws -> Double {
    let a = VectorView<Float>(zeros: elements), b = VectorView<Float>(zeros: elements), size = Double(elements * MemoryLayout<Float>.size)
    // Memory counts only once it has been written to.
    a.fill(1)
    b.fill(0.5)
    let copying = try rateOfAllRanks(world) {
      a.copy(from: b)
      return 2 * size
    }
    let adding = try rateOfAllRanks(world) {
      a.add(b)
      return 3 * size
    }
    return max(copying, adding)
  }

  /// Elements of a vector of which two exceed the last cache several times.
  private static var elementsBeyondCache: Int {
    max(32 << 20, min(128 << 20, 2 * MachineDescription.lastCacheBytes)) / MemoryLayout<Float>.size
  }
}

/// The rate of all ranks together when each does `body`, all at once and equally often: what they have done from the time that the first
/// begins to the time that the last is ready; the median of several samples of about 15 ms. So it is right for more ranks than cores too,
/// which take turns.
/// - body: returns how much it has done, in operations or bytes.
func rateOfAllRanks(_ world: Communicator, _ body: () throws -> Double) throws -> Double {
  let clock = ContinuousClock()
  func time(_ repetitions: Int) throws -> (amount: Double, seconds: Double) {
    var amount = 0.0
    let start = clock.now
    for _ in 0..<repetitions { amount += try body() }
    return (amount, (clock.now - start) / .seconds(1))
  }
  _ = try time(1)
  let slowest = try world.allGather(try time(1).seconds).max() ?? 0
  let repetitions = max(1, min(100_000, Int(0.015 / max(slowest, 1e-9))))
  var rates: [Double] = []
  for _ in 0..<5 {
    try world.barrier()
    let start = clock.now
    let amounts = try world.allGather(try time(repetitions).amount)
    // No rank comes here before all are ready, and the first to begin counts longest.
    let seconds = try world.allGather((clock.now - start) / .seconds(1)).max() ?? 0
    rates.append(amounts.reduce(0, +) / max(seconds, 1e-9))
  }
  return median(rates)
}

/// The seconds that `body` takes when all ranks do it, time after time.
func secondsOfAllRanks(_ world: Communicator, _ body: () throws -> Void) throws -> Double {
  let rate = try rateOfAllRanks(world) {
    try body()
    return 1
  }
  return Double(world.size) / rate
}
