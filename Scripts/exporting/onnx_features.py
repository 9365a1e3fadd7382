"""What the program does to features before the network reads them, in ONNX.

T time steps, B sequences, F features of the archive, I with their differences.
"""

from __future__ import annotations

import numpy as np

from network import Network
from onnx_graph import Graph
from onnx_layers import Frames

# What Kaldi's add-deltas convolves with, for a window of 2.
FILTERS = (
    np.array([-2, -1, 0, 1, 2], np.float32) / 10,
    np.array([4, 4, 1, -4, -10, -4, 1, 4, 4], np.float32) / 100)
REACH = 4  # of the longest filter


def transformed(graph: Graph, frames: Frames, network: Network, features: str) -> str:
    """What the network reads, [T, B, I], from features as the archive has them, [T, B, F]."""
    x = with_differences(graph, frames, network, features) if network.deltas else features
    match network.normalize:
        case "global":
            centred = graph.op("Sub", x, graph.floats(network.feature_mean))
            return graph.op("Div", centred, graph.floats(network.feature_deviation))
        case "utterance":
            mean, deviation = utterance_moments(graph, frames, network, x)
            return graph.op("Div", graph.op("Sub", x, mean), deviation)
        case _:
            return x


def with_differences(graph: Graph, frames: Frames, network: Network, features: str) -> str:
    """Δ and ΔΔ appended; frames past the edges are the edges."""
    width = network.inputs // (1 + network.deltas)
    last = graph.op("Sub", frames.lengths, graph.integer(1))
    # Padding becomes the last frame.
    rows = graph.op("Min", graph.unsqueeze(frames.steps, 1), graph.unsqueeze(last, 0))
    steps = graph.op("Shape", frames.steps)
    rows = graph.expand(graph.unsqueeze(rows, 2), steps, frames.batch, width)
    filled = graph.op("GatherElements", features, rows, axis=0)
    padded = graph.op("Pad", filled, graph.integers(REACH, 0, 0, REACH, 0, 0), mode="edge")
    parts = [filled]
    for taps in FILTERS[: network.deltas]:
        reach, total = len(taps) // 2, None
        for offset, tap in zip(range(-reach, reach + 1), taps):
            if tap == 0:
                continue
            start = graph.integers(REACH + offset)
            end = graph.op("Add", steps, start)
            shifted = graph.op("Slice", padded, start, end, graph.integers(0))
            weighted = graph.op("Mul", shifted, graph.floats(tap))
            total = weighted if total is None else graph.op("Add", total, weighted)
        parts.append(total)
    return graph.concat(*parts, axis=2)


def utterance_moments(graph: Graph, frames: Frames, network: Network, x: str) -> tuple[str, str]:
    """Mean and deviation of each column over each sequence, [1, B, I]; a constant one's is 1.

    In double precision, as in the program.
    """
    def double(value: float) -> str:
        return graph.constant(np.array(value, np.float64), "double")

    def mean_of(values: str) -> str:
        counted = graph.op("Where", frames.live, values, double(0))
        return graph.op("Div", graph.op("ReduceSum", counted, graph.integers(0), keepdims=1), count)

    count = graph.cast(graph.unsqueeze(frames.lengths, 0, 2), np.float64)
    x = graph.cast(x, np.float64)
    mean = mean_of(x)
    centred = graph.op("Sub", x, mean)
    variance = mean_of(graph.op("Mul", centred, centred))
    # But for rounding by whoever wrote the features.
    bound = graph.op("Mul", graph.op("Mul", mean, mean), double(1e-10))
    constant = graph.op("LessOrEqual", variance, graph.op("Max", bound, double(1e-30)))
    if network.deltas:
        # The differences of a constant feature are constant too.
        width = network.inputs // (1 + network.deltas)
        own = graph.op(
            "Slice", constant, graph.integers(0), graph.integers(width), graph.integers(2))
        constant = graph.op("Or", constant, graph.concat(*[own] * (1 + network.deltas), axis=2))
    deviation = graph.op("Where", constant, double(1), graph.op("Sqrt", variance))
    return graph.cast(mean, np.float32), graph.cast(deviation, np.float32)
