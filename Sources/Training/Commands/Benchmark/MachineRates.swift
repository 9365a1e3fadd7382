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

  /// A product of M × N × K by the program's own kernels and by BLAS.
  struct Product {
    let M, N, K: Int
    /// Whether training this model computes it.
    let isOfModel: Bool
    var own = 0.0
    var blas = 0.0

    var name: String { "\(M) × \(N) × \(K)" }
    var operations: Double { 2 * Double(M) * Double(N) * Double(K) }
    var hasManyRows: Bool { M >= ProductLibrary.manyRows }
  }

  let products: [Product]
  /// Multiplications and additions in registers.
  let arithmeticPeak: Double
  /// Bytes read and written by a copy or an addition of vectors larger than the cache.
  let memoryBandwidth: Double
  /// The same of vectors as long as the parameters, which the cache may hold.
  let updateBandwidth: Double

  var bestBLAS: Case { best(\.blas, "BLAS") }
  var bestOwn: Case { best(\.own, "own kernels") }
  /// The fastest product of all.
  var bestProduct: Case { bestBLAS.rate > bestOwn.rate ? bestBLAS : bestOwn }

  private func best(_ rate: KeyPath<Product, Double>, _ name: String) -> Case {
    let product = products.max { $0[keyPath: rate] < $1[keyPath: rate] }!
    return Case(name: "\(name), \(product.name)", rate: product[keyPath: rate])
  }

  /// How much longer the model's products of many rows take by `library` than by the other, as a ratio.
  func relativeTime(by library: ProductLibrary) -> Double {
    let large = products.filter { $0.isOfModel && $0.hasManyRows }
    let own = large.reduce(0) { $0 + $1.operations / $1.own }, blas = large.reduce(0) { $0 + $1.operations / $1.blas }
    return switch library {
    case .own: own / blas
    case .blas: blas / own
    }
  }

  /// Measures everything; all ranks call it together.
  /// - framesOfRank, sequencesOfRank: about how many one rank works on in a minibatch, for products of the model's own shapes.
  /// - parameters: elements of one replica.
  init(_ network: NetworkConfiguration, framesOfRank: Int, sequencesOfRank: Int, parameters: Int, world: Communicator) throws {
    var products = Self.products(network, frames: framesOfRank, sequences: sequencesOfRank), peak = 0.0
    let runs = products.map(Self.runs)
    // Two rounds, some time apart: what else the machine does for a moment does not become the limit.
    for _ in 0..<2 {
      for (i, run) in runs.enumerated() {
        let operations = products[i].operations
        products[i].own = max(products[i].own, try rateOfAllRanks(world) { run.own(); return operations })
        products[i].blas = max(products[i].blas, try rateOfAllRanks(world) { run.blas(); return operations })
      }
      for _ in 0..<3 { peak = max(peak, try rateOfAllRanks(world) { ArithmeticPeak.multiplyAdds(rounds: 100_000).operations }) }
    }
    self.products = products
    arithmeticPeak = peak
    let large = Self.elementsBeyondCache
    memoryBandwidth = try Self.bandwidth(elements: large, world)
    updateBandwidth = parameters >= large ? memoryBandwidth : max(memoryBandwidth, try Self.bandwidth(elements: max(parameters, 16), world))
  }

  // MARK: Products

  /// Few and many rows, and what the model's own layers and output layer compute.
  private static func products(_ network: NetworkConfiguration, frames: Int, sequences: Int) -> [Product] {
    let rows = max(1, min(frames, 2048)), (G, H) = (network.gateSize, network.hiddenSize)
    let general = [(16, 1024, 256), (32, 1024, 256), (64, 2048, 512), (512, 1024, 512)].map {
      Product(M: $0.0, N: $0.1, K: $0.2, isOfModel: false)
    }
    // The recurrent product and its transpose; the input product; a weight gradient; logits and the gradient of their weights.
    let few = max(1, min(sequences, 64)), classes = min(network.classes, 240)
    let read = network.outputRows == .frames ? rows : few
    let model = [
      (few, G, H), (few, H, G), (rows, G, H), (G, H, rows), (classes, read, network.outputSize), (classes, network.outputSize, read),
    ].map { Product(M: $0.0, N: $0.1, K: $0.2, isOfModel: true) }
    return general + model
  }

  /// `[M, K] · [N, K]ᵀ`, by own kernels with the right factor packed beforehand.
  private static func runs(_ product: Product) -> (own: () -> Void, blas: () -> Void) {
    let (M, N, K) = (product.M, product.N, product.K), (a, b, c) = matrices((M, K), (N, K), (M, N))
    let packed = PackedMatrix<Float>(outputs: N, inputs: K)
    packed.pack(b.asIs)
    return ({ c.setProduct(a.asIs, packed: packed) }, { c.setProduct(a.asIs, b.transposed, by: .blas) })
  }

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
