"""Recurrent layers in ONNX: operators where normalisation folds into constants, else `Scan`.

T time steps, B sequences, D directions, I inputs and H cells of a layer, G rows of a product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from folding import NotPlain, PlainDirection, peepholes, plain
from network import Direction, Sizes, Term
from onnx_graph import Graph

# Blocks of H rows: ONNX has LSTM gates in the order i, o, f, g and those of a GRU as z, r, n.
GATE_ORDER = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2), "rnn": (0,)}
PEEPHOLE_ORDER = (0, 2, 1)  # i, o, f
OPERATORS = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}


@dataclass(frozen=True)
class Frames:
    """What a graph knows of the frames that it reads."""

    steps: str  # 0 ..< T, [T]
    statistics_steps: str  # the time step whose statistics each step takes, [T]
    lengths: str  # [B], int64
    batch: str  # B, [1]
    live: str  # whether a frame is no padding, [T, B, 1]


@dataclass(frozen=True)
class Outputs:
    """Of a layer: all outputs, and the states after each direction's last step."""

    all: str  # [T, B, D·H]
    hidden: str  # [D, B, H]
    cell: str | None  # [D, B, H]


def layer(
    graph: Graph, frames: Frames, sizes: Sizes, directions: list[Direction], x: str,
    hidden: str | None, cell: str | None
) -> Outputs:
    """A layer on `x`, [T, B, I], from its states, [D, B, H], or from zeros."""
    try:
        folded = [plain(direction, sizes) for direction in directions]
    except NotPlain:
        return scanned(graph, frames, sizes, directions, x, hidden, cell)
    return operator(graph, frames, sizes, folded, x, hidden, cell)


# -- without normalisation, or with one that is constant ------------------------------------------


def operator(
    graph: Graph, frames: Frames, sizes: Sizes, directions: list[PlainDirection], x: str,
    hidden: str | None, cell: str | None
) -> Outputs:
    """The layer as one operator LSTM, GRU or RNN."""
    def stacked(values: list[np.ndarray], stem: str) -> str:
        return graph.floats(np.stack(values), stem)

    def ordered(values: np.ndarray) -> np.ndarray:
        blocks = np.split(values, len(GATE_ORDER[sizes.cell]))
        return np.concatenate([blocks[gate] for gate in GATE_ORDER[sizes.cell]])

    biases = [
        np.concatenate([ordered(d.input_bias), ordered(d.recurrent_bias)]) for d in directions]
    inputs = [
        x, stacked([ordered(d.input_weight) for d in directions], "input_weight"),
        stacked([ordered(d.recurrent_weight) for d in directions], "recurrent_weight"),
        stacked(biases, "bias"), graph.cast(frames.lengths, np.int32), hidden or ""]
    attributes = {"direction": "bidirectional" if len(directions) == 2 else "forward",
                  "hidden_size": sizes.hidden}
    last_cell = None
    match sizes.cell:
        case "lstm":
            inputs.append(cell or "")
            if directions[0].peephole is not None:
                order = list(PEEPHOLE_ORDER)
                inputs.append(stacked([d.peephole[order].ravel() for d in directions], "peephole"))
            y, last, last_cell = graph.op("LSTM", *inputs, outputs=3, **attributes)
        case "gru":
            # The reset gate multiplies the product and its bias.
            y, last = graph.op("GRU", *inputs, outputs=2, linear_before_reset=1, **attributes)
        case _:
            y, last = graph.op("RNN", *inputs, outputs=2, **attributes)
    y = graph.op("Transpose", y, perm=[0, 2, 1, 3])
    y = graph.op("Reshape", y, graph.integers(0, 0, sizes.outputs))
    return Outputs(y, last, last_cell)


# -- with statistics of each step, of each frame, or inside the cell ------------------------------


def scanned(
    graph: Graph, frames: Frames, sizes: Sizes, directions: list[Direction], x: str,
    hidden: str | None, cell: str | None
) -> Outputs:
    """The layer as a loop over time for each direction."""
    outputs, hiddens, cells = [], [], []
    for index, direction in enumerate(directions):
        backward = sizes.directions[index] == "backward"
        states = [initial(graph, frames, sizes, hidden, index)]
        if sizes.cell == "lstm":
            states.append(initial(graph, frames, sizes, cell, index))
        # Turned within its own length, so that padding comes last in both directions.
        turned = reverse(graph, frames, x) if backward else x
        *last, y = loop(graph, frames, sizes, direction, turned, states)
        outputs.append(reverse(graph, frames, y) if backward else y)
        hiddens.append(graph.unsqueeze(last[0], 0))
        cells += [graph.unsqueeze(c, 0) for c in last[1:]]
    return Outputs(
        graph.concat(*outputs, axis=2), graph.concat(*hiddens, axis=0),
        graph.concat(*cells, axis=0) if cells else None)


def initial(graph: Graph, frames: Frames, sizes: Sizes, states: str | None, index: int) -> str:
    """The state of one direction before its first step, [B, H]."""
    if states is None:
        return graph.expand(graph.floats(0.0), frames.batch, sizes.hidden)
    return graph.op("Gather", states, graph.integer(index), axis=0)


def reverse(graph: Graph, frames: Frames, x: str) -> str:
    return graph.op("ReverseSequence", x, frames.lengths, time_axis=0, batch_axis=1)


def loop(
    graph: Graph, frames: Frames, sizes: Sizes, direction: Direction, x: str, states: list[str]
) -> list[str]:
    """The states after each sequence's last frame, [B, H], and all outputs, [T, B, H]."""
    body = Graph(graph)
    hidden = body.input(graph.name("hidden"), np.float32, None)
    cell = body.input(graph.name("cell"), np.float32, None) if sizes.cell == "lstm" else None
    projected = body.input(graph.name("projected"), np.float32, None)
    live = body.input(graph.name("live"), bool, None)
    sequences = [project(graph, frames, direction, x), frames.live]
    scales = {}
    for name, term in direction.terms.items():
        if name != "input_norm" and term.mean is not None:
            scales[name] = (body.input(graph.name("scale"), np.float32, None),
                            body.input(graph.name("shift"), np.float32, None))
            sequences += by_step(graph, frames, term)
    new = step(body, sizes, direction, scales, projected, hidden, cell)
    old = [hidden] + ([cell] if cell else [])
    # Padding changes no state.
    kept = [body.op("Where", live, n, o) for n, o in zip(new, old)]
    for value in [*kept, kept[0]]:
        body.output(value, graph.name("state"), np.float32, None)
    return graph.scan(body, states, sequences)


def project(graph: Graph, frames: Frames, direction: Direction, x: str) -> str:
    """All that enters the preactivations from below, [T, B, G]."""
    weight, bias = direction.tensors["input_weight"], direction.tensors.get("bias")
    projected = graph.op("MatMul", x, graph.floats(weight.T, "input_weight"))
    term = direction.terms.get("input_norm")
    if term is not None and term.mean is None:
        projected = standardized(graph, projected, term)
    elif term is not None:
        scale, shift = (graph.unsqueeze(part, 1) for part in by_step(graph, frames, term))
        projected = graph.op("Add", graph.op("Mul", projected, scale), shift)
    return projected if bias is None else graph.op("Add", projected, graph.floats(bias, "bias"))


def step(
    body: Graph, sizes: Sizes, direction: Direction, scales: dict[str, tuple[str, str]],
    projected: str, hidden: str, cell: str | None
) -> list[str]:
    """One time step: the new states, the output first."""
    def normalized(name: str, value: str) -> str:
        """The term where the placement has it, otherwise `value` as it is."""
        term = direction.terms.get(name)
        if term is None:
            return value
        if term.mean is None:
            return standardized(body, value, term)
        scale, shift = scales[name]
        return body.op("Add", body.op("Mul", value, scale), shift)

    weight = body.floats(direction.tensors["recurrent_weight"].T, "recurrent_weight")
    recurrent = normalized("recurrent_norm", body.op("MatMul", hidden, weight))
    match sizes.cell:
        case "gru":
            bias = body.floats(direction.tensors["hidden_bias"], "hidden_bias")
            states = [gru(body, projected, recurrent, bias, hidden)]
        case "rnn":
            a = normalized("preactivation_norm", body.op("Add", projected, recurrent))
            states = [body.op("Tanh", a)]
        case _:
            a = normalized("preactivation_norm", body.op("Add", projected, recurrent))
            p = peepholes(direction, sizes)
            new_cell, output_gate = lstm(body, a, cell, p)
            # The cell that is carried on is not normalised.
            squashed = body.op("Tanh", normalized("cell_norm", new_cell))
            states = [body.op("Mul", output_gate, squashed), new_cell]
    return [normalized("hidden_norm", states[0]), *states[1:]]


def lstm(body: Graph, a: str, cell: str, p: np.ndarray | None) -> tuple[str, str]:
    """The new cell and the output gate."""
    def gate(value: str, state: str, index: int) -> str:
        if p is not None:
            seen = body.op("Mul", state, body.floats(p[index], "peephole"))
            value = body.op("Add", value, seen)
        return body.op("Sigmoid", value)

    a_i, a_f, a_g, a_o = body.op("Split", a, outputs=4, axis=1)
    kept = body.op("Mul", gate(a_f, cell, 1), cell)
    added = body.op("Mul", gate(a_i, cell, 0), body.op("Tanh", a_g))
    new = body.op("Add", kept, added)
    return new, gate(a_o, new, 2)


def gru(body: Graph, projected: str, recurrent: str, bias: str, hidden: str) -> str:
    """`(1 − z) ⊙ n + z ⊙ h`."""
    x_r, x_z, x_n = body.op("Split", projected, outputs=3, axis=1)
    h_r, h_z, h_n = body.op("Split", recurrent, outputs=3, axis=1)
    r = body.op("Sigmoid", body.op("Add", x_r, h_r))
    z = body.op("Sigmoid", body.op("Add", x_z, h_z))
    reset = body.op("Mul", r, body.op("Add", h_n, bias))
    n = body.op("Tanh", body.op("Add", x_n, reset))
    new = body.op("Mul", body.op("Sub", body.floats(1.0), z), n)
    return body.op("Add", new, body.op("Mul", z, hidden))


# -- normalisation --------------------------------------------------------------------------------


def by_step(graph: Graph, frames: Frames, term: Term) -> list[str]:
    """Scale and shift of every time step, [T, F] each."""
    # Later steps than there are statistics of take the last row.
    rows = graph.op("Min", frames.statistics_steps, graph.integer(term.steps - 1))
    return [graph.op("Gather", graph.floats(part, "statistics"), rows, axis=0)
            for part in term.folded()]


def standardized(graph: Graph, value: str, term: Term) -> str:
    """Layer normalisation over the last axis."""
    mean = graph.op("ReduceMean", value, axes=[-1], keepdims=1)
    centred = graph.op("Sub", value, mean)
    square = graph.op("Mul", centred, centred)
    variance = graph.op("ReduceMean", square, axes=[-1], keepdims=1)
    deviation = graph.op("Sqrt", graph.op("Add", variance, graph.floats(term.epsilon)))
    scaled = graph.op("Mul", graph.op("Div", centred, deviation), graph.floats(term.gamma, "gamma"))
    return graph.op("Add", scaled, graph.floats(term.beta, "beta"))
