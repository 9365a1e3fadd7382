"""One direction of a recurrent layer, with the normalised terms of section 2's table (mathematics.md)."""

from __future__ import annotations

import torch
from torch import Tensor

import cells
from normalization import BatchTerm, LayerTerm, Mode
from shape import Shape
from whitening import Whitening

CellState = tuple[Tensor, Tensor]  # h and c, [B, H] each; c of a cell that has none stays 0


class Layer:
    """Starts at step 0 of what it is given: for the backward direction the sequences are reversed before."""

    def __init__(self, shape: Shape, prefix: str, inputs: int, parameters: dict[str, Tensor], dtype: torch.dtype):
        self.shape, self.prefix = shape, prefix
        self.p = {name.removeprefix(prefix): tensor for name, tensor in parameters.items() if name.startswith(prefix)}
        self.terms = {name: self._term(name, features, dtype) for name, (features, _) in shape.norms().items()}
        self.whitening = None
        if shape.placement == "whitened-input":
            self.whitening = Whitening(inputs, shape.epsilon, shape.momentum, dtype)

    def _term(self, name: str, features: int, dtype: torch.dtype) -> BatchTerm | LayerTerm:
        s, full_name = self.shape, self.prefix + name
        if s.method == "layer":
            return LayerTerm(full_name, s.epsilon)
        return BatchTerm(full_name, features, s.statistics, s.steps, s.epsilon, s.momentum, dtype, s.frames_per_step)

    def initial_state(self, batch: int) -> CellState:
        """Zeros, or the learned vectors for every sequence."""
        zeros = self.p["recurrent_weight"].new_zeros(batch, self.shape.hidden)
        vectors = (self.p.get(name) for name in ("initial_hidden", "initial_cell"))
        h, c = (zeros if vector is None else vector.expand(batch, -1) for vector in vectors)
        return h, c

    def forward(self, x_TBI: Tensor, state: CellState, mode: Mode) -> tuple[Tensor, CellState]:
        """Outputs, [T, B, H], and the state after each sequence's last frame."""
        projected = self._project(x_TBI, mode)
        h, c = state
        outputs = []
        for t in range(x_TBI.shape[0]):
            live = mode.layout.mask(t, 1).T  # [B, 1]
            new_h, new_c = self._step(projected[t], h, c, mode, t)
            h, c = torch.where(live, new_h, h), torch.where(live, new_c, c)  # padding changes no state
            outputs.append(h)
        return torch.stack(outputs), (h, c)

    def _project(self, x: Tensor, mode: Mode) -> Tensor:
        """The input's part of the preactivations, b included, [T, B, G]."""
        projected = (x if self.whitening is None else self.whitening.apply(x)) @ self.p["input_weight"].T
        if "input_norm" in self.terms:
            projected = self._normalized("input_norm", projected, mode, 0)
        return projected + self.p["bias"] if "bias" in self.p else projected

    def _step(self, projected: Tensor, h: Tensor, c: Tensor, mode: Mode, t: int) -> CellState:
        def normalized(name: str, z_BF: Tensor) -> Tensor:
            """The term where the placement has it, otherwise `z` as it is."""
            return self._normalized(name, z_BF.unsqueeze(0), mode, t).squeeze(0) if name in self.terms else z_BF

        recurrent = normalized("recurrent_norm", h @ self.p["recurrent_weight"].T)
        if self.shape.cell == "gru":
            h = cells.gru(projected, recurrent, self.p["hidden_bias"], h)
        else:
            a = normalized("preactivation_norm", recurrent + projected)
            if self.shape.cell == "rnn":
                h = cells.rnn(a)
            else:
                h, c = cells.lstm(a, c, self.p.get("peephole"), lambda z: normalized("cell_norm", z))
        return normalized("hidden_norm", h), c

    def _normalized(self, name: str, z_TBF: Tensor, mode: Mode, first_step: int) -> Tensor:
        return self.terms[name].apply(z_TBF, self.p[name + ".gamma"], self.p.get(name + ".beta"), mode, first_step)
