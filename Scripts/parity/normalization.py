"""Batch normalisation over shards and groups of them (mathematics.md, sections 2 to 5)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Moments:
    """Mean and variance of one group in one forward pass, [T', F] (a single row for `sequence`), of `frames` frames a row."""

    first_step: int
    mean: Tensor
    variance: Tensor
    frames: int


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
    """One BN(z; γ, β) of the model. `groups` are the runs of sequences that share statistics."""

    name: str
    features: int
    statistics: str  # frame | sequence
    steps: int
    epsilon: float
    momentum: float
    groups: list[range]
    dtype: torch.dtype
    running: Statistics = field(init=False)
    observed: list[Moments] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.running = Statistics.initial(self.steps if self.statistics == "frame" else 1, self.features, self.dtype)

    # -- training -----------------------------------------------------------------------------------------------

    def train(self, z_TBF: Tensor, gamma: Tensor, beta: Tensor | None, first_step: int = 0) -> Tensor:
        """Normalises with the batch statistics, a group at a time, and notes them in `observed`."""
        parts = [self._train_group(z_TBF[:, g.start : g.stop], first_step) for g in self.groups]
        return affine(torch.cat(parts, dim=1), gamma, beta)

    def _train_group(self, z: Tensor, first_step: int) -> Tensor:
        over = (0, 1) if self.statistics == "sequence" else (1,)
        frames = z.shape[1] * (z.shape[0] if self.statistics == "sequence" else 1)
        if self.statistics == "frame" and frames < 2:
            mean, variance = self.running.rows(first_step, z.shape[0])
            mean, variance = mean.unsqueeze(1), variance.unsqueeze(1)  # constants: no gradient through them
        else:
            mean = z.mean(dim=over, keepdim=True)
            variance = ((z - mean) ** 2).mean(dim=over, keepdim=True)
            self.observed.append(Moments(first_step, mean.detach()[:, 0], variance.detach()[:, 0], frames))
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
            for offset in range(moments.mean.shape[0]):
                entry = (moments.mean[offset], moments.variance[offset], moments.frames)
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


def statistics_groups(batch_size: int, shards: int, scope: str | dict) -> list[range]:
    """The runs of sequences of each statistics group: shards are equal, consecutive runs of sequences."""
    if batch_size % shards:
        raise ValueError(f"a batch of {batch_size} does not divide into {shards} shards")
    shard_size = batch_size // shards
    shards_a_group = 1 if scope == "local" else shards if scope == "global" else int(scope["group"])
    size = shards_a_group * shard_size
    return [range(start, min(start + size, batch_size)) for start in range(0, batch_size, size)]
