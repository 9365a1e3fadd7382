"""What the checks of the reference share."""

from __future__ import annotations

import torch

from model import Model, State, cross_entropy
from moments import Layout, Statistics, statistics_groups
from normalization import Mode

TOLERANCE = 1e-10  # float64 sums in another order


def close(found, expected, what: str, tolerance: float = TOLERANCE) -> None:
    """Asserts that two tensors or numbers have the same shape and values."""
    found, expected = torch.as_tensor(found), torch.as_tensor(expected)
    assert found.shape == expected.shape, f"{what}: shape {tuple(found.shape)}, expected {tuple(expected.shape)}"
    difference = float((found.detach().double() - expected.detach().double()).abs().max())
    assert difference <= tolerance, f"{what}: differs by {difference}"


def losses(
    m: Model, inputs_TB: torch.Tensor, targets_TB: torch.Tensor, state: State | None = None, stored: dict[str, Statistics] | None = None
) -> torch.Tensor:
    """Cross entropy of every word of a full window, [T, B], from the initial state unless another is given."""
    T, B = inputs_TB.shape
    groups = [] if stored is not None else statistics_groups(B, m.shape.shards, m.shape.scope_setting)
    state = m.initial_state(B) if state is None else state
    logits, _ = m.forward(m.embed(inputs_TB), Mode(Layout.full(T, B, groups), stored), state)
    return cross_entropy(logits, targets_TB)
