import Tensors

/// The recurrent cell of a layer.
public enum Cell: String, Sendable, CaseIterable {
  /// Long short-term memory (Hochreiter & Schmidhuber 1997, with forget gates).
  case lstm
  /// `h_t = tanh(a_t)`.
  case rnn
  /// Gated recurrent units (Cho et al. 2014), in the form of cuDNN and PyTorch.
  case gru

  /// What shapes and checks follow from.
  public var shape: CellShape {
    switch self {
    case .lstm: .lstm
    case .rnn: .plain
    case .gru: .gru
    }
  }
}

/// A state that a cell carries from one time step to the next.
public enum StateKind: String, Sendable {
  /// The cell of an LSTM, `c`.
  case cell = "c"
  /// What the layer puts out, `h`.
  case output = "h"
}

/// What a network has to know of a kind of cell.
public struct CellShape: Equatable, Sendable {
  /// Blocks of H rows in the weight matrices.
  public let gates: Int
  /// The gate whose initial bias is configured, counted from 0.
  public let forgetGate: Int?
  /// The block that no σ makes a gate of: what goes into the state, counted from 0.
  public let candidate: Int
  /// The states, as checkpoints list them.
  public let states: [StateKind]
  /// Whether gates may see the cell.
  public let allowsPeepholes: Bool
  /// Whether a step reads `W_x x` and `W_h h` apart, where others read their sum; `W_h h` then has a bias for the last gate.
  public let readsProductsApart: Bool
  /// Where normalisation may go.
  public let placements: [Placement]

  init(
    gates: Int, forgetGate: Int?, candidate: Int, states: [StateKind], allowsPeepholes: Bool, readsProductsApart: Bool,
    placements: [Placement] = Placement.allCases
  ) {
    self.placements = placements
    self.gates = gates
    self.forgetGate = forgetGate
    self.candidate = candidate
    self.states = states
    self.allowsPeepholes = allowsPeepholes
    self.readsProductsApart = readsProductsApart
  }

  /// Whether there is a state beside the output.
  var hasCell: Bool { states.contains(.cell) }
}

/// A cell's step through time and its derivative, of B sequences at once. H cells, G = gates · H.
///
/// A cell stands in a file of its own. `Cell` and the switches of `RecurrentLayer` over cells name it.
protocol RecurrentCell<S> {
  associatedtype S: Scalar

  /// From the preactivation to the new states. Where the cell is normalised, it leaves the output to `emit`.
  static func forward(_ step: CellStep<S>)

  /// The output from the normalised cell.
  static func emit(_ step: CellStep<S>, _ cell: NormalizedCell<S>)

  /// From the gradient of the output to that of the normalised cell, and to what the output gate adds to `dPreactivation`.
  static func differentiateEmit(_ step: CellStep<S>, _ cell: NormalizedCell<S>, _ gradients: CellGradients<S>)

  /// From the gradient of the new states to that of the preactivation and of the states before.
  static func backward(_ step: CellStep<S>, _ gradients: CellGradients<S>)
}

extension RecurrentCell {
  static func emit(_ step: CellStep<S>, _ cell: NormalizedCell<S>) { preconditionFailure("\(Self.self) has no cell to normalise") }

  static func differentiateEmit(_ step: CellStep<S>, _ cell: NormalizedCell<S>, _ gradients: CellGradients<S>) {
    preconditionFailure("\(Self.self) has no cell to normalise")
  }
}

/// What a cell reads and writes in one step, B rows each.
struct CellStep<S: Scalar> {
  /// What is added up before the nonlinearities.
  var preactivation: Preactivation<S>
  let peepholes: Peepholes<S>
  /// Activated gates, [B, G].
  let gates: MatrixView<S>
  /// The cell before and after, [B, H]; without columns where there is none.
  let cPrevious, c: MatrixView<S>
  /// The output before and after, [B, H]; rows may have gaps.
  let hPrevious, h: MatrixView<S>
  /// Whether the cell is normalised before the output is made of it.
  let normalizesCell: Bool
}

/// The normalised cell as `scale ⊙ values + shift`.
struct NormalizedCell<S: Scalar> {
  /// [B, H].
  let values: MatrixView<S>
  /// [H].
  let scale, shift: VectorView<S>
}

/// The gradients of one step, B rows each.
struct CellGradients<S: Scalar> {
  /// Of the output from the layer above, [B, H]; rows may have gaps.
  let dhAbove: MatrixView<S>
  /// Of the output from the next step, [B, H]; nil where there is none.
  let dhNext: MatrixView<S>?
  /// Receives the gradient of the output before that does not go through `W_h`, [B, H].
  let dhPrevious: MatrixView<S>
  /// Of the cell: from the next step before, for the step before afterwards, [B, H].
  let dc: MatrixView<S>
  /// Of the cell through its normalisation, [B, H].
  let dNormalizedCell: MatrixView<S>
  /// Accumulate.
  let dPeepholes: Peepholes<S>
  /// Of `W_x x` and of all that is added to it, [B, G]; may be `gates`.
  let dPreactivation: MatrixView<S>
  /// Of `W_h h`, [B, G], where that is read apart.
  let dRecurrent: MatrixView<S>
}
