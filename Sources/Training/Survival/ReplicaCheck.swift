import MPI
import NeuralNetwork
import Tensors

/// Compares the replicas of all ranks: weights, the optimiser's state and running averages, tensor by tensor, by their hashes.
///
/// In a healthy run they are equal to the last bit, whatever `communication.reproducible` says: every rank gets the same sums and applies the
/// same update. What differs is a damaged memory or processor, or a fault of the program.
final class ReplicaCheck {
  private let world: Communicator
  private let tensors: [NamedTensor]
  private let hosts: [String]
  private let isHealing: Bool
  private let mine: VectorView<UInt64>
  private let all: VectorView<UInt64>

  /// All ranks call it together.
  /// - isHealing: whether ranks that differ take over what most ranks have.
  init(_ world: Communicator, tensors: [NamedTensor], isHealing: Bool) throws {
    self.world = world
    self.tensors = tensors
    self.isHealing = isHealing
    hosts = try world.allGather(bytes: Array(world.hostName.utf8)).map { String(decoding: $0, as: UTF8.self) }
    mine = VectorView(zeros: tensors.count)
    all = VectorView(zeros: tensors.count * world.size)
  }

  /// A tensor of which ranks have different values.
  struct Difference: Equatable {
    var tensor: Int
    /// The ranks that do not have what most have; empty where no value has a majority.
    var odd: [Int]
    /// The lowest rank that has what most have.
    var sound: Int?
  }

  /// Compares all replicas after `step` updates. All ranks call it together.
  /// - Returns: the differences that were healed.
  /// - Throws: `ReplicaError` on every rank where they differ and are not to be healed, or cannot.
  func run(step: Int) throws -> [Difference] {
    for (i, tensor) in tensors.enumerated() {
      mine[i] = tensor.values.withSpan { values in
        var hasher = ChecksumHasher()
        unsafe hasher.update(values.bytes)
        return hasher.checksum.value
      }
    }
    try world.allGather(mine, into: all)
    let differences = Self.differences(all.array, ranks: world.size)
    if differences.isEmpty { return [] }
    guard isHealing, differences.allSatisfy({ $0.sound != nil }) else {
      throw ReplicaError(step: step, places: describe(differences), isHealing: isHealing)
    }
    for difference in differences { try world.broadcast(tensors[difference.tensor].values, root: difference.sound!) }
    return differences
  }

  /// - hashes: [ranks × tensors], rank by rank.
  static func differences(_ hashes: [UInt64], ranks: Int) -> [Difference] {
    let count = hashes.count / ranks
    return (0..<count).compactMap { tensor in
      let values = (0..<ranks).map { hashes[$0 * count + tensor] }
      if values.allSatisfy({ $0 == values[0] }) { return nil }
      guard let majority = values.first(where: { value in 2 * values.count { $0 == value } > ranks }) else {
        return Difference(tensor: tensor, odd: [], sound: nil)
      }
      return Difference(tensor: tensor, odd: values.indices.filter { values[$0] != majority }, sound: values.firstIndex(of: majority))
    }
  }

  /// The first few differences in words.
  func describe(_ differences: [Difference]) -> String {
    let words = differences.prefix(3).map { difference in
      let name = tensors[difference.tensor].name
      if difference.odd.isEmpty { return "\(name), of which no value has a majority" }
      return "\(name) on \(difference.odd.map { "rank \($0) (host \(hosts[$0]))" }.joined(separator: ", "))"
    }
    return words.joined(separator: "; ") + (differences.count > 3 ? "; and \(differences.count - 3) further tensors" : "")
  }

  /// Names of the tensors of some differences.
  func names(_ differences: [Difference]) -> [String] { differences.map { tensors[$0.tensor].name } }
}

/// Replicas that are not equal.
struct ReplicaError: AgreedError, CustomStringConvertible {
  var step: Int
  var places: String
  var isHealing: Bool

  var exitCode: Int32 { ExitCode.internalFault.rawValue }
  var description: String {
    "step \(step): the replicas of the ranks differ: \(places). A memory or a processor is damaged, or the program is. Go on with --resume from the "
      + "last checkpoint, without that host where one is named"
      + (isHealing ? "." : "; replica_check.heal: true takes over what most ranks have, where there are three or more.")
  }
}
