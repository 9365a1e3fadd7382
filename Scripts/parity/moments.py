"""Which frames share statistics, and what is kept of them (mathematics.md, sections 3 to 5)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

FEWEST_FRAMES = 2  # a group with fewer is normalised with the running statistics


@dataclass(frozen=True)
class Layout:
    """How long each sequence of a minibatch is, [B], and which sequences share statistics; an empty group is left out."""

    lengths: Tensor
    groups: list[list[int]]

    @staticmethod
    def full(steps: int, batch_size: int, groups: list[range]) -> "Layout":
        """No padding at all."""
        return Layout(torch.full((batch_size,), steps), [list(group) for group in groups])

    def mask(self, first_step: int, steps: int) -> Tensor:
        """True at frames, false at padding, [steps, B]."""
        return torch.arange(first_step, first_step + steps)[:, None] < self.lengths[None, :]


@dataclass
class Moments:
    """Mean and variance of one group in one forward pass, [T', F] (a single row for `sequence`), of `frames` frames a row."""

    first_step: int
    mean: Tensor
    variance: Tensor
    frames: list[int]


@dataclass
class Statistics:
    """What evaluation normalises with: [T, F] for `frame`, [1, F] for `sequence`; `frames` that stand behind each row."""

    mean: Tensor
    variance: Tensor
    frames: list[int]

    @staticmethod
    def initial(rows: int, features: int, dtype: torch.dtype) -> "Statistics":
        return Statistics(torch.zeros(rows, features, dtype=dtype), torch.ones(rows, features, dtype=dtype), [0] * rows)

    @property
    def seen(self) -> list[bool]:
        return [frames > 0 for frames in self.frames]

    def last_row(self, fewest: int = 1) -> int:
        """The last row with so many frames; where none has, the last one seen; where none is, the last."""
        rows = range(len(self.frames))
        for bound in (fewest, 1):
            if enough := [row for row in rows if self.frames[row] >= bound]:
                return enough[-1]
        return rows[-1]

    def rows(self, first_step: int, steps: int, fewest: int = 1) -> tuple[Tensor, Tensor]:
        """Mean and variance of time steps; those past the last row that counts take that row's."""
        last = self.last_row(fewest)
        index = [min(step, last) for step in range(first_step, first_step + steps)]
        return self.mean[index], self.variance[index]


def shards_a_group(shards: int, scope: str | dict) -> int:
    return 1 if scope == "local" else shards if scope == "global" else int(scope["group"])


def statistics_groups(batch_size: int, shards: int, scope: str | dict) -> list[range]:
    """The runs of sequences of each statistics group: shards are equal, consecutive runs of sequences."""
    if batch_size % shards:
        raise ValueError(f"a batch of {batch_size} does not divide into {shards} shards")
    size = shards_a_group(shards, scope) * (batch_size // shards)
    return [range(start, min(start + size, batch_size)) for start in range(0, batch_size, size)]


def dealt_groups(count: int, shards: int, scope: str | dict) -> list[list[int]]:
    """The same where sequence `k` goes to shard `k mod S`; shards may hold unequal numbers, and groups without any are left out."""
    size = shards_a_group(shards, scope)
    groups = [[k for k in range(count) if k % shards // size == group] for group in range(-(-shards // size))]
    return [group for group in groups if group]
