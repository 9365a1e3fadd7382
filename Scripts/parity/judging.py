"""What a run may differ from the reference by, and two runs of the reference from each other."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch

from spread import Spread, bounds
from training import Curve, Score

CURVE_BOUND = 1e-4  # the contract of mathematics.md
EVALUATION_BOUND = 1e-4  # the kinds of statistics differ by more than that
TENSOR_BOUND = 2e-3  # of the largest element: catches a wrong or forgotten tensor, not rounding


@dataclass
class Row:
    """One run of one case on one rank count, against the reference."""

    ranks: str
    kind: str = ""
    loss_differences: list[float] = field(default_factory=list)  # a step
    norm_differences: list[float] = field(default_factory=list)
    tensors: float = math.nan
    worst_tensor: str = ""
    statistics: float | None = None
    evaluation: float | None = None  # of validation perplexities, or losses where frames or sequences are classified
    faults: list[str] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    strict: tuple[int, int] | None = None  # steps of a chaotic case whose loss, and whose norm, is held to the contract's bound

    @property
    def loss(self) -> float:
        return max(self.loss_differences, default=math.nan)

    @property
    def norm(self) -> float:
        return max(self.norm_differences, default=math.nan)

    @property
    def verdict(self) -> str:
        if self.faults or self.strict is None:
            return "; ".join(self.faults) or "ok"
        losses, norms = self.strict
        return f"ok: {losses} losses and {norms} norms by {CURVE_BOUND:.0e}, the others by the reference's spread"

    def count_wrong(self, where: str, wrong: int, score: Score) -> None:
        """Only what the reference finds undecided may be decided otherwise."""
        if abs(wrong - score.wrong) > score.undecided:
            self.faults.append(f"{where}: {wrong} of {score.count} are wrong, expected {score.wrong}, undecided {score.undecided}")


def relative(found: float, expected: float) -> float:
    return abs(found - expected) / max(abs(expected), 1e-12)


def tensor_difference(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> tuple[float, str]:
    """The largest difference of an element, as a share of its tensor's largest element, and the tensor's name."""
    return max((float((found[n] - t).abs().max() / t.abs().max().clamp(min=1e-3)), n) for n, t in expected.items())


def compare_evaluation(row: Row, found: list[float], expected: list[float]) -> None:
    row.evaluation = max(map(relative, found, expected), default=0.0)


def judge(row: Row, spread: Spread | None = None) -> None:
    """Notes as faults what differs by more than the bounds; those of a chaotic case are at least multiples of its spread."""
    steps = len(row.loss_differences)
    curves = (("loss", row.loss_differences, bounds(CURVE_BOUND, spread.losses if spread else [0.0] * steps)),
              ("gradient norm", row.norm_differences, bounds(CURVE_BOUND, spread.norms if spread else [0.0] * steps)))
    for what, differences, allowed in curves:
        wrong = [step for step in range(steps) if not differences[step] <= allowed[step]]  # NaN is wrong too
        if wrong:
            worst = max(differences[step] for step in wrong)
            row.faults.append(f"{what} {worst:.1e} > {max(allowed):.0e}, from step {wrong[0] + 1} on ({differences[wrong[0]]:.1e})")
    if spread:
        row.strict = tuple(sum(1 for bound in allowed if bound == CURVE_BOUND) for _, _, allowed in curves)
    limits = (("tensors", row.tensors, TENSOR_BOUND, spread and spread.tensors),
              ("statistics", row.statistics, TENSOR_BOUND, spread and spread.statistics),
              ("evaluation", row.evaluation, EVALUATION_BOUND, spread and spread.evaluation))
    for what, value, limit, grown in limits:
        bound = bounds(limit, [grown or 0.0])[0]
        if value is not None and not value <= bound:
            row.faults.append(f"{what} {value:.1e} > {bound:.0e}" + (f" ({row.worst_tensor})" if what == "tensors" else ""))


# -- two runs of the reference --------------------------------------------------------------------------------------


def compare_curves(found: Curve, expected: Curve, counted: bool = True) -> Row:
    """In different precisions: what rounding alone does to a case; wrong answers are compared if `counted`."""
    row = Row(ranks="float32")
    row.loss_differences = list(map(relative, found.losses, expected.losses))
    row.norm_differences = list(map(relative, found.gradient_norms, expected.gradient_norms))
    doubled = lambda curve: {n: t.double() for n, t in (curve.tensors | curve.constants).items()}
    row.tensors, row.worst_tensor = tensor_difference(doubled(found), doubled(expected))
    if expected.statistics["running"]:
        row.statistics, _ = tensor_difference(_statistics(found), _statistics(expected))
    pairs = [(a.scores[kind], b.scores[kind]) for a, b in zip(found.evaluations, expected.evaluations) for kind in a.scores]
    compare_evaluation(row, [a.perplexity for a, _ in pairs], [b.perplexity for _, b in pairs])
    for what, scores in (("step", zip(found.scores, expected.scores)), ("evaluation", pairs)) if counted else ():
        for number, (mine, theirs) in enumerate(scores, start=1):
            row.count_wrong(f"{what} {number}", mine.wrong, theirs)
    return row


def _statistics(curve: Curve) -> dict[str, torch.Tensor]:
    return {f"{kind}.{name}.{part}": getattr(statistics, part).double() for kind, terms in curve.statistics.items()
            for name, statistics in terms.items() for part in ("mean", "variance")}


def spread_of(found: Curve, expected: Curve) -> Spread:
    """The differences of one run as a spread."""
    row = compare_curves(found, expected, counted=False)
    return Spread(row.loss_differences, row.norm_differences, row.tensors, row.statistics or 0.0, row.evaluation or 0.0)
