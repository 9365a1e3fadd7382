"""Batch normalisation over shards and groups of them (mathematics.md, sections 2 to 5)."""

from __future__ import annotations

from dataclasses import dataclass, field

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
    """What evaluation normalises with: [T, F] for `frame`, [1, F] for `sequence`; `seen` a row."""

    mean: Tensor
    variance: Tensor
    seen: list[bool]

    @staticmethod
    def initial(rows: int, features: int, dtype: torch.dtype) -> "Statistics":
        return Statistics(torch.zeros(rows, features, dtype=dtype), torch.ones(rows, features, dtype=dtype), [False] * rows)

    def rows(self, first_step: int, steps: int) -> tuple[Tensor, Tensor]:
        """Mean and variance of time steps; those past the last one seen take the last one's."""
        last = max((row for row, seen in enumerate(self.seen) if seen), default=len(self.seen) - 1)
        index = [min(step, last) for step in range(first_step, first_step + steps)]
        return self.mean[index], self.variance[index]


@dataclass
class Normalization:
    """One BN(z; γ, β) of the model."""

    name: str
    features: int
    statistics: str  # frame | sequence
    steps: int
    epsilon: float
    momentum: float
    dtype: torch.dtype
    running: Statistics = field(init=False)
    observed: list[Moments] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.running = Statistics.initial(self.steps if self.statistics == "frame" else 1, self.features, self.dtype)

    # -- training -----------------------------------------------------------------------------------------------

    def train(self, z_TBF: Tensor, gamma: Tensor, beta: Tensor | None, layout: Layout, first_step: int = 0) -> Tensor:
        """Normalises with the batch statistics, a group at a time, and notes them in `observed`."""
        mask_TB = layout.mask(first_step, z_TBF.shape[0])
        parts = [self._train_group(z_TBF[:, group], mask_TB[:, group], first_step) for group in layout.groups]
        order = torch.tensor([sequence for group in layout.groups for sequence in group])
        return affine(torch.cat(parts, dim=1)[:, torch.argsort(order)], gamma, beta)

    def _train_group(self, z: Tensor, mask_TB: Tensor, first_step: int) -> Tensor:
        over = (0, 1) if self.statistics == "sequence" else (1,)
        weight = mask_TB.unsqueeze(-1).to(z.dtype)
        frames = weight.sum(dim=over, keepdim=True)  # [T', 1, 1], or [1, 1, 1] for `sequence`
        divisor = frames.clamp(min=1)
        mean = (z * weight).sum(dim=over, keepdim=True) / divisor
        variance = ((z - mean) ** 2 * weight).sum(dim=over, keepdim=True) / divisor
        counts = [int(n) for n in frames.flatten()]
        self.observed.append(Moments(first_step, mean.detach()[:, 0], variance.detach()[:, 0], counts))
        if min(counts) < FEWEST_FRAMES:
            # Constants: no gradient goes through them.
            stored = self.running.rows(first_step, len(counts))
            enough = frames >= FEWEST_FRAMES
            mean, variance = (torch.where(enough, own, kept.unsqueeze(1)) for own, kept in zip((mean, variance), stored))
        return (z - mean) / torch.sqrt(variance + self.epsilon)

    def update_running(self) -> None:
        """r ← (1 − m) r + m s with s the frame-weighted mean over groups; the first step sets r = s."""
        for row, (mean, variance) in self._pooled(unbiased=True).items():
            m = self.momentum if self.running.seen[row] else 1.0
            self.running.mean[row] = (1 - m) * self.running.mean[row] + m * mean
            self.running.variance[row] = (1 - m) * self.running.variance[row] + m * variance
            self.running.seen[row] = True
        self.observed = []

    def _pooled(self, unbiased: bool) -> dict[int, tuple[Tensor, Tensor]]:
        """Frame-weighted mean over groups of mean and variance, a row."""
        pooled = {}
        for row, entries in self._by_row().items():
            total = sum(frames for _, _, frames in entries)
            mean = sum(frames * mean for mean, _, frames in entries) / total
            correct = lambda v, n: v * n / (n - 1) if unbiased else v
            pooled[row] = (mean, sum(n * correct(v, n) for _, v, n in entries) / total)
        return pooled

    def _by_row(self) -> dict[int, list[tuple[Tensor, Tensor, int]]]:
        rows: dict[int, list[tuple[Tensor, Tensor, int]]] = {}
        for moments in self.observed:
            for offset, frames in enumerate(moments.frames):
                if frames >= FEWEST_FRAMES:
                    entry = (moments.mean[offset], moments.variance[offset], frames)
                    rows.setdefault(moments.first_step + offset, []).append(entry)
        return rows

    # -- population ---------------------------------------------------------------------------------------------

    def population(self) -> Statistics:
        """μ = E[μ_B], v = E[v_B + (μ_B − μ)²] over all groups observed; empties `observed`."""
        result = Statistics.initial(len(self.running.seen), self.features, self.dtype)
        for row, entries in self._by_row().items():
            total = sum(frames for _, _, frames in entries)
            mean = sum(frames * mean for mean, _, frames in entries) / total
            variance = sum(n * (v + (mu - mean) ** 2) for mu, v, n in entries) / total
            result.mean[row], result.variance[row], result.seen[row] = mean, variance, True
        self.observed = []
        return result

    # -- evaluation ---------------------------------------------------------------------------------------------

    def evaluate(self, z_TBF: Tensor, statistics: Statistics, gamma: Tensor, beta: Tensor | None, first_step: int = 0) -> Tensor:
        """Normalises with stored statistics alone."""
        if self.statistics == "sequence":
            mean, variance = statistics.mean, statistics.variance
        else:
            mean, variance = statistics.rows(first_step, z_TBF.shape[0])
        scaled = (z_TBF - mean.unsqueeze(1)) / torch.sqrt(variance.unsqueeze(1) + self.epsilon)
        return affine(scaled, gamma, beta)


def affine(z: Tensor, gamma: Tensor, beta: Tensor | None) -> Tensor:
    return gamma * z if beta is None else gamma * z + beta


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
