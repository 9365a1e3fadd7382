"""One normalised term, γ ⊙ (z − μ) / √(v + ε) + β, over frames (`batch`) or features (`layer`); sections 2 to 5 of mathematics.md."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from moments import FEWEST_FRAMES, Layout, Moments, Statistics


@dataclass(frozen=True)
class Mode:
    """What a forward pass normalises with: `stored` statistics by a term's name, or without them those of the minibatch itself.

    Statistics of the minibatch are noted only if `observe`.
    """

    layout: Layout
    stored: dict[str, Statistics] | None = None
    observe: bool = True


@dataclass(frozen=True)
class LayerTerm:
    """Mean and variance of a frame over its features; nothing is kept."""

    name: str
    epsilon: float

    def apply(self, z_TBF: Tensor, gamma: Tensor, beta: Tensor | None, mode: Mode, first_step: int = 0) -> Tensor:
        mean = z_TBF.mean(dim=-1, keepdim=True)
        variance = ((z_TBF - mean) ** 2).mean(dim=-1, keepdim=True)
        return affine((z_TBF - mean) / torch.sqrt(variance + self.epsilon), gamma, beta)


@dataclass
class BatchTerm:
    """Mean and variance of a feature over the frames of a statistics group, of all time steps or of each."""

    name: str
    features: int
    statistics: str  # frame | sequence
    steps: int
    epsilon: float
    momentum: float
    dtype: torch.dtype
    frames_per_step: int = 1
    running: Statistics = field(init=False)
    observed: list[Moments] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.running = self._initial()

    def _initial(self) -> Statistics:
        return Statistics.initial(self.steps if self.statistics == "frame" else 1, self.features, self.dtype)

    def apply(self, z_TBF: Tensor, gamma: Tensor, beta: Tensor | None, mode: Mode, first_step: int = 0) -> Tensor:
        """`z` is of the time steps from `first_step` on."""
        if mode.stored is None:
            return self.train(z_TBF, gamma, beta, mode.layout, first_step, mode.observe)
        return self.evaluate(z_TBF, mode.stored[self.name], gamma, beta, first_step)

    # -- training -----------------------------------------------------------------------------------------------

    def train(
        self, z_TBF: Tensor, gamma: Tensor, beta: Tensor | None, layout: Layout, first_step: int = 0, observe: bool = True
    ) -> Tensor:
        """Normalises with the batch statistics, a group at a time, and notes them in `observed`."""
        mask_TB = layout.mask(first_step, z_TBF.shape[0])
        parts = [self._train_group(z_TBF[:, group], mask_TB[:, group], first_step, observe) for group in layout.groups]
        order = torch.tensor([sequence for group in layout.groups for sequence in group])
        return affine(torch.cat(parts, dim=1)[:, torch.argsort(order)], gamma, beta)

    def _train_group(self, z: Tensor, mask_TB: Tensor, first_step: int, observe: bool) -> Tensor:
        over = (0, 1) if self.statistics == "sequence" else (1,)
        weight = mask_TB.unsqueeze(-1).to(z.dtype)
        frames = weight.sum(dim=over, keepdim=True)  # [T', 1, 1], or [1, 1, 1] for `sequence`
        divisor = frames.clamp(min=1)
        mean = (z * weight).sum(dim=over, keepdim=True) / divisor
        variance = ((z - mean) ** 2 * weight).sum(dim=over, keepdim=True) / divisor
        counts = [int(n) for n in frames.flatten()]
        if observe:
            self.observed.append(Moments(first_step, mean.detach()[:, 0], variance.detach()[:, 0], counts))
        if min(counts) < FEWEST_FRAMES:
            # Constants: no gradient goes through them. In evaluation, which notes nothing, they are the running statistics that it would use.
            stored = self.running.rows(first_step, len(counts), 1 if observe else self.frames_per_step)
            enough = frames >= FEWEST_FRAMES
            mean, variance = (torch.where(enough, own, kept.unsqueeze(1)) for own, kept in zip((mean, variance), stored))
        return (z - mean) / torch.sqrt(variance + self.epsilon)

    def update_running(self) -> None:
        """r ← (1 − m) r + m s with s the frame-weighted mean over groups, of unbiased variances; the first step sets r = s."""
        for row, entries in self._by_row().items():
            total = sum(n for _, _, n in entries)
            m = self.momentum if self.running.frames[row] else 1.0
            mean = sum(n * mu for mu, _, n in entries) / total
            variance = sum(n * v * n / (n - 1) for _, v, n in entries) / total
            self.running.mean[row] = (1 - m) * self.running.mean[row] + m * mean
            self.running.variance[row] = (1 - m) * self.running.variance[row] + m * variance
            self.running.frames[row] += total
        self.observed = []

    def _by_row(self) -> dict[int, list[tuple[Tensor, Tensor, int]]]:
        rows: dict[int, list[tuple[Tensor, Tensor, int]]] = {}
        for moments in self.observed:
            for offset, frames in enumerate(moments.frames):
                if frames >= FEWEST_FRAMES:
                    entry = (moments.mean[offset], moments.variance[offset], frames)
                    rows.setdefault(moments.first_step + offset, []).append(entry)
        return rows

    # -- evaluation ---------------------------------------------------------------------------------------------

    def pooled(self) -> dict[str, Statistics]:
        """Over all groups observed, which are forgotten: μ = E[μ_B] with `population`'s v = E[v_B + (μ_B − μ)²], and with
        `averaged`'s, the plain mean of the v_B.
        """
        result = {kind: self._initial() for kind in ("population", "averaged")}
        for row, entries in self._by_row().items():
            total = sum(n for _, _, n in entries)
            mean = sum(n * mu for mu, _, n in entries) / total
            variances = {
                "population": sum(n * (v + (mu - mean) ** 2) for mu, v, n in entries) / total,
                "averaged": sum(v for _, v, _ in entries) / len(entries)}
            for kind, statistics in result.items():
                statistics.mean[row], statistics.variance[row], statistics.frames[row] = mean, variances[kind], total
        self.observed = []
        return result

    def evaluate(self, z_TBF: Tensor, statistics: Statistics, gamma: Tensor, beta: Tensor | None, first_step: int = 0) -> Tensor:
        """Normalises with stored statistics alone."""
        if self.statistics == "sequence":
            mean, variance = statistics.mean, statistics.variance
        else:
            mean, variance = statistics.rows(first_step, z_TBF.shape[0], self.frames_per_step)
        scaled = (z_TBF - mean.unsqueeze(1)) / torch.sqrt(variance.unsqueeze(1) + self.epsilon)
        return affine(scaled, gamma, beta)


def affine(z: Tensor, gamma: Tensor, beta: Tensor | None) -> Tensor:
    return gamma * z if beta is None else gamma * z + beta
