"""The names and layout of nn.LSTM, nn.GRU and nn.RNN, and the lines of Python that run such a file.

The gates of an LSTM lie in the same order in both programs (i, f, g, o), and so do those of a GRU
(r, z, n), whose reset gate multiplies the product and its bias in both.
"""

from __future__ import annotations

import numpy as np

from failures import Failure
from folding import DiffersByStep, NotPlain, PlainDirection, plain
from network import Network, Sizes

MODULES = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}


def suffix(layer: int, direction: str) -> str:
    """The end of a tensor's name, `_l0` or `_l0_reverse`."""
    return f"_l{layer}" + ("_reverse" if direction == "backward" else "")


def tensors(network: Network, step: int | None) -> dict[str, np.ndarray]:
    """The tensors of a PyTorch model that computes the same; refuses a network that has none.

    `step` is the time step whose statistics are folded in, or None where all have the same.
    """
    sizes = network.sizes
    if sizes.peepholes != "none":
        key = f"model.peepholes: {sizes.peepholes}"
        raise Failure(refusal(NotPlain(key, "lets gates read the cell"), sizes))
    if step is not None:
        check_step(network, step)
    result: dict[str, np.ndarray] = {}
    if network.embedding is not None:
        result["embedding.weight"] = network.embedding
    hidden, cell = [], []
    for index, layer in enumerate(network.layers):
        for name, direction in zip(sizes.directions, layer):
            try:
                folded = plain(direction, sizes, step)
            except NotPlain as reason:
                raise Failure(refusal(reason, sizes)) from reason
            result |= layer_tensors(folded, suffix(index, name))
            hidden.append(folded.initial_hidden)
            cell.append(folded.initial_cell)
    if hidden[0] is not None:
        result["initial_hidden"] = np.stack(hidden)
        if cell[0] is not None:
            result["initial_cell"] = np.stack(cell)
    if network.feature_mean is not None:
        result["features.mean"] = network.feature_mean
        result["features.deviation"] = network.feature_deviation
    if not network.tied:
        result["output.weight"] = network.output_weight
    result["output.bias"] = network.output_bias
    return result


def layer_tensors(folded: PlainDirection, end: str) -> dict[str, np.ndarray]:
    return {
        "weight_ih" + end: folded.input_weight, "weight_hh" + end: folded.recurrent_weight,
        "bias_ih" + end: folded.input_bias, "bias_hh" + end: folded.recurrent_bias}


def check_step(network: Network, step: int) -> None:
    """Refuses `--fold-step` where it has no meaning."""
    if not network.has_steps:
        raise Failure(
            "--fold-step: the model has no statistics that differ from one time step to another")
    steps = max(
        term.steps for layer in network.layers for d in layer for term in d.terms.values())
    if not 0 <= step < steps:
        raise Failure(f"--fold-step {step}: statistics are of the time steps 0 to {steps - 1}")


def refusal(reason: NotPlain, sizes: Sizes) -> str:
    """One sentence that names the key and the way out."""
    module = "nn." + MODULES[sizes.cell]
    way = "--to onnx exports the model as it is"
    if isinstance(reason, DiffersByStep):
        way += ", and --fold-step T folds in those of one step"
    return f"{reason}, which {module} cannot do; {way}"


def cost_of_step(step: int) -> str:
    """What `--fold-step` costs."""
    return (f"every time step is normalised with the statistics of step {step}: at other steps, "
            "and at those that follow them, outputs differ from the trained model's")


def program(network: Network, path: str) -> list[str]:
    """Lines of Python that load the file at `path` and compute log posteriors of an example."""
    sizes = network.sizes
    module, directions = MODULES[sizes.cell], len(sizes.directions)
    arguments = f"{network.inputs}, {sizes.hidden}, num_layers={sizes.layers}"
    if sizes.bidirectional:
        arguments += ", bidirectional=True"
    lines = [
        "import torch",
        "from safetensors.torch import load_file",
        f"weights = load_file({path!r})",
        f"rnn = torch.nn.{module}({arguments})",
        "rnn.load_state_dict({name: weights[name] for name in rnn.state_dict()})",
        "rnn.requires_grad_(False)",
    ]
    lines += example(network)
    lines += initial_state(network, sizes.layers * directions)
    state = ", state" if sizes.initial_state == "learned" else ""
    output = "weights['embedding.weight']" if network.tied else "weights['output.weight']"
    if network.is_language_model:
        # The state that is returned goes on with the text.
        lines += [f"outputs, state = rnn(weights['embedding.weight'][tokens]{state})"]
    else:
        lines += [
            "packed = torch.nn.utils.rnn.pack_padded_sequence("
            "inputs, lengths, enforce_sorted=False)",
            f"outputs, state = rnn(packed{state})",
            *read_out(network, directions)]
    return lines + [
        f"logits = torch.nn.functional.linear(outputs, {output}, weights['output.bias'])",
        "log_posteriors = torch.log_softmax(logits, dim=-1)"
        + ("  # [sequences, classes]" if network.task == "sequence-classification"
           else "  # [steps, sequences, classes]")]


def example(network: Network) -> list[str]:
    """Lines that stand for the caller's data."""
    if network.is_language_model:
        return ["tokens = torch.zeros(20, 1, dtype=torch.int64)  # yours: [steps, sequences]"]
    lines = []
    if network.deltas:
        lines.append(f"# Kaldi's add-deltas of order {network.deltas} come first")
    lines += [
        f"features = torch.zeros(100, 1, {network.inputs})  # yours: [steps, sequences, features]",
        "lengths = torch.tensor([100])  # of each sequence"]
    match network.normalize:
        case "global":
            lines.append("inputs = (features - weights['features.mean']) "
                         "/ weights['features.deviation']")
        case "utterance":
            lines += ["# each feature of a sequence is brought to mean 0 and variance 1 first",
                      "inputs = features"]
        case _:
            lines.append("inputs = features")
    return lines


def initial_state(network: Network, states: int) -> list[str]:
    """Lines that give the learned state before the first step the width of the batch."""
    if network.sizes.initial_state != "learned":
        return []
    batch = "tokens" if network.is_language_model else "features"
    names = ["initial_hidden"] + (["initial_cell"] if network.sizes.cell == "lstm" else [])
    parts = [f"weights['{name}'].unsqueeze(1).repeat(1, {batch}.shape[1], 1)" for name in names]
    return [f"state = ({', '.join(parts)})" if len(parts) > 1 else f"state = {parts[0]}"]


def read_out(network: Network, directions: int) -> list[str]:
    """Lines that turn what the module returns into what the output layer reads."""
    if network.task == "frame-classification":
        return ["outputs, _ = torch.nn.utils.rnn.pad_packed_sequence(outputs)"]
    hidden = "state[0]" if network.sizes.cell == "lstm" else "state"
    if directions == 1:
        return [f"outputs = {hidden}[-1]"]
    return [f"outputs = torch.cat([{hidden}[-2], {hidden}[-1]], dim=-1)"]
