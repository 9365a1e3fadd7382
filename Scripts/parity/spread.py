"""How far rounding alone moves a run of the reference, step by step: the measure for cases whose curves are chaotic.

With two sequences in a statistics group x̂ is ±1 whatever their distance, and any two runs that round differently part.
No fixed bound fits such a case. The reference itself says how far runs part: in float32, and from weights moved by one
rounding of float32, in both precisions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate
from typing import Callable

import torch

from training import Curve

# Runs that part have the same growth and different first errors, of which the few runs here are a sample.
MULTIPLE = 10
ROUNDING = 2.0**-24  # half a unit in the last place of float32, as a share of the number
PERTURBED = 2  # runs from moved weights, in each precision


@dataclass(frozen=True)
class Spread:
    """The largest relative differences of runs of the reference from its run in float64, up to each step."""

    losses: list[float]
    norms: list[float]
    tensors: float
    statistics: float
    evaluation: float


def measure(
    run: Callable[[dict[str, torch.Tensor], torch.dtype], Curve], weights: dict[str, torch.Tensor],
    differences: Callable[[Curve], Spread]
) -> Spread:
    """`run` trains from weights in a precision, `differences` compares a run with the one in float64."""
    curves = [run(weights, torch.float32)]
    for seed in range(PERTURBED):
        moved = perturbed(weights, seed)
        curves += [run(moved, torch.float64), run(moved, torch.float32)]
    found = [differences(curve) for curve in curves]
    grown = lambda parts: list(accumulate(map(max, *parts), max))
    return Spread(
        grown([spread.losses for spread in found]), grown([spread.norms for spread in found]), max(spread.tensors for spread in found),
        max(spread.statistics for spread in found), max(spread.evaluation for spread in found))


def perturbed(weights: dict[str, torch.Tensor], seed: int) -> dict[str, torch.Tensor]:
    """Each weight up or down by one rounding of float32, in float64; constants such as U and c of a whitening stay."""
    generator = torch.Generator().manual_seed(seed)
    sign = lambda tensor: torch.randint(0, 2, tensor.shape, generator=generator, dtype=torch.float64) * 2 - 1
    return {
        name: tensor.double() if ".whitening." in name else tensor.double() * (1 + ROUNDING * sign(tensor))
        for name, tensor in weights.items()}


def bounds(limit: float, spread: list[float]) -> list[float]:
    """What each step may differ by. From a bound as large as the number itself on, runs have parted, and no bound is meant any more."""
    return [max(limit, MULTIPLE * value) if MULTIPLE * value < 1 else math.inf for value in spread]
