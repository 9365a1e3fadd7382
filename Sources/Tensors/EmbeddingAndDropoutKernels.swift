import CKernels

// Embedding rows and dropout. B rows, V rows of a table, E width of a row.

extension MatrixView where Element: Scalar {
  /// Rows `ids` of `table` [V, E] into this matrix [B, E]. Rows of both may have gaps between them.
  public func gatherRows(of table: MatrixView<Element>, ids: VectorView<Int32>) {
    precondition(ids.count == rows && table.columns == columns, "rows of another shape")
    checkIDs(ids, table)
    unsafe Element.kernels.pointee.gather_rows(rows, columns, table.pointer, table.stride, ids.pointer, pointer, stride)
  }

  /// Adds rows `ids` of `table` [V, E] to this matrix [B, E].
  public func addGatheredRows(of table: MatrixView<Element>, ids: VectorView<Int32>) {
    precondition(isContiguous && table.isContiguous && ids.count == rows && table.columns == columns, "rows of another shape")
    checkIDs(ids, table)
    unsafe Element.kernels.pointee.add_gathered_rows(rows, columns, table.pointer, ids.pointer, pointer)
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
    unsafe Element.kernels.pointee.scatter_add_rows(source.rows, columns, pointer, slots.pointer, source.pointer)
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
  /// Number of the connection: 0 … layers, of which the last is the output layer's input; higher ones for recurrent weights.
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
  var dropout = unsafe lockstep_dropout(
    B: x.rows, F: x.columns, x: x.pointer, out: out.pointer, p: key.probability, seed: key.seed, step: key.step, layer: key.layer,
    examples: examples.pointer, time: UInt32(time))
  unsafe S.kernels.pointee.dropout(&dropout)
}
