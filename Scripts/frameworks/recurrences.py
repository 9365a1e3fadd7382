"""The LSTM's loop over packed time steps, as a user of PyTorch writes it, in four forms.

H cells. Time step t has the sequences that reach it, the longest first, so that their number only falls.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models import step


def loop(projected: list[Tensor], weight_t: Tensor) -> Tensor:
    """From the input projections of each step, [B_t, 4H], and the recurrent weight as [H, 4H] to outputs, [N, H]."""
    return _run(step, projected, weight_t)


def _run(cell, projected: list[Tensor], weight_t: Tensor) -> Tensor:
    h = c = projected[0].new_zeros(projected[0].shape[0], weight_t.shape[0])
    outputs = []
    for each in projected:
        live = each.shape[0]
        if live < h.shape[0]:
            h, c = h[:live], c[:live]
        h, c = cell(each, h, c, weight_t)
        outputs.append(h)
    return torch.cat(outputs)


@torch.jit.script
def scripted_loop(projected: list[Tensor], weight_t: Tensor) -> Tensor:
    h = projected[0].new_zeros([projected[0].size(0), weight_t.size(0)])
    c = h
    outputs: list[Tensor] = []
    for each in projected:
        live = each.size(0)
        if live < h.size(0):
            h, c = h[:live], c[:live]
        i, f, g, o = torch.addmm(each, h, weight_t).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        outputs.append(h)
    return torch.cat(outputs)


def compiled_loop():
    # The number of sequences is no constant: another compilation for each would take minutes.
    compiled = torch.compile(step, fullgraph=True, dynamic=True)
    return lambda projected, weight_t: _run(compiled, projected, weight_t)


# Time steps of one compiled function, as many as in the small language model; compiling takes time that grows with them.
UNROLLED = 20


def _piece(projected: list[Tensor], h: Tensor, c: Tensor, weight_t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    outputs = []
    for each in projected:
        h, c = step(each, h, c, weight_t)
        outputs.append(h)
    return torch.cat(outputs), h, c


def unrolled_loop():
    """Steps in compiled pieces as long as all sequences go on; what is left one by one. For sequences of one length."""
    compiled = torch.compile(_piece, fullgraph=True, dynamic=False)

    def run(projected: list[Tensor], weight_t: Tensor) -> Tensor:
        full = projected[0].shape[0]
        h = c = projected[0].new_zeros(full, weight_t.shape[0])
        outputs, start = [], 0
        while start < len(projected):
            part = projected[start:start + UNROLLED]
            if len(part) == UNROLLED and part[-1].shape[0] == full:
                out, h, c = compiled(part, h, c, weight_t)
            else:
                part = part[:1]
                h, c = step(part[0], h[:part[0].shape[0]], c[:part[0].shape[0]], weight_t)
                out = h
            outputs.append(out)
            start += len(part)
        return torch.cat(outputs)

    return run
