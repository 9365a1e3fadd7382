"""Recurrent language models in float64 (mathematics.md, sections 1, 2 and 6); derivatives by autograd.

T time steps, B sequences, I inputs and H cells of a layer, V classes. Gates are stacked i, f, g, o.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from normalization import Normalization, Statistics, statistics_groups

PLACEMENTS = ("none", "input", "preactivation", "separate", "hidden")


@dataclass(frozen=True)
class Shape:
    """What decides the tensors of a model and its statistics."""

    vocabulary: int
    embedding: int
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
        shapes: dict[str, tuple[int, ...]] = {"embedding.weight": (self.vocabulary, self.embedding)}
        for layer in range(self.layers):
            prefix = self.prefix(layer)
            inputs = self.embedding if layer == 0 else self.hidden
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
        shapes["output.weight"] = (self.vocabulary, self.hidden)
        shapes["output.bias"] = (self.vocabulary,)
        return shapes

    def prefix(self, layer: int) -> str:
        return f"{self.cell}.{layer}.forward."


State = list[tuple[Tensor, Tensor]]  # (h, c) a layer, [B, H] each


class Model:
    """Parameters (leaves of autograd), normalisations and the forward pass."""

    def __init__(self, shape: Shape, parameters: dict[str, Tensor], dtype: torch.dtype = torch.float64):
        expected = shape.tensors()
        found = {name: tuple(tensor.shape) for name, tensor in parameters.items()}
        if found != expected:
            raise ValueError(f"tensors differ: {set(found.items()) ^ set(expected.items())}")
        self.shape, self.dtype = shape, dtype
        self.parameters = {n: parameters[n].detach().to(dtype).clone().requires_grad_() for n in expected}
        scope = shape.scope if isinstance(shape.scope, str) else {"group": shape.scope[1]}
        groups = statistics_groups(shape.batch_size, shape.shards, scope)
        self.norms = {
            shape.prefix(layer) + name: Normalization(
                shape.prefix(layer) + name, features, shape.statistics, shape.steps, shape.epsilon, shape.momentum, groups, dtype)
            for layer in range(shape.layers)
            for name, (features, _) in shape.norms().items()
        }

    def zero_state(self, batch: int) -> State:
        zeros = lambda: torch.zeros(batch, self.shape.hidden, dtype=self.dtype)
        return [(zeros(), zeros()) for _ in range(self.shape.layers)]

    def losses(
        self, inputs_TB: Tensor, targets_TB: Tensor, state: State, statistics: dict[str, Statistics] | None = None
    ) -> tuple[Tensor, State]:
        """Cross entropy of every frame in nats, [T, B], and the state after the window, cut from the graph.

        With `statistics` the pass is one of evaluation and normalises with them; without, it takes batch statistics.
        """
        x = self.parameters["embedding.weight"][inputs_TB]
        after: State = []
        for layer in range(self.shape.layers):
            x, final = self._layer(layer, x, state[layer], statistics)
            after.append((final[0].detach(), final[1].detach()))
        logits = x @ self.parameters["output.weight"].T + self.parameters["output.bias"]
        losses = torch.logsumexp(logits, dim=-1) - logits.gather(-1, targets_TB.unsqueeze(-1)).squeeze(-1)
        return losses, after

    def _layer(self, layer: int, x_TBI: Tensor, state: tuple[Tensor, Tensor], statistics) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        prefix, placement = self.shape.prefix(layer), self.shape.placement
        get = lambda name: self.parameters.get(prefix + name)
        input_weight, recurrent_weight, bias = get("input_weight"), get("recurrent_weight"), get("bias")

        def bn(name: str, z: Tensor, step: int | None = None) -> Tensor:
            """BN of all time steps (`step` none, z [T, B, F]) or of one (z [B, F])."""
            norm, gamma, beta = self.norms[prefix + name], get(name + ".gamma"), get(name + ".beta")
            z_TBF, first = (z, 0) if step is None else (z.unsqueeze(0), step)
            if statistics is None:
                y = norm.train(z_TBF, gamma, beta, first)
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
