import Glibc
import MPI
import Tensors

/// Makes ready what computes in this process: one thread for BLAS, and the kernels that the environment names.
/// - owner: the host, and the rank where there are several; for the error.
/// - Throws: `UsageError` for kernels that this processor cannot run.
private func startKernels(of owner: String) throws(UsageError) {
  BLAS.useOneThread()
  // Before any thread starts. Saturated gates and memories of rare words would fill with them.
  Subnormals.flush(true)
  guard let name = unsafe getenv("LOCKSTEP_KERNELS") else { return }
  do throws(KernelSetError) { _ = try KernelSet.named(unsafe String(cString: name)) } catch {
    throw UsageError(description: "LOCKSTEP_KERNELS on \(owner): \(error)")
  }
}

/// The kernels and the BLAS library with which each rank computes.
struct Arithmetic {
  /// What one rank computes with.
  private struct Rank {
    let host: String
    /// The name of its instruction set, and whether there are kernels for that set.
    let instructionSet: String
    let isTuned: Bool
    /// The best instruction set of its processor.
    let bestSet: String
    let blas: String
    let blasCore: String
    let isBLASBelowProcessor: Bool

    /// This process.
    init(host: String) {
      self.host = host
      let set = KernelSet.inUse
      (instructionSet, isTuned, bestSet) = (set.name, set.isTuned, KernelSet.available[0].name)
      (blas, blasCore, isBLASBelowProcessor) = (BLAS.version, BLAS.coreType, BLAS.isBelowProcessor)
    }

    /// What another rank wrote.
    init(decoding bytes: [UInt8]) {
      let parts = String(decoding: bytes, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
      (host, instructionSet, isTuned, bestSet) = (parts[0], parts[1], parts[2] == "true", parts[3])
      (blas, blasCore, isBLASBelowProcessor) = (parts[4], parts[5], parts[6] == "true")
    }

    var encoded: [UInt8] {
      Array([host, instructionSet, "\(isTuned)", bestSet, blas, blasCore, "\(isBLASBelowProcessor)"].joined(separator: "\n").utf8)
    }
  }

  private let ranks: [Rank]

  /// Starts the kernels and threads of all ranks, which call it together.
  /// - threads: of a rank.
  /// - Throws: the same error on every rank where one cannot start.
  init(starting threads: Int, world: Communicator, console: Console) throws {
    try world.agree { try startKernels(of: "\(world.hostName), rank \(world.rank)") }
    try startThreads(threads, world: world, console: console)
    try warnOfSharedCores(world: world, console: console)
    ranks = try world.allGather(bytes: Rank(host: world.hostName).encoded).map { Rank(decoding: $0) }
  }

  /// Starts the kernels of a process that computes alone.
  init() throws {
    let host = ProcessInformation.hostName
    try startKernels(of: host)
    ranks = [Rank(host: host)]
  }

  /// The host of each rank.
  var hosts: [String] { ranks.map(\.host) }
  /// The instruction set of each rank.
  var instructionSets: [String] { ranks.map(\.instructionSet) }
  /// The processor type whose kernels BLAS runs on each rank.
  var blasCores: [String] { ranks.map(\.blasCore) }

  /// Who multiplies large matrices under `compute.products: automatic`. If ranks differ it is the program's own kernels, whose bits are
  /// those of every processor.
  var fastestProducts: ProductLibrary {
    let tuned = ranks.count(where: \.isTuned)
    return tuned == 0 ? .blas : .own
  }

  /// The instruction sets, and who multiplies, in words.
  func summary(_ library: ProductLibrary) -> String {
    let sets = Self.distinct(instructionSets), tuned = ranks.count(where: \.isTuned)
    let rows =
      tuned == ranks.count ? " from \(ProductLibrary.manyRows) rows on" : tuned == 0 ? "" : "; ranks with tuned kernels compute products of few rows by these"
    let products = library == .own ? "own kernels" : "BLAS (kernels \(Self.distinct(blasCores).joined(separator: ", ")))\(rows)"
    return "Instruction set\(sets.count == 1 ? "" : "s") \(sets.joined(separator: ", ")), products by \(products)"
  }

  /// What a user should know of the processors and the BLAS libraries that compute a run.
  /// - library: who multiplies large matrices.
  func warnings(_ library: ProductLibrary) -> [String] {
    var lines: [String] = []
    if let (rank, who) = first(where: { !$0.isTuned }) {
      let effect = library == .own ? "training is many times slower with them" : "BLAS computes most products there, and the rest is slower"
      lines.append("\(who): the kernels '\(rank.instructionSet)' use no fused multiply-add of the processor: \(effect)")
    }
    if library == .own { return lines }
    if let (rank, who) = first(where: \.isBLASBelowProcessor) {
      let type = ranks.allSatisfy { $0.bestSet == "x86-64-v4" } ? "SkylakeX" : "Haswell"
      lines.append(
        "\(who): BLAS runs its kernels for \(rank.blasCore), which lack vector instructions that the processor has: a newer OpenBLAS "
          + "knows it, or set OPENBLAS_CORETYPE=\(type) for all ranks")
    }
    let kinds = Self.distinct(ranks.map { "\($0.blas)\n\($0.blasCore)\n\($0.isTuned)" })
    if kinds.count > 1 {
      lines.append(
        "ranks differ in what multiplies (\(Self.distinct(ranks.map(\.blas)).joined(separator: "; ")); BLAS kernels "
          + "\(Self.distinct(blasCores).joined(separator: ", ")); instruction sets \(Self.distinct(instructionSets).joined(separator: ", "))): bits depend on which rank computes a shard; "
          + "compute.products: own has one result on all processors")
    }
    return lines
  }

  /// The first rank of those that `isMeant` holds for, and all of them in words; nil if there is none.
  private func first(where isMeant: (Rank) -> Bool) -> (Rank, String)? {
    guard let index = ranks.firstIndex(where: isMeant) else { return nil }
    let count = ranks.count(where: isMeant), one = "rank \(index) on \(ranks[index].host)"
    let who = ranks.count == 1 ? ranks[0].host : count == 1 ? one : count == ranks.count ? "all ranks" : "\(count) of \(ranks.count) ranks, first \(one)"
    return (ranks[index], who)
  }

  /// The values that there are, each once, in their order.
  private static func distinct(_ values: [String]) -> [String] {
    values.reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
  }
}
