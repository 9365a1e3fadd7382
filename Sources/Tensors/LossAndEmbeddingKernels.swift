import Glibc

// Softmax cross entropy, embedding rows and dropout. B rows, V classes, E width of a row.

/// Replaces `logits` [B, V], with `bias` [V] added, by the logarithm of their softmax in each row.
public func logSoftmax<S: Scalar>(logits: MatrixView<S>, bias: VectorView<S>) {
  precondition(logits.isContiguous && bias.count == logits.columns, "logits of another shape")
  unsafe S.logSoftmax(logits.rows, logits.columns, logits.pointer, bias.pointer)
}

/// Softmax cross entropy of some frames whose classes come block by block. B frames, V classes, v classes of a block, frames in columns.
///
/// First every block goes through `add`, then, for the gradient, every block again through `differentiate`.
@safe
public struct BlockedSoftmax<S: Scalar> {
  private let targets: VectorView<Int32>
  private let maximum, sum, targetLogit, factors: VectorView<S>
  private let wrong: VectorView<Int32>
  // Maximum of the blocks so far after each, [blocks, capacity].
  private let blockMaxima: MatrixView<S>
  private var frames: Int { targets.count }

  /// Memory for frames up to `capacity` in up to `blocks` blocks.
  public final class Memory {
    let values: MatrixView<S>
    let wrong: VectorView<Int32>
    let blockMaxima: MatrixView<S>

    /// Room for `capacity` frames and `blocks` blocks of classes.
    public init(capacity: Int, blocks: Int) {
      values = MatrixView(zeros: 4, capacity)
      wrong = VectorView(zeros: capacity)
      blockMaxima = MatrixView(zeros: blocks, capacity)
    }
  }

  /// - targets: [B]; a negative one is none, and its frame counts for nothing.
  /// - classes: V.
  public init(targets: VectorView<Int32>, classes: Int, memory: Memory) {
    precondition(targets.count <= memory.wrong.count, "more frames than there is room for")
    checkTargets(targets, classes: classes)
    let frames = 0..<targets.count
    self.targets = targets
    maximum = memory.values[0][frames]
    sum = memory.values[1][frames]
    targetLogit = memory.values[2][frames]
    factors = memory.values[3][frames]
    wrong = memory.wrong[frames]
    blockMaxima = memory.blockMaxima
    maximum.fill(-.infinity)
    sum.fill(0)
    targetLogit.fill(0)
  }

  /// Takes the logits [v, B] of block `block`, whose classes begin at `first`, and leaves in them what `differentiate` wants.
  /// - bias: [v].
  public func add(block: Int, logits: MatrixView<S>, bias: VectorView<S>, first: Int) {
    precondition(logits.isContiguous && logits.columns == frames && bias.count == logits.rows, "a block of another shape")
    unsafe S.softmaxBlock(
      logits.rows, frames, logits.pointer, bias.pointer, first, targets.pointer, maximum.pointer, sum.pointer,
      blockMaxima[block].pointer, targetLogit.pointer, wrong.pointer)
  }

  /// After all blocks: the sum of `−log p[target]` in nats, and the number of frames whose arg max is another.
  public var loss: (loss: Double, errors: Int) {
    var total = (loss: 0.0, errors: 0)
    for b in 0..<frames where targets[b] >= 0 {
      total.loss += log(Double(sum[b])) + Double(maximum[b]) - Double(targetLogit[b])
      if wrong[b] != 0 || targetLogit[b] != maximum[b] { total.errors += 1 }
    }
    return total
  }

  /// Makes of a block that went through `add` the gradient of the logits, `gradientScale · (p − 1[target])`, zero without a target.
  /// - rowSums: [v], the sum over frames, added to what it holds if `accumulate`.
  public func differentiate(
    block: Int, logits: MatrixView<S>, first: Int, gradientScale: S, rowSums: VectorView<S>, accumulate: Bool
  ) {
    precondition(logits.isContiguous && logits.columns == frames && rowSums.count == logits.rows, "a block of another shape")
    unsafe S.softmaxFactors(
      frames, targets.pointer, blockMaxima[block].pointer, maximum.pointer, sum.pointer, gradientScale, factors.pointer)
    unsafe S.softmaxGradient(
      logits.rows, frames, logits.pointer, factors.pointer, first, targets.pointer, gradientScale, rowSums.pointer,
      accumulate ? 1 : 0)
  }
}

private func checkTargets(_ targets: VectorView<Int32>, classes: Int) {
  targets.withSpan { targets in
    for i in 0..<targets.count { precondition(Int(targets[i]) < classes, "a target outside the classes") }
  }
}

extension MatrixView where Element: Scalar {
  /// Rows `ids` of `table` [V, E] into this matrix [B, E]. Rows of both may have gaps between them.
  public func gatherRows(of table: MatrixView<Element>, ids: VectorView<Int32>) {
    precondition(ids.count == rows && table.columns == columns, "rows of another shape")
    checkIDs(ids, table)
    unsafe Element.gatherRows(rows, columns, table.pointer, table.stride, ids.pointer, pointer, stride)
  }

  /// Adds rows `ids` of `table` [V, E] to this matrix [B, E].
  public func addGatheredRows(of table: MatrixView<Element>, ids: VectorView<Int32>) {
    precondition(isContiguous && table.isContiguous && ids.count == rows && table.columns == columns, "rows of another shape")
    checkIDs(ids, table)
    unsafe Element.addGatheredRows(rows, columns, table.pointer, ids.pointer, pointer)
  }

  private func checkIDs(_ ids: VectorView<Int32>, _ table: MatrixView<Element>) {
    ids.withSpan { ids in
      for i in 0..<ids.count { precondition(ids[i] >= 0 && Int(ids[i]) < table.rows, "an id outside the table") }
    }
  }

  /// `self[slots[b]] += source[b]`, b ascending.
  public func scatterAddRows(of source: MatrixView<Element>, slots: VectorView<Int32>) {
    precondition(isContiguous && source.isContiguous && slots.count == source.rows && source.columns == columns,
      "rows of another shape")
    slots.withSpan { slots in
      for i in 0..<slots.count { precondition(slots[i] >= 0 && Int(slots[i]) < rows, "a slot outside the table") }
    }
    unsafe Element.scatterAddRows(source.rows, columns, pointer, slots.pointer, source.pointer)
  }
}

/// What decides a dropout mask beside time and unit: the same on every rank count, because examples count globally.
public struct DropoutKey: Equatable, Sendable {
  /// Probability that a unit is dropped, 0 ≤ p < 1; kept units are multiplied by 1/(1 − p).
  public var probability: Double
  /// Seed of the run.
  public var seed: UInt64
  /// Number of the minibatch, from 0.
  public var step: UInt32
  /// Number of the connection: 0 … layers, the last one is the output layer's input.
  public var layer: UInt32
  /// The masks of one connection in one minibatch.
  public init(probability: Double, seed: UInt64, step: UInt32, layer: UInt32) {
    precondition(probability >= 0 && probability < 1, "dropout probability outside 0 ..< 1")
    self.probability = probability
    self.seed = seed
    self.step = step
    self.layer = layer
  }
}

/// Applies the masks of (`key`, `time`) to rows of `x` [B, F], into `out` of the same shape, which may be `x`.
/// The same call on a gradient is its derivative.
/// - examples: global number of each row's example, [B].
public func dropout<S: Scalar>(_ x: MatrixView<S>, key: DropoutKey, examples: VectorView<Int32>, time: Int, out: MatrixView<S>) {
  precondition(examples.count == x.rows && x.isContiguous && out.isContiguous && x.rows == out.rows && x.columns == out.columns, "dropout of another shape")
  unsafe S.dropout(
    x.rows, x.columns, x.pointer, out.pointer, key.probability, key.seed, key.step, key.layer, examples.pointer, UInt32(time))
}
