"""Recurrent models in float64 (mathematics.md, sections 1, 2 and 6); derivatives by autograd.

T time steps, B sequences, I inputs and H cells of a layer, V words or classes. Gates are stacked i, f, g, o.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from normalization import Layout, Normalization, Statistics, statistics_groups

PLACEMENTS = ("none", "input", "preactivation", "separate", "hidden")


@dataclass(frozen=True)
class Shape:
    """What decides the tensors of a model and its statistics."""

    vocabulary: int  # words, or classes of frames
    embedding: int  # inputs of the first layer
    hidden: int
    layers: int
    cell: str  # lstm | rnn
    peepholes: str  # none | output | all
    placement: str
    statistics: str  # frame | sequence
    scope: str | tuple  # local | global | ("group", k)
    batch_size: int
    shards: int
    steps: int
    epsilon: float = 1e-5
    momentum: float = 0.1
    bidirectional: bool = False
    embedded: bool = True  # inputs are ids of words; otherwise vectors

    def __post_init__(self) -> None:
        if self.placement not in PLACEMENTS:
            raise ValueError(f"placement {self.placement!r} is not one of {PLACEMENTS}")
        if self.placement in ("preactivation", "separate", "hidden") and self.statistics == "sequence":
            raise ValueError(f"placement {self.placement} depends on the recurrence: statistics must be frame")
        if self.cell == "rnn" and self.peepholes != "none":
            raise ValueError("an rnn cell has no peepholes")

    @property
    def rows(self) -> int:
        """Outputs of a layer's products: 4H, or H for an rnn."""
        return self.hidden * (4 if self.cell == "lstm" else 1)

    def norms(self) -> dict[str, tuple[int, bool]]:
        """Normalisations of a layer: name to (features, has β)."""
        if self.placement == "input":
            return {"input_norm": (self.rows, True)}
        if self.placement == "preactivation":
            return {"preactivation_norm": (self.rows, True)}
        if self.placement == "hidden":
            return {"hidden_norm": (self.hidden, True)}
        if self.placement == "separate":
            parts = {"recurrent_norm": (self.rows, False), "input_norm": (self.rows, False)}
            return parts | ({"cell_norm": (self.hidden, True)} if self.cell == "lstm" else {})
        return {}

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of all parameters, in the order of the interface."""
        shapes: dict[str, tuple[int, ...]] = {}
        if self.embedded:
            shapes["embedding.weight"] = (self.vocabulary, self.embedding)
        for layer, direction in product(range(self.layers), self.directions):
            prefix = self.prefix(layer, direction)
            inputs = self.embedding if layer == 0 else self.outputs
            shapes[prefix + "input_weight"] = (self.rows, inputs)
            shapes[prefix + "recurrent_weight"] = (self.rows, self.hidden)
            if self.placement not in ("input", "preactivation"):
                shapes[prefix + "bias"] = (self.rows,)
            if self.peepholes != "none":
                shapes[prefix + "peephole"] = (self.hidden,) if self.peepholes == "output" else (3, self.hidden)
            for name, (features, has_beta) in self.norms().items():
                shapes[f"{prefix}{name}.gamma"] = (features,)
                if has_beta:
                    shapes[f"{prefix}{name}.beta"] = (features,)
        shapes["output.weight"] = (self.vocabulary, self.outputs)
        shapes["output.bias"] = (self.vocabulary,)
        return shapes

    @property
    def directions(self) -> tuple[str, ...]:
        return ("forward", "backward") if self.bidirectional else ("forward",)

    @property
    def outputs(self) -> int:
        """Outputs of a layer: H, or 2H."""
        return self.hidden * len(self.directions)

    def prefix(self, layer: int, direction: str = "forward") -> str:
        return f"{self.cell}.{layer}.{direction}."


State = list[tuple[Tensor, Tensor]]  # (h, c) a layer and direction, [B, H] each


class Model:
    """Parameters (leaves of autograd), normalisations and the forward pass."""

    def __init__(self, shape: Shape, parameters: dict[str, Tensor], dtype: torch.dtype = torch.float64):
        expected = shape.tensors()
        found = {name: tuple(tensor.shape) for name, tensor in parameters.items()}
        if found != expected:
            raise ValueError(f"tensors differ: {set(found.items()) ^ set(expected.items())}")
        self.shape, self.dtype = shape, dtype
        self.parameters = {n: parameters[n].detach().to(dtype).clone().requires_grad_() for n in expected}
        self.scope = shape.scope if isinstance(shape.scope, str) else {"group": shape.scope[1]}
        self.norms = {}
        for layer, direction, (name, (features, _)) in product(range(shape.layers), shape.directions, shape.norms().items()):
            full_name = shape.prefix(layer, direction) + name
            self.norms[full_name] = Normalization(
                full_name, features, shape.statistics, shape.steps, shape.epsilon, shape.momentum, dtype)

    def zero_state(self, batch: int) -> State:
        zeros = lambda: torch.zeros(batch, self.shape.hidden, dtype=self.dtype)
        return [(zeros(), zeros()) for _ in range(self.shape.layers * len(self.shape.directions))]

    def losses(
        self, inputs_TB: Tensor, targets_TB: Tensor, state: State, statistics: dict[str, Statistics] | None = None
    ) -> tuple[Tensor, State]:
        """Cross entropy of every word of a window in nats, [T, B], and the state after the window, cut from the graph."""
        T, B = inputs_TB.shape
        # Evaluation may have another number of sequences; it takes no statistics of the batch.
        groups = [] if statistics is not None else statistics_groups(B, self.shape.shards, self.scope)
        x = self.parameters["embedding.weight"][inputs_TB]
        logits, after = self.forward(x, Layout.full(T, B, groups), state, statistics)
        return cross_entropy(logits, targets_TB), after

    def forward(
        self, x_TBI: Tensor, layout: Layout, state: State, statistics: dict[str, Statistics] | None = None
    ) -> tuple[Tensor, State]:
        """Logits, [T, B, V], and the state after each sequence's last frame, cut from the graph.

        With `statistics` the pass is one of evaluation and normalises with them; without, it takes batch statistics.
        """
        x, after = x_TBI, []
        for layer in range(self.shape.layers):
            outputs = []
            for direction in self.shape.directions:
                turned = x if direction == "forward" else reverse(x, layout.lengths)
                y, final = self._layer(self.shape.prefix(layer, direction), turned, layout, state[len(after)], statistics)
                outputs.append(y if direction == "forward" else reverse(y, layout.lengths))
                after.append((final[0].detach(), final[1].detach()))
            x = torch.cat(outputs, dim=-1)
        return x @ self.parameters["output.weight"].T + self.parameters["output.bias"], after

    def _layer(
        self, prefix: str, x_TBI: Tensor, layout: Layout, state: tuple[Tensor, Tensor], statistics: dict[str, Statistics] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """One direction of a layer, which starts at step 0 of `x`."""
        placement = self.shape.placement
        get = lambda name: self.parameters.get(prefix + name)
        input_weight, recurrent_weight, bias = get("input_weight"), get("recurrent_weight"), get("bias")

        def bn(name: str, z: Tensor, step: int | None = None) -> Tensor:
            """BN of all time steps (`step` none, z [T, B, F]) or of one (z [B, F])."""
            norm, gamma, beta = self.norms[prefix + name], get(name + ".gamma"), get(name + ".beta")
            z_TBF, first = (z, 0) if step is None else (z.unsqueeze(0), step)
            if statistics is None:
                y = norm.train(z_TBF, gamma, beta, layout, first)
            else:
                y = norm.evaluate(z_TBF, statistics[norm.name], gamma, beta, first)
            return y if step is None else y.squeeze(0)

        projected = x_TBI @ input_weight.T
        if placement in ("input", "separate"):
            projected = bn("input_norm", projected)
        if bias is not None:
            projected = projected + bias

        h, c = state
        outputs = []
        for t in range(x_TBI.shape[0]):
            before, live = (h, c), layout.mask(t, 1).T  # [B, 1]
            recurrent = h @ recurrent_weight.T
            if placement == "separate":
                recurrent = bn("recurrent_norm", recurrent, t)
            a = recurrent + projected[t]
            if placement == "preactivation":
                a = bn("preactivation_norm", a, t)
            if self.shape.cell == "rnn":
                h = torch.tanh(a)
            else:
                h, c = self._lstm_cell(a, c, get("peephole"), lambda z: bn("cell_norm", z, t) if placement == "separate" else z)
            if placement == "hidden":
                h = bn("hidden_norm", h, t)
            h, c = torch.where(live, h, before[0]), torch.where(live, c, before[1])  # padding changes no state
            outputs.append(h)
        return torch.stack(outputs), (h, c)

    def _lstm_cell(self, a: Tensor, c: Tensor, peephole: Tensor | None, normalize_cell) -> tuple[Tensor, Tensor]:
        """Section 1, from the preactivations [B, 4H] and the previous cell [B, H]."""
        a_i, a_f, a_g, a_o = a.chunk(4, dim=-1)
        p_i = p_f = p_o = None
        if self.shape.peepholes == "output":
            p_o = peephole
        elif self.shape.peepholes == "all":
            p_i, p_f, p_o = peephole
        if p_i is not None:
            a_i, a_f = a_i + p_i * c, a_f + p_f * c
        c = torch.sigmoid(a_f) * c + torch.sigmoid(a_i) * torch.tanh(a_g)
        if p_o is not None:
            a_o = a_o + p_o * c
        return torch.sigmoid(a_o) * torch.tanh(normalize_cell(c)), c

    # -- statistics ---------------------------------------------------------------------------------------------

    def update_running(self) -> None:
        for norm in self.norms.values():
            norm.update_running()

    def running_statistics(self) -> dict[str, Statistics]:
        return {name: norm.running for name, norm in self.norms.items()}

    def population_statistics(self) -> dict[str, Statistics]:
        return {name: norm.population() for name, norm in self.norms.items()}


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """−ln softmax at the target, in nats: `[…, V]` and `[…]` to `[…]`."""
    return torch.logsumexp(logits, dim=-1) - logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1)


def reverse(x_TBF: Tensor, lengths: Tensor) -> Tensor:
    """Each sequence reversed within its own length; padding stays where it is."""
    T, B = x_TBF.shape[:2]
    steps = torch.arange(T)[:, None]
    index = torch.where(steps < lengths[None, :], lengths[None, :] - 1 - steps, steps)
    return x_TBF[index, torch.arange(B)[None, :]]
