import Tensors

/// The output layer: logits, softmax, loss and gradients of some frames, W [V, D], b [V], N frames.
///
/// Frames go in chunks whose logits stay in a cache that several ranks share, and classes in blocks that stay in each core's own. Logits are
/// held with frames in columns, [V, chunk]: so no product needs the weights transposed, and softmax runs along vectors of frames. The
/// exponentials are taken once, against the maximum of the classes so far, and put right when all classes are known.
final class OutputLayer<S: Scalar> {
  /// Classes of a block.
  private static var block: Int { 240 }

  private let classes: Int
  /// The most frames of a chunk.
  let rows: Int
  private let logits: VectorView<S>
  // The layer's input for products, [chunk, D] and transposed.
  private let inputs, transposed: PackedMatrix<S>
  private let softmax: BlockedSoftmax<S>.Memory

  /// Memory for `frames` frames of width D.
  /// - rows: the most frames of a chunk; nil for what suits the caches.
  init(classes V: Int, width D: Int, frames: Int, rows: Int?) {
    let chunk = max(1, min(frames, rows ?? Self.rows(classes: V, frames: frames)))
    classes = V
    self.rows = chunk
    logits = VectorView(zeros: V * chunk)
    inputs = PackedMatrix(outputs: chunk, inputs: D)
    transposed = PackedMatrix(outputs: D, inputs: chunk)
    softmax = .init(capacity: chunk, blocks: (V + Self.block - 1) / Self.block)
  }

  /// Even chunks of about 8 MB, in whole vectors.
  private static func rows(classes: Int, frames: Int) -> Int {
    let most = max(32, (8 << 20) / (classes * MemoryLayout<S>.size)), parts = max(1, (frames + most - 1) / most)
    return ((frames + parts - 1) / parts + 15) / 16 * 16
  }

  /// Summed cross entropy in nats, and the number of frames whose arg max is not the target.
  /// - input: [N, D]; targets: [N], negative where there is none.
  func loss(_ input: MatrixView<S>, weight: MatrixView<S>, bias: VectorView<S>, targets: VectorView<Int32>) -> (loss: Double, errors: Int) {
    var sum = (loss: 0.0, errors: 0)
    for first in stride(from: 0, to: input.rows, by: rows) {
      let chunk = first..<min(input.rows, first + rows)
      let found = forward(input.rows(chunk), weight, bias, targets[chunk]).loss
      sum.loss += found.loss
      sum.errors += found.errors
    }
    return sum
  }

  /// The same with the gradients of `gradientScale` times the loss.
  /// - dWeight, dBias: [V, D] and [V], written, or added to if `accumulate`.
  /// - dInput: [N, D], written.
  func differentiate(
    _ input: MatrixView<S>, weight: MatrixView<S>, bias: VectorView<S>, targets: VectorView<Int32>, gradientScale: S,
    dWeight: MatrixView<S>, dBias: VectorView<S>, dInput: MatrixView<S>, accumulate: Bool
  ) -> (loss: Double, errors: Int) {
    var sum = (loss: 0.0, errors: 0)
    if input.rows == 0 && !accumulate {
      dWeight.fill(0)
      dBias.fill(0)
    }
    for first in stride(from: 0, to: input.rows, by: rows) {
      let chunk = first..<min(input.rows, first + self.rows), rows = input.rows(chunk), adds = accumulate || first > 0
      let softmax = forward(rows, weight, bias, targets[chunk]), found = softmax.loss
      sum.loss += found.loss
      sum.errors += found.errors
      transposed.pack(rows.transposed)
      forEachBlock(chunk.count) { block, range, logits in
        softmax.differentiate(
          block: block, logits: logits, first: range.lowerBound, gradientScale: gradientScale, rowSums: dBias[range], accumulate: adds)
        dWeight.rows(range).setProduct(logits.asIs, packed: transposed, accumulate: adds)
        dInput.rows(chunk).setProduct(logits.transposed, weight.rows(range).asIs, accumulate: block > 0)
      }
    }
    return sum
  }

  /// The logits of a chunk, through the first half of softmax.
  private func forward(
    _ rows: MatrixView<S>, _ weight: MatrixView<S>, _ bias: VectorView<S>, _ targets: VectorView<Int32>
  ) -> BlockedSoftmax<S> {
    let softmax = BlockedSoftmax(targets: targets, classes: classes, memory: self.softmax)
    inputs.pack(rows.asIs)
    forEachBlock(rows.rows) { block, range, logits in
      logits.setProduct(weight.rows(range).asIs, packed: inputs)
      softmax.add(block: block, logits: logits, bias: bias[range], first: range.lowerBound)
    }
    return softmax
  }

  private func forEachBlock(_ frames: Int, _ body: (Int, Range<Int>, MatrixView<S>) -> Void) {
    for (block, first) in stride(from: 0, to: classes, by: Self.block).enumerated() {
      let range = first..<min(classes, first + Self.block)
      body(block, range, logits[first * frames..<range.upperBound * frames].matrix(rows: range.count, columns: frames))
    }
  }
}
