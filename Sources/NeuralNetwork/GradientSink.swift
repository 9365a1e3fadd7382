import Tensors

/// Tensors whose gradients are finished, and so reduced, together.
public enum ParameterGroup: Hashable, Sendable {
  case output
  case layer(Int)
  case embedding
}

/// Takes gradients as backward finishes them, group after group, shard after shard. What time it takes for them it counts itself.
public protocol GradientSink<Scalar>: AnyObject {
  associatedtype Scalar: Tensors.Scalar

  /// Whether gradients are added to what is there: in every micro-batch but the first.
  var accumulates: Bool { get }

  /// Where the gradient of `group` on local shard `shard` goes: a flat buffer with the layout of the parameters. Parts of other groups
  /// are not to be touched.
  func begin(_ group: ParameterGroup, shard: Int) -> VectorView<Scalar>

  /// The gradient of `group` on local shard `shard` is written before `end`, a place in the flat buffer: that much of its reduction may start
  /// after the last shard.
  func advance(_ group: ParameterGroup, shard: Int, to end: Int) throws

  /// The gradient of `group` on local shard `shard` is written. After the last shard the group's reduction may start.
  func end(_ group: ParameterGroup, shard: Int) throws

  /// Moves reductions under way along; called once a time step, and between the products after them or, with `needsPolls`, their parts.
  func poll() throws

  /// Whether reductions move only while `poll` runs: long computations then come in parts of a millisecond or two, with a poll after each.
  var needsPolls: Bool { get }
}

/// Multiply-adds between two polls, on each thread: three milliseconds on a core of 200 GFLOP/s. The weight gradients of the medium word model with
/// 64 sequences a rank took no longer in parts of 4e8 than in one, and a fifth longer in parts of 1e8 (Intel Xeon with AMX, model 207, 2 cores).
private let operationsOfPart = 300_000_000

/// Computes `rows` rows in parts of whole tiles, where reductions need polls, or at once.
/// - operations: multiply-adds of a row.
/// - body: computes some rows.
func inParts<S>(
  _ rows: Int, operations: Int, polling sink: any GradientSink<S>, _ body: (Range<Int>) throws -> Void
) throws {
  let part = sink.needsPolls ? max(1, operationsOfPart * Threads.count / max(1, operations) / rowsOfTiles) * rowsOfTiles : max(1, rows)
  for first in stride(from: 0, to: rows, by: part) {
    try body(first..<min(rows, first + part))
    if first + part < rows { try sink.poll() }
  }
}

/// A multiple of the rows of every product's tile.
private let rowsOfTiles = 48

