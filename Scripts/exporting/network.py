"""A trained network: its choices, and the tensors of each layer and direction, in float64.

T time steps, R rows of statistics, I inputs and H cells of a layer, G rows of a product (4H for an
LSTM, 3H for a GRU, H for a plain cell), F features of a normalised term (G or H), V classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from checkpoint import Checkpoint
from failures import Damaged

GATES = {"lstm": 4, "gru": 3, "rnn": 1}
# β takes the place of the bias.
WITHOUT_BIAS = ("input", "preactivation", "state")


@dataclass(frozen=True)
class Sizes:
    """What decides the names and shapes of a model's tensors."""

    cell: str  # lstm | gru | rnn
    layers: int
    hidden: int
    bidirectional: bool
    peepholes: str  # none | output | all
    initial_state: str  # zero | learned
    placement: str
    method: str  # batch | layer
    statistics: str  # frame | sequence

    @classmethod
    def of(cls, configuration: dict) -> Sizes:
        """From a configuration; keys that are absent have their defaults."""
        model = configuration.get("model") or {}
        norm = configuration.get("normalization") or {}
        return cls(
            model.get("cell", "lstm"), int(model.get("layers", 2)),
            int(model.get("hidden_size", 200)), bool(model.get("bidirectional", False)),
            model.get("peepholes", "none"),
            model.get("initial_state", "zero"), norm.get("placement", "input"),
            norm.get("method", "batch"), norm.get("statistics", "frame"))

    @property
    def rows(self) -> int:
        """G."""
        return GATES[self.cell] * self.hidden

    @property
    def directions(self) -> tuple[str, ...]:
        return ("forward", "backward") if self.bidirectional else ("forward",)

    @property
    def outputs(self) -> int:
        """What a layer puts out: H, or 2H."""
        return self.hidden * len(self.directions)

    @property
    def has_statistics(self) -> bool:
        """Whether anything is normalised by statistics of several frames."""
        return self.method == "batch" and self.placement not in ("none", "whitened-input")

    def prefix(self, layer: int, direction: str) -> str:
        return f"{self.cell}.{layer}.{direction}."

    def terms(self) -> dict[str, tuple[int, bool]]:
        """Normalised terms of a direction: name to (features, has β)."""
        if self.placement == "separate":
            products = {"input_norm": (self.rows, False), "recurrent_norm": (self.rows, False)}
            cell = {"cell_norm": (self.hidden, True)} if self.cell == "lstm" else {}
            return products | cell
        names = {"input": "input_norm", "preactivation": "preactivation_norm",
                 "state": "recurrent_norm", "hidden": "hidden_norm"}
        if self.placement not in names:
            return {}
        features = self.hidden if self.placement == "hidden" else self.rows
        return {names[self.placement]: (features, True)}

    def parameters(self, inputs: int) -> dict[str, tuple[int, ...]]:
        """Names and shapes of a direction's tensors, without those of its normalised terms."""
        H, G = self.hidden, self.rows
        shapes: dict[str, tuple[int, ...]] = {
            "input_weight": (G, inputs), "recurrent_weight": (G, H)}
        if self.placement not in WITHOUT_BIAS:
            shapes["bias"] = (G,)
        if self.cell == "gru":
            shapes["hidden_bias"] = (H,)
        if self.peepholes != "none":
            shapes["peephole"] = (H,) if self.peepholes == "output" else (3, H)
        if self.initial_state == "learned":
            shapes["initial_hidden"] = (H,)
            if self.cell == "lstm":
                shapes["initial_cell"] = (H,)
        if self.placement == "whitened-input":
            shapes["whitening.matrix"] = (inputs, inputs)
            shapes["whitening.mean"] = (inputs,)
        return shapes


@dataclass(frozen=True)
class Term:
    """`γ ⊙ (z − μ) / √(v + ε) + β`; without statistics, μ and v are of each frame's features."""

    gamma: np.ndarray  # [F]
    beta: np.ndarray  # [F]; zeros where it is fixed to 0
    mean: np.ndarray | None  # [R, F]
    variance: np.ndarray | None  # [R, F]
    epsilon: float

    @property
    def steps(self) -> int:
        """R; later time steps take the statistics of the last row."""
        return 0 if self.mean is None else len(self.mean)

    @property
    def is_constant(self) -> bool:
        """Whether all time steps have the same statistics."""
        return self.mean is not None and bool(
            (self.mean == self.mean[0]).all() and (self.variance == self.variance[0]).all())

    def folded(self) -> tuple[np.ndarray, np.ndarray]:
        """Scale and shift, `γ/√(v+ε)` and `β − γ μ/√(v+ε)`, [R, F] each."""
        scale = self.gamma / np.sqrt(self.variance + self.epsilon)
        return scale, self.beta - scale * self.mean


@dataclass(frozen=True)
class Direction:
    """One direction of a layer; the tensors have the names of interfaces.md without the prefix."""

    tensors: dict[str, np.ndarray]
    terms: dict[str, Term]

    def vector(self, name: str, size: int) -> np.ndarray:
        """A tensor, or zeros where the model has none."""
        return self.tensors.get(name, np.zeros(size))


@dataclass(frozen=True)
class Network:
    """A model, the lowest layer first."""

    task: str
    sizes: Sizes
    layers: list[list[Direction]]
    embedding: np.ndarray | None  # [V, E]; of language models
    output_weight: np.ndarray  # [V, H] or [V, 2H]
    output_bias: np.ndarray  # [V]
    tied: bool  # whether the output layer's weights are the embedding's
    window: int | None  # of a language model: steps of one window, by which its statistics count
    deltas: int
    normalize: str  # global | utterance | none
    feature_mean: np.ndarray | None  # [I], with `normalize: global`
    feature_deviation: np.ndarray | None  # [I]
    inputs: int  # what the lowest layer reads

    @property
    def is_language_model(self) -> bool:
        return self.task == "language-model"

    @property
    def has_steps(self) -> bool:
        """Whether statistics differ from one time step to another."""
        return any(
            not term.is_constant for layer in self.layers for d in layer
            for term in d.terms.values() if term.mean is not None)


def network(checkpoint: Checkpoint) -> Network:
    """The network of a checkpoint, whose tensors have the names and shapes of its configuration."""
    c, taken = checkpoint.configuration, Tensors(checkpoint)
    sizes, model = Sizes.of(c), c.get("model") or {}
    data = c.get("data") or {}
    embedding, mean, deviation = None, None, None
    if c["task"] == "language-model":
        classes = len(checkpoint.data)
        embedding = taken.take("embedding.weight", (classes, int(model.get("embedding_size", 200))))
        inputs, deltas, normalize = embedding.shape[1], 0, "none"
    else:
        classes = int(data.get("classes", 3546))
        deltas, normalize = int(data.get("deltas", 0)), data.get("normalize", "global")
        try:
            inputs = int(checkpoint.data["dimension"]) * (1 + deltas)
            if normalize == "global":
                mean = np.array(checkpoint.data["mean"], np.float32)
                deviation = np.array(checkpoint.data["deviation"], np.float32)
        except (KeyError, TypeError, ValueError) as error:
            raise Damaged(f"{checkpoint.path}: features.json is no record of features") from error
        if mean is not None and not mean.shape == deviation.shape == (inputs,):
            raise Damaged(f"{checkpoint.path}: features.json is not of {inputs} features")
    layers = []
    for layer in range(sizes.layers):
        width = inputs if layer == 0 else sizes.outputs
        layers.append([direction(taken, c, sizes, layer, name, width) for name in sizes.directions])
    tied = bool(model.get("tied_embedding", False))
    weight = embedding if tied else taken.take("output.weight", (classes, sizes.outputs))
    window = None
    if embedding is not None:
        window = int((c.get("training") or {}).get("unroll_steps", 20))
    bias = taken.take("output.bias", (classes,))
    taken.check_all_taken()
    return Network(
        c["task"], sizes, layers, embedding, weight, bias, tied, window, deltas, normalize, mean,
        deviation, inputs)


def direction(
    taken: Tensors, configuration: dict, sizes: Sizes, layer: int, name: str, inputs: int
) -> Direction:
    """The tensors and terms of one direction of a layer."""
    prefix, epsilon = sizes.prefix(layer, name), norm_epsilon(configuration)
    tensors = {n: taken.take(prefix + n, shape) for n, shape in sizes.parameters(inputs).items()}
    if (configuration.get("model") or {}).get("recurrent_weights") == "bfloat16":
        # Products read a rounded copy.
        tensors["recurrent_weight"] = bfloat16(tensors["recurrent_weight"])
    terms = {}
    for term, (features, has_beta) in sizes.terms().items():
        gamma = taken.take(f"{prefix}{term}.gamma", (features,))
        beta = taken.take(f"{prefix}{term}.beta", (features,)) if has_beta else np.zeros(features)
        mean = variance = None
        if sizes.method == "batch":
            shape = (None, features) if sizes.statistics == "frame" else (features,)
            mean, variance = (
                taken.take(f"{prefix}{term}.running_{part}", shape).reshape(-1, features)
                for part in ("mean", "variance"))
            if mean.shape != variance.shape or len(mean) == 0:
                raise Damaged(f"{taken.path}: {prefix}{term}: means and variances differ in shape")
        terms[term] = Term(gamma, beta, mean, variance, epsilon)
    return Direction(tensors, terms)


def norm_epsilon(configuration: dict) -> float:
    return float((configuration.get("normalization") or {}).get("epsilon", 1e-5))


def bfloat16(values: np.ndarray) -> np.ndarray:
    """Rounded to 8 bits of significand, to the nearest, ties to even."""
    bits = values.astype(np.float32).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return (rounded & np.uint32(0xFFFF0000)).view(np.float32).astype(np.float64)


class Tensors:
    """The tensors of model.safetensors, of which each is to be taken once."""

    def __init__(self, checkpoint: Checkpoint):
        self.path = checkpoint.path
        self.left = dict(checkpoint.tensors)

    def take(self, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
        """A tensor, in float64; None in `shape` stands for any size."""
        if name not in self.left:
            raise Damaged(f"{self.path}: model.safetensors has no tensor {name}")
        tensor = self.left.pop(name)
        fits = tensor.ndim == len(shape) and all(
            expected in (None, found) for expected, found in zip(shape, tensor.shape))
        if not fits or tensor.dtype != np.float32:
            raise Damaged(
                f"{self.path}: {name} is {tensor.dtype} {list(tensor.shape)}, expected float32 "
                f"{list(shape)}")
        return tensor.astype(np.float64)

    def check_all_taken(self) -> None:
        if self.left:
            raise Damaged(f"{self.path}: model.safetensors has a tensor {min(self.left)} that the "
                          "configuration does not know")
