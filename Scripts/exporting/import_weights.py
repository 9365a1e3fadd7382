"""Turns a PyTorch state dict into a file that `lockstep train CONFIG --initialize-from` reads.

    Scripts/import-weights STATE_DICT.(pt|safetensors) CONFIG.yaml --output FILE.safetensors

The state dict is that of an nn.LSTM, nn.GRU or nn.RNN (tanh) with an output layer and, for language
models, an embedding. What Scripts/export --to pytorch writes is one.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Sequence

import numpy as np
import yaml
from safetensors import SafetensorError

import files
from failures import Damaged, Failure, Parser, guarded
from network import Sizes
from torch_layout import MODULES, suffix

# Placements at whose beginning a layer computes what a layer without normalisation does.
PLACEMENTS = ("none", "whitened-input")
# Of files that Scripts/export wrote; the features' mean and deviation come from the data.
IGNORED = ("features.mean", "features.deviation")


def parser() -> Parser:
    result = Parser(
        prog="Scripts/import-weights",
        description="Turns a PyTorch state dict into weights that Lockstep starts from.")
    result.add_argument("state_dict", help="a .pt file (torch.save of a state dict) or safetensors")
    result.add_argument("config", help="the configuration of the run that is to begin so")
    result.add_argument("--output", required=True, metavar="FILE", help="the file to write")
    result.add_argument("--prefix", default="", help="of the recurrent module's names, as in rnn.")
    result.add_argument(
        "--embedding", default="embedding.weight", metavar="NAME",
        help="the embedding's weight (%(default)s)")
    result.add_argument(
        "--output-layer", default="output.", metavar="PREFIX",
        help="of the output layer's weight and bias (%(default)s)")
    return result


def main(arguments: Sequence[str]) -> None:
    options = parser().parse_args(arguments)
    files.check_output(options.output, [options.state_dict, options.config])
    configuration = read_configuration(options.config)
    sizes = sizes_of(configuration, options.config)
    state = State(options.state_dict, read_state_dict(options.state_dict))
    result = imported(state, configuration, sizes, options)
    state.check_all_taken()
    files.write_tensors(options.output, result)
    count = sum(tensor.size for tensor in result.values())
    print(f"{options.output}: {len(result)} tensors of {count} numbers")
    print(f"lockstep train {options.config} --initialize-from {options.output}")


# -- what is read ---------------------------------------------------------------------------------


def read_configuration(path: str) -> dict:
    try:
        configuration = yaml.safe_load(files.read(path))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Failure(f"{path}: is no YAML: {error}") from error
    if not isinstance(configuration, dict) or "task" not in configuration:
        raise Failure(f"{path}: is no configuration: it has no key task")
    for section in ("data", "model", "normalization"):
        if not isinstance(configuration.get(section) or {}, dict):
            raise Failure(f"{path}: {section} is no mapping of keys to values")
    return configuration


def sizes_of(configuration: dict, path: str) -> Sizes:
    """What decides names and shapes; refuses what is not for a state dict."""
    try:
        sizes = Sizes.of(configuration)
    except (TypeError, ValueError) as error:
        raise Failure(
            f"{path}: model.layers and model.hidden_size are integers: {error}") from error
    check_configuration(sizes, path)
    return sizes


def read_state_dict(path: str) -> dict[str, np.ndarray]:
    """Names to arrays, from safetensors or from torch.save."""
    content = files.read(path)
    # Here, because it takes seconds.
    import safetensors.torch
    import torch

    try:
        if path.endswith(".safetensors"):
            loaded = safetensors.torch.load(content)
        else:
            # A pickle of anything else could run code.
            loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise Damaged(f"{path}: is no safetensors file: {error}") from error
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError, AttributeError,
            TypeError, IndexError) as error:
        # What PyTorch says here advises to run code from the file.
        raise Damaged(
            f"{path}: is damaged, or holds something else than tensors; torch.save of a module's "
            "state_dict() writes what can be read") from error
    if not isinstance(loaded, dict) or not all(
            isinstance(tensor, torch.Tensor) for tensor in loaded.values()):
        raise Damaged(f"{path}: is no state dict, which has names and tensors alone")
    return {name: tensor.to(torch.float64).numpy() for name, tensor in loaded.items()}


class State:
    """The tensors of a state dict, of which each is to be taken once."""

    def __init__(self, path: str, tensors: dict[str, np.ndarray]):
        self.path = path
        self.left = {name: tensor for name, tensor in tensors.items() if name not in IGNORED}

    def __contains__(self, name: str) -> bool:
        return name in self.left

    def take(self, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
        """A tensor, in float64; None in `shape` stands for any size."""
        if name not in self.left:
            known = ", ".join(sorted(self.left)[:6])
            raise Failure(f"{self.path}: has no tensor {name}; those left are {known or 'none'}")
        tensor = self.left.pop(name)
        fits = tensor.ndim == len(shape) and all(
            expected in (None, found) for expected, found in zip(shape, tensor.shape))
        if not fits:
            sizes = ["any" if size is None else size for size in shape]
            raise Failure(f"{self.path}: {name} is {list(tensor.shape)}, but the configuration has "
                          f"[{', '.join(map(str, sizes))}]")
        tensor = tensor.astype(np.float64)
        if not np.isfinite(tensor).all():
            raise Damaged(f"{self.path}: {name} has values that are not finite")
        return tensor

    def check_all_taken(self) -> None:
        if self.left:
            raise Failure(f"{self.path}: {min(self.left)} has no place in a network of this "
                          "configuration")


def check_configuration(sizes: Sizes, path: str) -> None:
    if sizes.cell not in MODULES:
        raise Failure(f"{path}: model.cell: {sizes.cell}, expected lstm, gru or rnn")
    if sizes.placement not in PLACEMENTS:
        raise Failure(
            f"{path}: normalization.placement: {sizes.placement} has γ, β and statistics, which a "
            "state dict does not have; none and whitened-input begin with its weights")
    if sizes.method != "batch" and sizes.placement != "none":
        raise Failure(f"{path}: normalization.method: {sizes.method} does not go with "
                      f"normalization.placement: {sizes.placement}")


# -- what is written ------------------------------------------------------------------------------


def imported(state: State, configuration: dict, sizes: Sizes, options) -> dict[str, np.ndarray]:
    """The tensors by their names in model.safetensors."""
    model, result = configuration.get("model") or {}, {}
    language, width = configuration["task"] == "language-model", None
    if language:
        embedding = state.take(options.embedding, (None, int(model.get("embedding_size", 200))))
        result["embedding.weight"], width = embedding, embedding.shape[1]
    layers = [(layer, name) for layer in range(sizes.layers) for name in sizes.directions]
    for layer, name in layers:
        inputs = width if layer == 0 else sizes.outputs
        tensors = direction(state, sizes, options.prefix + "{}" + suffix(layer, name), inputs)
        if layer == 0:
            width = tensors["input_weight"].shape[1]
        prefix = sizes.prefix(layer, name)
        result |= {prefix + part: tensor for part, tensor in tensors.items()}
    for part in ("initial_hidden", "initial_cell") if sizes.initial_state == "learned" else ():
        if part == "initial_cell" and sizes.cell != "lstm":
            continue
        shape = (len(layers), sizes.hidden)
        rows = state.take(part, shape) if part in state else np.zeros(shape)
        result |= {sizes.prefix(*place) + part: row for place, row in zip(layers, rows)}
    classes = len(result["embedding.weight"]) if language \
        else int((configuration.get("data") or {}).get("classes", 3546))
    weight, tied = options.output_layer + "weight", bool(model.get("tied_embedding", False))
    if not tied:
        result["output.weight"] = state.take(weight, (classes, sizes.outputs))
    elif weight in state and not np.array_equal(
            state.take(weight, (classes, sizes.outputs)), result["embedding.weight"]):
        raise Failure(f"{state.path}: {weight} differs from {options.embedding}, but "
                      "model.tied_embedding is true")
    bias = options.output_layer + "bias"
    result["output.bias"] = state.take(bias, (classes,)) if bias in state else np.zeros(classes)
    return result


def direction(
    state: State, sizes: Sizes, name: str, inputs: int | None
) -> dict[str, np.ndarray]:
    """The tensors of one direction of a layer; `name` has a gap for the part's."""
    G, H = sizes.rows, sizes.hidden
    weight = state.take(name.format("weight_ih"), (G, inputs))
    recurrent = state.take(name.format("weight_hh"), (G, H))
    # A module with bias=False has none.
    b_x, b_h = (
        state.take(name.format(part), (G,)) if name.format(part) in state else np.zeros(G)
        for part in ("bias_ih", "bias_hh"))
    tensors = {"input_weight": weight, "recurrent_weight": recurrent}
    if sizes.cell == "gru":
        # The reset gate multiplies the new gate's part of the second bias alone.
        tensors["bias"] = b_x + np.concatenate([b_h[: 2 * H], np.zeros(H)])
        tensors["hidden_bias"] = b_h[2 * H :]
    else:
        tensors["bias"] = b_x + b_h
    if sizes.peepholes != "none":
        # Gates that see nothing of the cell yet.
        tensors["peephole"] = np.zeros(H if sizes.peepholes == "output" else (3, H))
    if sizes.placement == "whitened-input":
        width = weight.shape[1]
        tensors["whitening.matrix"], tensors["whitening.mean"] = np.eye(width), np.zeros(width)
    return tensors


if __name__ == "__main__":
    sys.exit(guarded("import-weights", main, sys.argv[1:]))
