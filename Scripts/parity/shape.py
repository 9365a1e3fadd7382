"""What decides the tensors of a model and its statistics: names, shapes and allowed combinations (mathematics.md, sections 1 and 2)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

GATES = {"lstm": 4, "rnn": 1, "gru": 3}
METHODS = ("batch", "layer")
PLACEMENTS = ("none", "input", "preactivation", "state", "separate", "hidden", "whitened-input")
# Statistics of these depend on the recurrence, so they are of one time step.
RECURRENT_PLACEMENTS = ("preactivation", "state", "separate", "hidden")
# A GRU's products enter at different places, so their sum is never formed.
REFUSED_BY_GRU = ("preactivation", "state")
# β takes the place of the bias.
WITHOUT_BIAS = ("input", "preactivation", "state")


@dataclass(frozen=True)
class Shape:
    """Sizes and choices of a model."""

    vocabulary: int  # words, or classes
    embedding: int  # inputs of the first layer
    hidden: int
    layers: int
    cell: str  # lstm | rnn | gru
    peepholes: str  # none | output | all
    placement: str
    statistics: str  # frame | sequence
    scope: str | tuple  # local | global | ("group", k)
    batch_size: int
    shards: int
    steps: int  # rows of statistics of time steps
    epsilon: float = 1e-5
    momentum: float = 0.1
    bidirectional: bool = False
    embedded: bool = True  # inputs are ids of words; otherwise vectors
    method: str = "batch"  # batch | layer
    initial_state: str = "zero"  # zero | learned
    tied: bool = False  # the output layer's weights are the embedding's
    frames_per_step: int = 1  # fewest frames behind a time step's statistics in evaluation

    def __post_init__(self) -> None:
        if self.cell not in GATES or self.method not in METHODS or self.placement not in PLACEMENTS:
            raise ValueError(f"cell {self.cell!r}, method {self.method!r} or placement {self.placement!r} is not known")
        if self.placement in RECURRENT_PLACEMENTS and self.statistics == "sequence" and self.method == "batch":
            raise ValueError(f"placement {self.placement} depends on the recurrence: statistics must be frame")
        if self.cell != "lstm" and self.peepholes != "none":
            raise ValueError(f"a cell {self.cell} has no peepholes")
        if self.cell == "gru" and self.placement in REFUSED_BY_GRU:
            raise ValueError(f"placement {self.placement} needs the sum of both products, which a gru does not form")
        if self.placement == "whitened-input" and (self.method == "layer" or self.scope != "global"):
            raise ValueError("whitened-input has scope global and no method layer")
        if self.tied and (not self.embedded or self.embedding != self.outputs):
            raise ValueError("a tied embedding needs embedding_size = hidden_size")

    @property
    def rows(self) -> int:
        """Outputs of a layer's products: 4H, H for an rnn, 3H for a gru."""
        return self.hidden * GATES[self.cell]

    @property
    def directions(self) -> tuple[str, ...]:
        return ("forward", "backward") if self.bidirectional else ("forward",)

    @property
    def outputs(self) -> int:
        """Outputs of a layer: H, or 2H."""
        return self.hidden * len(self.directions)

    @property
    def scope_setting(self) -> str | dict:
        """The scope as a configuration has it."""
        return self.scope if isinstance(self.scope, str) else {"group": self.scope[1]}

    def prefix(self, layer: int, direction: str = "forward") -> str:
        return f"{self.cell}.{layer}.{direction}."

    def prefixes(self) -> list[str]:
        """All directions of all layers, from the bottom."""
        return [self.prefix(layer, direction) for layer, direction in product(range(self.layers), self.directions)]

    def inputs(self, layer: int) -> int:
        return self.embedding if layer == 0 else self.outputs

    def norms(self) -> dict[str, tuple[int, bool]]:
        """Normalised terms of a layer: name to (features, has β)."""
        if self.placement == "separate":
            parts = {"recurrent_norm": (self.rows, False), "input_norm": (self.rows, False)}
            return parts | ({"cell_norm": (self.hidden, True)} if self.cell == "lstm" else {})
        single = {
            "input": {"input_norm": (self.rows, True)}, "preactivation": {"preactivation_norm": (self.rows, True)},
            "state": {"recurrent_norm": (self.rows, True)}, "hidden": {"hidden_norm": (self.hidden, True)}}
        return single.get(self.placement, {})

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of all parameters, in the order of the interface."""
        shapes: dict[str, tuple[int, ...]] = {}
        if self.embedded:
            shapes["embedding.weight"] = (self.vocabulary, self.embedding)
        for layer, direction in product(range(self.layers), self.directions):
            prefix = self.prefix(layer, direction)
            shapes |= {prefix + name: size for name, size in self._layer_tensors(self.inputs(layer)).items()}
        if not self.tied:
            shapes["output.weight"] = (self.vocabulary, self.outputs)
        shapes["output.bias"] = (self.vocabulary,)
        return shapes

    def _layer_tensors(self, inputs: int) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {"input_weight": (self.rows, inputs), "recurrent_weight": (self.rows, self.hidden)}
        if self.placement not in WITHOUT_BIAS:
            shapes["bias"] = (self.rows,)
        if self.cell == "gru":
            shapes["hidden_bias"] = (self.hidden,)
        if self.peepholes != "none":
            shapes["peephole"] = (self.hidden,) if self.peepholes == "output" else (3, self.hidden)
        for name, (features, has_beta) in self.norms().items():
            shapes[f"{name}.gamma"] = (features,)
            if has_beta:
                shapes[f"{name}.beta"] = (features,)
        if self.initial_state == "learned":
            shapes["initial_hidden"] = (self.hidden,)
            if self.cell == "lstm":
                shapes["initial_cell"] = (self.hidden,)
        return shapes

    def constants(self) -> dict[str, tuple[int, ...]]:
        """Tensors of the model that no gradient changes: U and c of `whitened-input`."""
        shapes: dict[str, tuple[int, ...]] = {}
        if self.placement == "whitened-input":
            for layer, direction in product(range(self.layers), self.directions):
                inputs = self.inputs(layer)
                shapes[self.prefix(layer, direction) + "whitening.matrix"] = (inputs, inputs)
                shapes[self.prefix(layer, direction) + "whitening.mean"] = (inputs,)
        return shapes
