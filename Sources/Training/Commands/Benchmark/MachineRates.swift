import MPI
import NeuralNetwork
import Tensors

/// What the machine reaches with all ranks at work at once: rates are sums over ranks.
struct MachineRates {
  /// A kind of product or of memory access and its rate, in operations or bytes a second.
  struct Case {
    let name: String
    let rate: Double
  }

  /// Matrix products by BLAS, and by the kernel for packed matrices.
  let blas, packed: [Case]
  /// Multiplications and additions in registers.
  let arithmeticPeak: Double
  /// Bytes read and written by a copy or an addition of vectors larger than the cache.
  let memoryBandwidth: Double
  /// The same of vectors as long as the parameters, which the cache may hold.
  let updateBandwidth: Double

  var bestBLAS: Case { best(blas) }
  var bestPacked: Case { best(packed) }
  /// The fastest product of all.
  var bestProduct: Case { best(blas + packed) }

  private func best(_ cases: [Case]) -> Case { cases.max { $0.rate < $1.rate }! }

  /// Measures everything; all ranks call it together.
  /// - framesOfRank, sequencesOfRank: about how many one rank works on in a minibatch, for products of the model's own shapes.
  /// - parameters: elements of one replica.
  init(_ network: NetworkConfiguration, framesOfRank: Int, sequencesOfRank: Int, parameters: Int, world: Communicator) throws {
    let blasProducts = Self.blasProducts(network, frames: framesOfRank)
    let packedProducts = Self.packedProducts(network, rows: sequencesOfRank)
    // Two rounds, some time apart: what else the machine does for a moment does not become the limit.
    var best = Array(repeating: 0.0, count: blasProducts.count + packedProducts.count), peak = 0.0
    for _ in 0..<2 {
      for (i, product) in (blasProducts + packedProducts).enumerated() {
        best[i] = max(best[i], try rateOfAllRanks(world) {
          product.run()
          return product.operations
        })
      }
      peak = max(peak, try rateOfAllRanks(world) { ArithmeticPeak.multiplyAdds(rounds: 100_000).operations })
    }
    blas = zip(blasProducts, best).map { Case(name: $0.name, rate: $1) }
    packed = zip(packedProducts, best[blasProducts.count...]).map { Case(name: $0.name, rate: $1) }
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

  /// Square and oblong products in the forms that a step has, and the largest of the model itself.
  private static func blasProducts(_ network: NetworkConfiguration, frames: Int) -> [Product] {
    let (G, H, V) = (network.gateSize, network.hiddenSize, network.classes), rows = max(1, min(frames, 2048))
    return [
      blasProduct(1024, 1024, 1024), blasProduct(512, 2048, 1024), blasProduct(2048, 1024, 512, leftIsTransposed: true),
      blasProduct(rows, G, H), blasProduct(max(1, min(rows, 256)), V, network.outputSize),
    ]
  }

  /// `[M, K] · [N, K]ᵀ`, or `[K, M]ᵀ · [K, N]` as in gradients of weights.
  private static func blasProduct(_ M: Int, _ N: Int, _ K: Int, leftIsTransposed: Bool = false) -> Product {
    let a = leftIsTransposed ? MatrixView<Float>(zeros: K, M) : MatrixView<Float>(zeros: M, K)
    let b = leftIsTransposed ? MatrixView<Float>(zeros: K, N) : MatrixView<Float>(zeros: N, K)
    let c = MatrixView<Float>(zeros: M, N)
    a.fill(1)
    b.fill(0.5)
    return Product(name: "BLAS \(M) × \(N) × \(K)", operations: 2 * Double(M) * Double(N) * Double(K)) {
      if leftIsTransposed { c.setProduct(a.transposed, b.asIs) } else { c.setProduct(a.asIs, b.transposed) }
    }
  }

  /// Few rows times a packed matrix that the cache holds, and the model's own recurrent product.
  private static func packedProducts(_ network: NetworkConfiguration, rows: Int) -> [Product] {
    var products = [16, 32, 64].flatMap { rows in [packedProduct(rows, 1024, 256), packedProduct(rows, 2048, 512)] }
    if rows <= PackedMatrix<Float>.mostRows {
      products.append(packedProduct(max(1, rows), network.gateSize, network.hiddenSize))
    }
    return products
  }

  private static func packedProduct(_ B: Int, _ N: Int, _ K: Int) -> Product {
    let weights = MatrixView<Float>(zeros: N, K), a = MatrixView<Float>(zeros: B, K), c = MatrixView<Float>(zeros: B, N)
    let packed = PackedMatrix<Float>(outputs: N, inputs: K)
    weights.fill(0.5)
    a.fill(1)
    packed.pack(weights.asIs)
    return Product(name: "packed \(B) × \(N) × \(K)", operations: 2 * Double(B) * Double(N) * Double(K)) {
      c.setProduct(a, packed: packed)
    }
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

/// The sum over ranks of the rate at which each does `body`, all at once: the median of several samples of about 15 ms.
/// - body: returns how much it has done, in operations or bytes.
func rateOfAllRanks(_ world: Communicator, _ body: () throws -> Double) throws -> Double {
  let clock = ContinuousClock()
  func seconds(_ repetitions: Int) throws -> Double {
    var done = 0.0
    let start = clock.now
    for _ in 0..<repetitions { done += try body() }
    return (clock.now - start) / .seconds(1) / max(done, 1)
  }
  let amount = try body()
  let slowest = try world.allGather(try seconds(1) * amount).max() ?? 1
  // The same number on all ranks, so that all work to the end.
  let repetitions = max(1, min(100_000, Int(0.015 / max(slowest, 1e-9))))
  var samples: [Double] = []
  for _ in 0..<5 {
    try world.barrier()
    samples.append(try seconds(repetitions))
  }
  return try world.allGather(1 / median(samples)).reduce(0, +)
}
