import Tensors

/// The output layer: logits, softmax, loss and gradients of some rows, called frames here, W [V, D], b [V], N frames.
///
/// Frames go in chunks whose logits stay near a cache that several ranks share, and classes in blocks whose weights stay in each core's own.
/// Logits are held with frames in columns, [V, chunk]: so no product needs a factor to be packed for each block, and softmax runs along
/// vectors of frames. The gradient of the input has frames in columns, too, until all classes have added to it. The exponentials are taken
/// once, against the maximum of the classes so far, and put right when all classes are known.
final class OutputLayer<S: Scalar> {
  private let classes: Int
  private let products: ProductLibrary
  /// Classes of a block.
  private let block: Int
  /// The most frames of a chunk.
  let rows: Int
  private let logits: VectorView<S>
  // The layer's input for products, [chunk, D] and transposed.
  private let inputs, transposed: PackedMatrix<S>
  // The gradient of the chunk's input, [D, chunk].
  private let inputGradient: VectorView<S>
  private let softmax: BlockedSoftmax<S>.Memory

  /// Memory for `frames` frames of width D.
  /// - rows: the most frames of a chunk; nil for what suits the caches.
  /// - training: whether gradients are taken, too.
  init(classes V: Int, width D: Int, frames: Int, rows: Int?, training: Bool, products: ProductLibrary) {
    let chunk = max(1, min(frames, rows ?? Self.rows(classes: V, frames: frames)))
    classes = V
    self.rows = chunk
    logits = VectorView(zeros: V * chunk)
    self.products = products
    inputs = PackedMatrix(outputs: chunk, inputs: D, library: products)
    transposed = PackedMatrix(outputs: training ? D : 0, inputs: training ? chunk : 0, library: products)
    inputGradient = VectorView(zeros: training ? D * chunk : 0)
    block = Self.block(width: D)
    softmax = .init(capacity: chunk, blocks: (V + block - 1) / block)
  }

  /// Even chunks of about 24 MB at most, in whole vectors: the longer, the less often do weights and their gradient come from memory.
  private static func rows(classes: Int, frames: Int) -> Int {
    let most = max(32, (24 << 20) / (classes * MemoryLayout<S>.size)), parts = max(1, (frames + most - 1) / most)
    return ((frames + parts - 1) / parts + 15) / 16 * 16
  }

  /// Classes whose weights, and those of the block after it, leave room in a cache of 1 MiB.
  private static func block(width: Int) -> Int {
    min(240, max(64, (320 << 10) / (max(width, 1) * MemoryLayout<S>.size) / 8 * 8))
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
  /// - advance: called with the number of classes, from the first, whose rows of `dWeight` are complete.
  func differentiate(
    _ input: MatrixView<S>, weight: MatrixView<S>, bias: VectorView<S>, targets: VectorView<Int32>, gradientScale: S,
    dWeight: MatrixView<S>, dBias: VectorView<S>, dInput: MatrixView<S>, accumulate: Bool,
    advance: (Int) throws -> Void
  ) rethrows -> (loss: Double, errors: Int) {
    var sum = (loss: 0.0, errors: 0)
    if input.rows == 0 && !accumulate {
      dWeight.fill(0)
      dBias.fill(0)
    }
    for first in stride(from: 0, to: input.rows, by: rows) {
      let chunk = first..<min(input.rows, first + self.rows), rows = input.rows(chunk), adds = accumulate || first > 0
      let gradient = inputGradient[0..<rows.columns * chunk.count].matrix(rows: rows.columns, columns: chunk.count)
      let softmax = forward(rows, weight, bias, targets[chunk]), found = softmax.loss
      sum.loss += found.loss
      sum.errors += found.errors
      transposed.pack(rows.transposed)
      try forEachBlock(chunk.count) { block, range, logits in
        softmax.differentiate(
          block: block, logits: logits, first: range.lowerBound, gradientScale: gradientScale, rowSums: dBias[range], accumulate: adds)
        let weight = weight.rows(range)
        dWeight.rows(range).setProduct(logits.asIs, packed: transposed, accumulate: adds, soon: weight)
        gradient.setProduct(weight.transposed, logits.asIs, accumulate: block > 0, soon: following(range, chunk.count), by: products)
        if chunk.upperBound == input.rows { try advance(range.upperBound) }
      }
      dInput.rows(chunk).copy(transposing: gradient)
    }
    return sum
  }

  /// The gradient of the loss in the input alone. It allocates memory for the classes.
  /// - dInput: [N, D], written.
  func differentiateInput(
    _ input: MatrixView<S>, weight: MatrixView<S>, bias: VectorView<S>, targets: VectorView<Int32>, into dInput: MatrixView<S>
  ) {
    let rowSums = VectorView<S>(zeros: classes)
    for first in stride(from: 0, to: input.rows, by: rows) {
      let chunk = first..<min(input.rows, first + self.rows), rows = input.rows(chunk)
      let gradient = inputGradient[0..<rows.columns * chunk.count].matrix(rows: rows.columns, columns: chunk.count)
      let softmax = forward(rows, weight, bias, targets[chunk])
      forEachBlock(chunk.count) { block, range, logits in
        softmax.differentiate(
          block: block, logits: logits, first: range.lowerBound, gradientScale: 1, rowSums: rowSums[range], accumulate: false)
        gradient.setProduct(weight.rows(range).transposed, logits.asIs, accumulate: block > 0, by: products)
      }
      dInput.rows(chunk).copy(transposing: gradient)
    }
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

  private func forEachBlock(_ frames: Int, _ body: (Int, Range<Int>, MatrixView<S>) throws -> Void) rethrows {
    for (number, first) in stride(from: 0, to: classes, by: block).enumerated() {
      let range = first..<min(classes, first + block)
      try body(number, range, logits(range, frames))
    }
  }

  /// The logits of some classes.
  private func logits(_ range: Range<Int>, _ frames: Int) -> MatrixView<S> {
    logits[range.lowerBound * frames..<range.upperBound * frames].matrix(rows: range.count, columns: frames)
  }

  /// Those of the block after the classes `range`.
  private func following(_ range: Range<Int>, _ frames: Int) -> MatrixView<S> {
    logits(range.upperBound..<min(classes, range.upperBound + block), frames)
  }
}
