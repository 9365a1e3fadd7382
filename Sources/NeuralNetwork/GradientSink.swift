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

  /// Whether gradients are those of the whole update after this pass: in the last micro-batch.
  var completes: Bool { get }

  /// Where the gradient of `group` on local shard `shard` goes: a flat buffer with the layout of the parameters. Parts of other groups
  /// are not to be touched. A group that has begun on all shards and not ended may begin anew, and finds what was written: the output layer's
  /// does where its weights are the embedding's, and ends last.
  func begin(_ group: ParameterGroup, shard: Int) -> VectorView<Scalar>

  /// The gradient of `group` on local shard `shard` is written before `end`, a place in the flat buffer: that much of its reduction may start
  /// after the last shard.
  func advance(_ group: ParameterGroup, shard: Int, to end: Int) throws

  /// The gradient of `group` on local shard `shard` is written. After the last shard the group's reduction may start.
  func end(_ group: ParameterGroup, shard: Int) throws

  /// Moves reductions under way along; called once a time step, and between the products after them or their parts.
  func poll() throws

  /// Multiply-adds that may pass between two polls, where reductions move only while `poll` runs: longer products then come in parts.
  /// Nil where they move by themselves.
  var operationsBetweenPolls: Int? { get }
}

/// Computes rows of a product: at once, or in parts of whole tiles with a poll between two, where reductions need it.
/// - operations: multiply-adds of a row.
/// - body: computes some rows.
func inParts<S>(
  _ rows: Int, operations: Int, polling sink: any GradientSink<S>, _ body: (Range<Int>) throws -> Void
) throws {
  var part = max(1, rows)
  if let most = sink.operationsBetweenPolls { part = max(1, most / max(1, operations) / rowsOfTiles) * rowsOfTiles }
  for first in stride(from: 0, to: rows, by: part) {
    try body(first..<min(rows, first + part))
    if first + part < rows { try sink.poll() }
  }
}

/// A multiple of the rows of every product's tile.
private let rowsOfTiles = 48
