"""One time step of each cell (mathematics.md, section 1). G rows of a product are 4H (i, f, g, o), H, or 3H (r, z, n)."""

from __future__ import annotations

from typing import Callable

import torch
from torch import Tensor


def lstm(
    a_BG: Tensor, c_BH: Tensor, peephole: Tensor | None, normalize_cell: Callable[[Tensor], Tensor] = lambda c: c
) -> tuple[Tensor, Tensor]:
    """h and c; `peephole` is p_o, [H], or p_i, p_f and p_o, [3, H]. The cell that is carried on is not normalised."""
    a_i, a_f, a_g, a_o = a_BG.chunk(4, dim=-1)
    p_i = p_f = p_o = None
    if peephole is not None:
        p_i, p_f, p_o = peephole if peephole.dim() == 2 else (None, None, peephole)
    if p_i is not None:
        a_i, a_f = a_i + p_i * c_BH, a_f + p_f * c_BH
    c = torch.sigmoid(a_f) * c_BH + torch.sigmoid(a_i) * torch.tanh(a_g)
    if p_o is not None:
        a_o = a_o + p_o * c
    return torch.sigmoid(a_o) * torch.tanh(normalize_cell(c)), c


def rnn(a_BH: Tensor) -> Tensor:
    return torch.tanh(a_BH)


def gru(projected_BG: Tensor, recurrent_BG: Tensor, hidden_bias: Tensor, h_BH: Tensor) -> Tensor:
    """`projected` is the input's part with b, `recurrent` the state's part without d_n, which r multiplies too."""
    x_r, x_z, x_n = projected_BG.chunk(3, dim=-1)
    h_r, h_z, h_n = recurrent_BG.chunk(3, dim=-1)
    r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
    n = torch.tanh(x_n + r * (h_n + hidden_bias))
    return (1 - z) * n + z * h_BH
