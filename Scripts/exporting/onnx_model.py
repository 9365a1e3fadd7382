"""A whole model in ONNX: inputs, recurrent layers, output layer.

Inputs are `tokens`, [T, B] int64, or `features`, [T, B, F] float as the archive has them, and
`lengths`, [B] int64, from 1 to T. The output `log_posteriors` is [T, B, V], or [B, V] of a model
that classifies sequences; rows past a sequence's length mean nothing.

A language model also reads the states `initial_hidden` and `initial_cell`, [layers, B, H], and puts
out `final_hidden` and `final_cell`. States of no sequences, [layers, 0, H], stand for the model's
own initial state. Where statistics differ by time step, `first_step`, [1] int64, counts the tokens
before the first one: a step takes the statistics of its place in a window of training.unroll_steps.
"""

from __future__ import annotations

import numpy as np
import onnx

import onnx_features
import onnx_layers
from failures import Failure
from network import Network
from onnx_graph import Graph
from onnx_layers import Frames

LARGEST = 2**31 - 1  # bytes of one file in the format of protocol buffers


def serialized(network: Network, step: int) -> bytes:
    """The bytes of the ONNX file."""
    content = model(network, step)
    if content.ByteSize() > LARGEST:
        raise Failure("--to onnx: the model has more than 2 GiB, the most that one ONNX file holds")
    onnx.checker.check_model(content)
    return content.SerializeToString()


def model(network: Network, step: int) -> onnx.ModelProto:
    """The model as ONNX has it."""
    graph = Graph()
    name, x, states = ("tokens", *language_inputs(graph, network)) if network.is_language_model \
        else ("features", *feature_inputs(graph, network))
    lengths = graph.input("lengths", np.int64, ["sequences"])
    frames = frames_of(graph, network, name, lengths)
    if network.is_language_model:
        x = graph.op("Gather", graph.floats(network.embedding, "embedding"), x, axis=0)
    else:
        x = onnx_features.transformed(graph, frames, network, x)
    hiddens, cells, outputs = [], [], None
    for index, directions in enumerate(network.layers):
        before = initial_states(graph, frames, network, states, index)
        outputs = onnx_layers.layer(graph, frames, network.sizes, directions, x, *before)
        x = outputs.all
        hiddens.append(outputs.hidden)
        cells.append(outputs.cell)
    if network.task == "sequence-classification":
        # Each direction's output at its own last step.
        last = graph.op("Transpose", outputs.hidden, perm=[1, 0, 2])
        x = graph.op("Reshape", last, graph.integers(0, network.sizes.outputs))
    write_posteriors(graph, network, x)
    if network.is_language_model:
        shape = [network.sizes.layers, "sequences", network.sizes.hidden]
        graph.output(graph.concat(*hiddens, axis=0), "final_hidden", np.float32, shape)
        if "cell" in state_kinds(network):
            graph.output(graph.concat(*cells, axis=0), "final_cell", np.float32, shape)
    return graph.model("lockstep", {"task": network.task, "step": str(step)})


# -- inputs ---------------------------------------------------------------------------------------


def feature_inputs(graph: Graph, network: Network) -> tuple[str, dict[str, str]]:
    width = network.inputs // (1 + network.deltas)
    return graph.input("features", np.float32, ["steps", "sequences", width]), {}


def language_inputs(graph: Graph, network: Network) -> tuple[str, dict[str, str]]:
    """The tokens, and the states before them by their names."""
    tokens = graph.input("tokens", np.int64, ["steps", "sequences"])
    shape = [network.sizes.layers, "states", network.sizes.hidden]
    names = [f"initial_{kind}" for kind in state_kinds(network)]
    return tokens, {name: graph.input(name, np.float32, shape) for name in names}


def state_kinds(network: Network) -> list[str]:
    return ["hidden", "cell"] if network.sizes.cell == "lstm" else ["hidden"]


def frames_of(graph: Graph, network: Network, name: str, lengths: str) -> Frames:
    """What is known of the frames of the input called `name`."""
    shape = graph.op("Shape", name)
    count = graph.op("Gather", shape, graph.integer(0), axis=0)
    steps = graph.op("Range", graph.integer(0), count, graph.integer(1))
    statistics_steps = steps
    if network.window is not None and network.has_steps:
        first = graph.input("first_step", np.int64, [1])
        place = graph.op("Add", steps, first)
        statistics_steps = graph.op("Mod", place, graph.integer(network.window))
    live = graph.op("Less", graph.unsqueeze(steps, 1), graph.unsqueeze(lengths, 0))
    return Frames(
        steps, statistics_steps, lengths, graph.op("Shape", lengths), graph.unsqueeze(live, 2))


def initial_states(
    graph: Graph, frames: Frames, network: Network, states: dict[str, str], index: int
) -> tuple[str | None, str | None]:
    """Output and cell of a layer before the first step, [D, B, H]; None for zeros."""
    sizes, layer = network.sizes, network.layers[index]

    def state(name: str) -> str | None:
        if name not in states and name not in layer[0].tensors:
            return None
        own = graph.floats(np.stack([d.vector(name, sizes.hidden) for d in layer])[:, None], name)
        own = graph.expand(own, len(layer), frames.batch, sizes.hidden)
        if name not in states:
            return own
        # Behind the states that are given, so that it serves where none are.
        given = graph.op("Gather", states[name], graph.integers(index), axis=0)
        both = graph.concat(given, own, axis=1)
        return graph.op("Slice", both, graph.integers(0), frames.batch, graph.integers(1))

    return state("initial_hidden"), state("initial_cell")


# -- outputs --------------------------------------------------------------------------------------


def write_posteriors(graph: Graph, network: Network, x: str) -> None:
    classes = len(network.output_bias)
    logits = graph.op("MatMul", x, graph.floats(network.output_weight.T, "output_weight"))
    logits = graph.op("Add", logits, graph.floats(network.output_bias, "output_bias"))
    shape = ["sequences", classes] if network.task == "sequence-classification" \
        else ["steps", "sequences", classes]
    graph.output(graph.op("LogSoftmax", logits, axis=-1), "log_posteriors", np.float32, shape)


def program(network: Network, path: str) -> list[str]:
    """Lines of Python that load the file at `path` and compute log posteriors of an example."""
    lines = ["import numpy, onnxruntime", f"session = onnxruntime.InferenceSession({path!r})"]
    if not network.is_language_model:
        width = network.inputs // (1 + network.deltas)
        return lines + [
            f"features = numpy.zeros((100, 1, {width}), numpy.float32)"
            "  # yours, as the archive has them: [steps, sequences, features]",
            "lengths = numpy.array([100])  # of each sequence",
            "log_posteriors, = session.run("
            "None, {'features': features, 'lengths': lengths})"]
    shape = (network.sizes.layers, 0, network.sizes.hidden)
    kinds = state_kinds(network)
    lines += [f"{kind} = numpy.zeros({shape}, numpy.float32)" for kind in kinds]
    lines[-1] += "  # of no sequences: the state before a text"
    given = ["'tokens': tokens", "'lengths': lengths"]
    given += [f"'initial_{kind}': {kind}" for kind in kinds]
    if network.has_steps:
        lines.append("position = numpy.array([0])  # tokens of the text that were read before")
        given.append("'first_step': position")
    return lines + [
        "tokens = numpy.zeros((20, 1), numpy.int64)  # yours: [steps, sequences]",
        "lengths = numpy.array([20])  # of each sequence",
        f"inputs = {{{', '.join(given)}}}",
        f"{', '.join(['log_posteriors', *kinds])} = session.run(None, inputs)",
        f"# {' and '.join(kinds)} now go on with the text, in the next call"]
