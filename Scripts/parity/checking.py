"""What the checks of the reference share."""

from __future__ import annotations

import torch

TOLERANCE = 1e-10  # float64 sums in another order


def close(found, expected, what: str, tolerance: float = TOLERANCE) -> None:
    """Asserts that two tensors or numbers have the same shape and values."""
    found, expected = torch.as_tensor(found), torch.as_tensor(expected)
    assert found.shape == expected.shape, f"{what}: shape {tuple(found.shape)}, expected {tuple(expected.shape)}"
    difference = float((found.detach().double() - expected.detach().double()).abs().max())
    assert difference <= tolerance, f"{what}: differs by {difference}"
