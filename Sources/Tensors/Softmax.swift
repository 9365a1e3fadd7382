import CKernels
import Glibc

/// Replaces `logits` [B, V], with `bias` [V] added, by the logarithm of their softmax in each row.
public func logSoftmax<S: Scalar>(logits: MatrixView<S>, bias: VectorView<S>) {
  precondition(logits.isContiguous && bias.count == logits.columns, "logits of another shape")
  unsafe S.kernels.pointee.log_softmax(logits.rows, logits.columns, logits.pointer, bias.pointer)
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
    targets.withSpan { targets in
      for i in 0..<targets.count { precondition(Int(targets[i]) < classes, "a target outside the classes") }
    }
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
    var kernel = unsafe lockstep_softmax_block(
      V: logits.rows, B: frames, first: first, x: logits.pointer, x_row: frames, bias: bias.pointer, targets: targets.pointer,
      maximum: maximum.pointer, sum: sum.pointer, block_maximum: blockMaxima[block].pointer, target_logit: targetLogit.pointer,
      wrong: wrong.pointer)
    unsafe lockstep_add_softmax_block(S.kernels, &kernel)
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
    unsafe S.kernels.pointee.softmax_factors(
      frames, targets.pointer, blockMaxima[block].pointer, maximum.pointer, sum.pointer, gradientScale.double, factors.pointer)
    var kernel = unsafe lockstep_softmax_gradient(
      V: logits.rows, B: frames, first: first, x: logits.pointer, factors: factors.pointer, targets: targets.pointer,
      gradient_scale: gradientScale.double, row_sums: rowSums.pointer, accumulate: accumulate ? 1 : 0)
    unsafe lockstep_differentiate_softmax_block(S.kernels, &kernel)
  }
}
