"""Runs as their directories, or the kept tables of a study, tell of them."""

import csv
import glob
import json
import math
import os
from dataclasses import dataclass, field

import yaml

# Points of a kept curve of training losses: means over so many equal parts of a run.
KEPT_POINTS = 100
RESULT_COLUMNS = ("point,seed,state,best_validation_loss,best_step,last_validation_loss,test_loss,last_training_loss,steps,"
                  "seconds,step_seconds_median,ranks").split(",")


class ReportError(Exception):
    """What cannot be reported on, in words for the user."""


@dataclass
class Run:
    """One run. Curves are lists of rows (step, epoch, seconds, loss); seconds count from the run's beginning."""

    point: str
    seed: int
    state: str
    path: str = ""
    training: list = field(default_factory=list)
    validation: list = field(default_factory=list)
    # Mean training loss of each epoch: rows (last step, epoch, seconds, loss).
    epochs: list = field(default_factory=list)
    # Norms of the gradient of the last step's loss by the time steps before it, a list a layer, at the last validation.
    gradient_flow: list = field(default_factory=list)
    test_loss: float | None = None
    steps: int = 0
    seconds: float = 0.0
    step_seconds: float | None = None
    ranks: int | None = None
    configuration: dict = field(default_factory=dict)
    start: dict = field(default_factory=dict)
    damaged_lines: int = 0

    @property
    def best(self):
        """The row of the best validation, the earliest of equal ones, or None."""
        rows = [row for row in self.validation if math.isfinite(row[3])]
        return min(rows, key=lambda row: (row[3], row[0])) if rows else None

    @property
    def last_training_loss(self):
        return self.epochs[-1][3] if self.epochs else None

    def reached(self, measure, target):
        """The row at which a measure first is below the target, or None."""
        rows = {"training_loss": self.epochs, "validation_loss": self.validation}[measure]
        return next((row for row in rows if row[3] < target), None)


@dataclass
class Study:
    """Runs that are reported on together."""

    name: str
    runs: list
    baseline: str | None = None
    targets: dict = field(default_factory=dict)
    # Files whose text says what was studied.
    definition: str = ""
    # Losses of models with each kind of statistics: rows of EVALUATION_COLUMNS.
    evaluations: list = field(default_factory=list)

    @property
    def points(self):
        return list(dict.fromkeys([run.point for run in self.runs] + [row["point"] for row in self.evaluations]))

    @property
    def axes(self):
        """The names of two axes, where each point is one value of each; else nothing."""
        axes = yaml_of(self.definition, yaml.BaseLoader).get("axes")
        is_plane = isinstance(axes, dict) and len(axes) == 2 and all(point.count(",") == 1 for point in self.points)
        return list(axes) if is_plane else []

    def of_point(self, point):
        return [run for run in self.runs if run.point == point]


def read_events(path):
    """The events of a metrics file that is perhaps being written, and how many lines are none."""
    events, damaged = [], 0
    with open(path, "rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break  # Being written, or torn by a kill.
            try:
                event = json.loads(line)
                if not isinstance(event, dict) or "event" not in event:
                    raise ValueError
                events.append(event)
            except ValueError:
                damaged += 1
    return events, damaged


def number(value):
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan


def whole_text(path):
    """A small file's text; None where it cannot be read or is no text."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return None


def yaml_of(text, loader=yaml.SafeLoader):
    """The mapping that a text in YAML is; an empty one for anything else."""
    try:
        content = yaml.load(text or "", Loader=loader)
    except yaml.YAMLError:
        return {}
    return content if isinstance(content, dict) else {}


def flattened(mapping, prefix=""):
    """{'model': {'layers': 2}} as {'model.layers': 2}; values that are small mappings stay."""
    flat = {}
    for key, value in (mapping or {}).items():
        if isinstance(value, dict) and not prefix:
            flat.update(flattened(value, f"{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def read_run(path, point=None, seed=None):
    """A run directory. Steps that were done twice, before and after a kill, count once, as they came last."""
    metrics = os.path.join(path, "metrics.jsonl")
    try:
        events, damaged = read_events(metrics)
    except OSError as error:
        raise ReportError(f"{metrics}: {error.strerror}") from None
    configuration = flattened(yaml_of(whole_text(os.path.join(path, "config.yaml"))))
    own_seed = configuration.get("training.seed", 0)
    run = Run(point or os.path.basename(os.path.normpath(path)), seed if seed is not None else own_seed if isinstance(own_seed, int) else 0,
              "waiting", path, configuration=configuration, damaged_lines=damaged)
    steps, validations, flows = {}, {}, {}
    for event in events:
        kind, step = event["event"], event.get("step")
        if kind == "start":
            run.start, run.state = event, "running"
        elif kind in ("resume", "restart"):
            last = step if kind == "resume" and isinstance(step, int) else 0
            steps = {k: v for k, v in steps.items() if k <= last}
            validations = {k: v for k, v in validations.items() if k <= last}
            flows = {k: v for k, v in flows.items() if k <= last}
            run.test_loss = None
        elif kind == "step" and isinstance(step, int):
            steps[step] = event
        elif kind == "validation" and isinstance(step, int):
            validations[step] = event
        elif kind == "gradient_flow" and isinstance(step, int) and isinstance(event.get("layers"), list):
            flows[step] = event["layers"]
        elif kind == "test":
            run.test_loss = number(event.get("loss"))
            run.seconds += number(event.get("seconds", 0))
        elif kind == "end":
            run.state = {"done": "done", "signal": "waiting"}.get(event.get("reason"), "failed")
    seconds, sums = 0.0, {}
    ends = sorted(set(steps) | set(validations))
    for step in ends:
        if step in steps:
            event = steps[step]
            seconds += number(event.get("seconds", 0))
            loss = number(event.get("loss"))
            run.training.append((step, event.get("epoch", 0), seconds, loss))
            total = sums.setdefault(event.get("epoch", 0), [0, 0.0, 0.0, 0])
            total[0] = step
            total[1] = seconds
            total[2] += loss
            total[3] += 1
        if step in validations:
            event = validations[step]
            seconds += number(event.get("seconds", 0))
            run.validation.append((step, event.get("epoch", 0), seconds, number(event.get("loss"))))
    run.epochs = [(step, epoch, at, total / count) for epoch, (step, at, total, count) in sorted(sums.items())]
    # The mean of an epoch that is under way is none.
    expected = max((count for *_, count in sums.values()), default=0)
    if run.state != "done" and run.epochs and list(sums.values())[-1][3] < expected:
        run.epochs.pop()
    run.steps = max(steps, default=0)
    run.seconds += seconds
    if steps:
        ordered = sorted(number(event.get("seconds", 0)) for event in steps.values())
        middle = len(ordered) // 2
        run.step_seconds = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    run.ranks = run.start.get("ranks")
    run.gradient_flow = flows[max(flows)] if flows else []
    return run


def read_definition(path):
    """Baseline, targets and text of a study file; nothing where there is none."""
    text = whole_text(path)
    if text is None:
        return None, {}, ""
    # All scalars as they stand: a point may be called `no`, and 7e0 is a number to the program.
    content = yaml_of(text, yaml.BaseLoader)
    baseline, targets = content.get("baseline"), content.get("targets")
    found = {}
    for measure, value in targets.items() if isinstance(targets, dict) else []:
        try:
            found[measure] = float(value)
        except (TypeError, ValueError):
            continue
    return baseline if isinstance(baseline, str) else None, {m: found[m] for m in found if m in ("training_loss", "validation_loss")}, text


def read_study(path):
    """The directory of a study."""
    name = os.path.basename(os.path.normpath(path))
    runs = []
    for metrics in sorted(glob.glob(os.path.join(glob.escape(path), "*", "seed-*", "metrics.jsonl"))):
        directory = os.path.dirname(metrics)
        seed = os.path.basename(directory)[len("seed-"):]
        if not seed.isdigit():
            continue
        run = read_run(directory, os.path.basename(os.path.dirname(directory)), int(seed))
        if run.state != "done" and os.path.exists(os.path.join(directory, "failure.json")):
            run.state = "failed"
        runs.append(run)
    return order(Study(name, runs, *read_definition(os.path.join(path, "study.yaml"))), path)


def order(study, path):
    """Puts runs into the order of the table of results, where there is one; runs that the study no longer has are left out."""
    try:
        with open(os.path.join(path, "results.csv"), newline="", encoding="utf-8") as file:
            places = {(row["point"], int(row["seed"])): i for i, row in enumerate(csv.DictReader(file))}
    except (OSError, KeyError, ValueError):
        places = {}
    if places:
        study.runs = [run for run in study.runs if (run.point, run.seed) in places]
    study.runs.sort(key=lambda run: (places.get((run.point, run.seed), len(places)), run.seed, run.point))
    points = list(dict.fromkeys([point for point, _ in sorted(places, key=places.get)] + study.points))
    study.runs.sort(key=lambda run: points.index(run.point))
    return study


# ---- Kept studies: a table of results and curves, small enough to stand in a repository ------------------------------------

CURVE_COLUMNS = ["point", "seed", "kind", "step", "epoch", "seconds", "loss"]
EVALUATION_COLUMNS = ["point", "seed", "data", "statistics", "loss", "minibatch_perplexity"]


def rounded(value, digits):
    return "" if value is None or not math.isfinite(value) else f"{value:.{digits}g}"


def thinned(rows):
    """Means over equal parts of a curve."""
    parts = min(KEPT_POINTS, len(rows))
    for part in range(parts):
        piece = rows[len(rows) * part // parts:len(rows) * (part + 1) // parts]
        step, epoch, seconds, _ = piece[-1]
        yield step, epoch, seconds, sum(row[3] for row in piece) / len(piece)


def keep(study, path):
    """Writes the finished runs of a study beside those that are kept already."""
    os.makedirs(path, exist_ok=True)
    done = [run for run in study.runs if run.state == "done"]
    old = read_kept(path) if os.path.exists(os.path.join(path, "curves.csv")) else Study(study.name, [])
    new = {(run.point, run.seed) for run in done}
    points = list(dict.fromkeys(study.points + old.points))
    runs = sorted([run for run in old.runs if (run.point, run.seed) not in new] + done, key=lambda run: (points.index(run.point), run.seed))
    with replaced(os.path.join(path, "results.csv")) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(RESULT_COLUMNS)
        for run in runs:
            best = run.best
            writer.writerow([
                run.point, run.seed, run.state, rounded(best and best[3], 17), best[0] if best else "",
                rounded(run.validation[-1][3] if run.validation else None, 17), rounded(run.test_loss, 17), rounded(run.last_training_loss, 17),
                run.steps, rounded(run.seconds, 6), rounded(run.step_seconds, 5), run.ranks or ""])
    with replaced(os.path.join(path, "curves.csv")) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CURVE_COLUMNS)
        for run in runs:
            for kind, rows in (("training", thinned(run.training)), ("epoch", run.epochs), ("validation", run.validation)):
                for step, epoch, seconds, loss in rows:
                    writer.writerow([run.point, run.seed, kind, step, epoch, rounded(seconds, 6), rounded(loss, 8 if kind == "training" else 17)])
    with replaced(os.path.join(path, "runs.json")) as file:
        # What differs between runs and machines.
        facts = {f"{run.point}/seed-{run.seed}": {"configuration": run.configuration, "start": run.start, "gradient_flow": run.gradient_flow} for run in runs}
        json.dump(facts, file, indent=0, sort_keys=True)
    if study.definition:
        with replaced(os.path.join(path, "study.yaml")) as file:
            file.write(study.definition)


def evaluation_key(row):
    return row["point"], row["seed"], row["data"], row["statistics"]


def read_evaluations(path):
    """What `write_evaluations` has written: rows as dictionaries; none where nobody has evaluated."""
    name = os.path.join(path, "evaluations.csv")
    if not os.path.exists(name):
        return []
    try:
        with open(name, newline="", encoding="utf-8") as file:
            return [row | {"seed": int(row["seed"]), "loss": float(row["loss"]),
                           "minibatch_perplexity": float(row["minibatch_perplexity"]) if row["minibatch_perplexity"] else ""} for row in csv.DictReader(file)]
    except OSError as error:
        raise ReportError(f"{error.filename}: {error.strerror}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ReportError(f"{name}: not a table of evaluations: {error}") from None


def write_evaluations(path, rows, study):
    """In the order of the study's points."""
    points = list(dict.fromkeys(study.points + [row["point"] for row in rows]))
    with replaced(os.path.join(path, "evaluations.csv")) as file:
        writer = csv.DictWriter(file, EVALUATION_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: (points.index(row["point"]), *evaluation_key(row)[1:])))


class replaced:
    """A file that takes its place when it is whole. What is there and no regular file, such as /dev/stdout, is written to as it is."""

    def __init__(self, path):
        self.path = path
        self.partial = path + ".partial" if not os.path.lexists(path) or os.path.isfile(path) else None

    def __enter__(self):
        self.file = open(self.partial or self.path, "w", encoding="utf-8", newline="")
        return self.file

    def __exit__(self, kind, *_):
        try:
            self.file.close()
            if self.partial and kind is None:
                os.replace(self.partial, os.path.realpath(self.path))
                self.partial = None
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.path) from None
        finally:
            if self.partial and os.path.exists(self.partial):
                os.remove(self.partial)


def read_kept(path):
    """What `keep` has written."""
    try:
        with open(os.path.join(path, "results.csv"), newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        with open(os.path.join(path, "curves.csv"), newline="", encoding="utf-8") as file:
            curves = list(csv.DictReader(file))
        with open(os.path.join(path, "runs.json"), encoding="utf-8") as file:
            facts = json.load(file)
    except OSError as error:
        raise ReportError(f"{error.filename}: {error.strerror}") from None
    runs = {}
    for row in rows:
        fact = facts.get(f"{row['point']}/seed-{row['seed']}", {})
        runs[row["point"], int(row["seed"])] = Run(
            row["point"], int(row["seed"]), row["state"], test_loss=float(row["test_loss"]) if row["test_loss"] else None,
            steps=int(row["steps"] or 0), seconds=float(row["seconds"] or 0),
            step_seconds=float(row["step_seconds_median"]) if row["step_seconds_median"] else None,
            ranks=int(row["ranks"]) if row["ranks"] else None, configuration=fact.get("configuration", {}), start=fact.get("start", {}),
            gradient_flow=fact.get("gradient_flow", []))
    for row in curves:
        run = runs[row["point"], int(row["seed"])]
        rows = {"training": run.training, "epoch": run.epochs, "validation": run.validation}[row["kind"]]
        rows.append((int(row["step"]), int(row["epoch"]), float(row["seconds"]), float(row["loss"] or "nan")))
    return Study(os.path.basename(os.path.normpath(path)), list(runs.values()), *read_definition(os.path.join(path, "study.yaml")), read_evaluations(path))


def read(paths):
    """What paths of the command line lead to, as one study."""
    studies, loose = [], []
    for path in {os.path.realpath(path): path for path in paths}.values():
        if os.path.exists(os.path.join(path, "metrics.jsonl")):
            loose.append(read_run(path))
        elif os.path.exists(os.path.join(path, "curves.csv")):
            studies.append(read_kept(path))
        elif os.path.isdir(path):
            study = read_study(path)
            if not study.runs:
                raise ReportError(f"{path}: neither a run (no metrics.jsonl) nor a study (no <point>/seed-<n>/metrics.jsonl)")
            studies.append(study)
        else:
            raise ReportError(f"{path}: no such directory")
    if len(studies) == 1 and not loose:
        return studies[0]
    # Runs whose points have equal names are told apart by their studies.
    for study in studies:
        for run in study.runs:
            run.point = f"{study.name}: {run.point}"
        study.evaluations = [row | {"point": f"{study.name}: {row['point']}"} for row in study.evaluations]
    runs = [run for study in studies for run in study.runs] + loose
    return Study(" and ".join([study.name for study in studies] + [run.point for run in loose]), runs, evaluations=[row for study in studies for row in study.evaluations])
