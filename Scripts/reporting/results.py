"""Means with intervals, and the table of a study."""

import math
import statistics

from scipy import stats

LEVEL = 0.95
# Kinds of evaluation statistics; what is evaluated with another is compared with the first.
KINDS = ["population", "averaged", "running", "batch"]


def mean_with_interval(values):
    """The mean, and half the width of its 95 % interval by Student's t over the values; None where one value says nothing of it."""
    values = [value for value in values if value is not None and math.isfinite(value)]
    if not values:
        return None, None
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, None
    quantile = stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)
    return mean, float(quantile * statistics.stdev(values) / math.sqrt(len(values)))


def paired_difference(values, baseline):
    """Mean and half-width of the differences from a baseline, seed by seed. Both are dictionaries by seed."""
    seeds = sorted(set(values) & set(baseline))
    pairs = [(values[seed], baseline[seed]) for seed in seeds if values[seed] is not None and baseline[seed] is not None]
    return mean_with_interval([value - base for value, base in pairs])


MEASURES = [
    ("best_validation_loss", "best validation loss", lambda run: run.best[3] if run.best else None),
    ("last_training_loss", "last training loss", lambda run: run.last_training_loss),
    ("test_loss", "test loss", lambda run: run.test_loss),
    ("step_seconds", "seconds a step", lambda run: run.step_seconds),
    ("seconds", "seconds of the run", lambda run: run.seconds),
]


def table(study):
    """A dictionary a point: for each measure its mean, half-width, difference from the baseline and that one's half-width; and targets."""
    baseline = {}
    for name, _, value in MEASURES:
        baseline[name] = {run.seed: value(run) for run in study.of_point(study.baseline) if run.state == "done"} if study.baseline else {}
    rows = []
    for point in study.points:
        runs = [run for run in study.of_point(point) if run.state == "done"]
        row = {"point": point, "runs": len(study.of_point(point)), "done": len(runs)}
        for name, _, value in MEASURES:
            values = {run.seed: value(run) for run in runs}
            mean, half = mean_with_interval(list(values.values()))
            difference, half_difference = (None, None) if point == study.baseline else paired_difference(values, baseline[name])
            row[name] = {"mean": mean, "interval": half, "difference": difference, "difference_interval": half_difference}
        for measure, target in study.targets.items():
            reached = [run.reached(measure, target) for run in runs]
            rows_reached = [at for at in reached if at]
            row[f"target {measure}"] = {
                "target": target, "reached": len(rows_reached),
                "steps": statistics.median([at[0] for at in rows_reached]) if rows_reached else None,
                "seconds": statistics.median([at[2] for at in rows_reached]) if rows_reached else None}
        rows.append(row)
    return rows


def evaluations(study):
    """A dictionary for each point, data and kind of statistics: loss and the minibatches' mean perplexity as means with half-widths, and the loss's
    difference from the statistics of the point's first kind, seed by seed."""
    groups = {}
    for row in study.evaluations:
        groups.setdefault((row["point"], row["data"], row["statistics"]), {})[row["seed"]] = row
    kinds = {kind: place for place, kind in enumerate(KINDS)}
    rows = []
    for point, data, statistics_ in sorted(groups, key=lambda key: (key[1] != "validation", key[1], study.points.index(key[0]), kinds.get(key[2], len(kinds)))):
        losses = {seed: row["loss"] for seed, row in groups[point, data, statistics_].items()}
        base = {seed: row["loss"] for seed, row in groups.get((point, data, KINDS[0]), {}).items()}
        means = [row["minibatch_perplexity"] for row in groups[point, data, statistics_].values() if row["minibatch_perplexity"] != ""]
        named = {}
        for name, (mean, half) in (("loss", mean_with_interval(list(losses.values()))), ("minibatch_perplexity", mean_with_interval(means)),
                                   ("difference", (None, None) if statistics_ == KINDS[0] else paired_difference(losses, base))):
            named[name] = {"mean": mean, "interval": half}
        rows.append({"point": point, "data": data, "statistics": statistics_, "runs": len(losses)} | named)
    return rows
