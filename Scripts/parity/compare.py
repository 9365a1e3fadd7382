"""Runs the program and the reference from the same weights on the same text, and compares their curves.

Fails where a loss or a gradient norm of a step differs by more than a relative 1e-4, where a perplexity or a tensor
of the final model differs by more than the bounds below, or where two rank counts give losses of different bits.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context

import torch
from safetensors.torch import load_file

import cases
from cases import Case
from reference import Curve, Trainer

CURVE_BOUND = 1e-4  # the contract of mathematics.md
PERPLEXITY_BOUND = 1e-4  # running and population statistics differ by more than that
TENSOR_BOUND = 2e-3  # of the largest element: catches a wrong or forgotten tensor, not rounding
SECONDS_A_RUN = 180


@dataclass
class Row:
    """One run of one case on one rank count, against the reference."""

    ranks: str
    loss: float = math.nan
    norm: float = math.nan
    tensors: float = math.nan
    statistics: float | None = None
    perplexity: float | None = None
    kind: str = ""
    faults: list[str] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)


@dataclass
class Outcome:
    """All runs of a case."""

    case: Case
    rows: list[Row]
    seconds: float


@dataclass(frozen=True)
class Settings:
    ranks: tuple[int, ...]
    steps: int
    lockstep: str
    folder: str
    noise: bool  # compare the reference in float32 instead of the program


def relative(found: float, expected: float) -> float:
    return abs(found - expected) / max(abs(expected), 1e-12)


def examine(index: int, case: Case, settings: Settings) -> Outcome:
    """The reference once, then the program on each rank count."""
    torch.set_num_threads(1)
    begin = time.monotonic()
    folder = os.path.join(settings.folder, f"{index:03d}-{case.name.replace('/', '-')}")
    os.makedirs(folder)
    config, weights_path = cases.write(case, folder, settings.steps)
    weights = load_file(weights_path)
    expected = Trainer(config, weights).run(settings.steps)
    if settings.noise:
        rows = [compare_curves(Trainer(config, weights, torch.float32).run(settings.steps), expected)]
    else:
        rows = [run_program(case, ranks, ("running", "population")[(index + place) % 2], folder, expected, settings)
                for place, ranks in enumerate(settings.ranks)]
        for row in rows[1:]:
            if rows[0].losses and row.losses and row.losses != rows[0].losses:
                row.faults.append(f"losses have other bits than on {rows[0].ranks} ranks")
    return Outcome(case, rows, time.monotonic() - begin)


def compare_curves(found: Curve, expected: Curve) -> Row:
    """Two runs of the reference in different precisions: what rounding alone does to a case."""
    row = Row(ranks="float32")
    row.loss = max(map(relative, found.losses, expected.losses))
    row.norm = max(map(relative, found.gradient_norms, expected.gradient_norms))
    row.tensors = tensor_difference({n: t.double() for n, t in found.tensors.items()}, expected.tensors)
    if expected.statistics["running"]:
        row.statistics = tensor_difference(*(
            {f"{n}.{part}": getattr(s, part).double() for n, s in curve.statistics["running"].items() for part in ("mean", "variance")}
            for curve in (found, expected)))
    row.perplexity = max(relative(math.exp(a.loss[k]), math.exp(b.loss[k]))
                         for a, b in zip(found.evaluations, expected.evaluations) for k in a.loss)
    judge(row)
    return row


# -- the program --------------------------------------------------------------------------------------------------


def environment() -> dict[str, str]:
    """The caller's, without what an enclosing mpirun or the site has set for MPI and BLAS."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMIX_", "OPENBLAS_"))}
    if os.geteuid() == 0:  # Open MPI refuses to run as root without both
        kept |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return kept


def run_program(case: Case, ranks: int, kind: str, folder: str, expected: Curve, settings: Settings) -> Row:
    """Trains with `kind` statistics in evaluation, and compares what the run directory then holds."""
    row = Row(ranks=str(ranks), kind=kind)
    directory = os.path.join(folder, f"run-{ranks}")
    command = [
        "mpirun", "-n", str(ranks), "--oversubscribe", "--bind-to", "none", "--timeout", str(SECONDS_A_RUN),
        settings.lockstep, "train", os.path.join(folder, "config.yaml"), "--run-directory", directory,
        "--initialize-from", os.path.join(folder, "initial.safetensors"),
        "--set", f"evaluation.statistics={kind}", "--set", f"training.maximum_steps={settings.steps}"]
    finished = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=SECONDS_A_RUN + 30)
    if finished.returncode != 0:
        row.faults.append(f"exit code {finished.returncode}: {complaint(finished.stderr)}")
        return row
    try:
        compare_run(row, case, directory, expected)
    except (OSError, KeyError, ValueError) as error:
        row.faults.append(f"{type(error).__name__}: {error}")
    return row


def complaint(stderr: str) -> str:
    """What the program said, without what mpirun adds below a ruled line or a dotted one."""
    said = [line.strip() for line in stderr.splitlines() if line.strip()]
    first = next((index for index, line in enumerate(said) if line.startswith(("-----", "Primary job"))), len(said))
    return " | ".join(said[:first] or said)[-500:]


def compare_run(row: Row, case: Case, directory: str, expected: Curve) -> None:
    with open(os.path.join(directory, "metrics.jsonl")) as file:
        events = [json.loads(line) for line in file]
    steps = [event for event in events if event["event"] == "step"]
    if [event["step"] for event in steps] != list(range(1, len(expected.losses) + 1)):
        row.faults.append(f"{len(steps)} step events, expected steps 1 to {len(expected.losses)}")
        return
    row.losses = [event["loss"] for event in steps]
    row.loss = max(map(relative, row.losses, expected.losses))
    row.norm = max(map(relative, [event["gradient_norm"] for event in steps], expected.gradient_norms))
    if max(map(relative, [event["learning_rate"] for event in steps], expected.learning_rates)) > 1e-6:
        row.faults.append("learning rates differ")
    validations = {event["step"]: event for event in events if event["event"] == "validation"}
    differences = [relative(validations[e.step]["perplexity"], e.perplexity(row.kind)) for e in expected.evaluations]
    row.perplexity = max(differences)
    model = load_file(os.path.join(directory, "checkpoints", "latest", "model.safetensors"))
    parameters = {n: t.double() for n, t in model.items() if ".running_" not in n}
    if {n: t.shape for n, t in parameters.items()} != {n: t.shape for n, t in expected.tensors.items()}:
        row.faults.append("the model's tensors have other names or shapes")
        return
    row.tensors = tensor_difference(parameters, expected.tensors)
    if expected.statistics["running"]:
        compare_statistics(row, case, model, expected)
    judge(row)


def compare_statistics(row: Row, case: Case, model: dict, expected: Curve) -> None:
    """The final statistics: the running averages, or with population statistics those of the final weights."""
    found, wanted = {}, {}
    for name, statistics in expected.statistics[row.kind].items():
        for part, tensor in (("running_mean", statistics.mean), ("running_variance", statistics.variance)):
            wanted[f"{name}.{part}"] = tensor if case.statistics == "frame" else tensor[0]
    found = {n: t.double() for n, t in model.items() if ".running_" in n}
    if {n: t.shape for n, t in found.items()} != {n: t.shape for n, t in wanted.items()}:
        row.faults.append("the model's statistics have other names or shapes")
        return
    row.statistics = tensor_difference(found, wanted)


def tensor_difference(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    """The largest difference of an element, as a share of its tensor's largest element."""
    return max(float((found[n] - t).abs().max() / t.abs().max().clamp(min=1e-3)) for n, t in expected.items())


def judge(row: Row) -> None:
    limits = (("loss", row.loss, CURVE_BOUND), ("gradient norm", row.norm, CURVE_BOUND), ("tensors", row.tensors, TENSOR_BOUND),
              ("statistics", row.statistics, TENSOR_BOUND), ("perplexity", row.perplexity, PERPLEXITY_BOUND))
    for what, value, bound in limits:
        if value is not None and not value <= bound:  # NaN fails too
            row.faults.append(f"{what} {value:.1e} > {bound:.0e}")


# -- the table ------------------------------------------------------------------------------------------------------


def print_outcome(outcome: Outcome, width: int) -> None:
    for row in outcome.rows:
        number = lambda value: "      –" if value is None else f"{value:7.1e}"
        print(f"{outcome.case.name:<{width}}  {row.ranks:>5}  {number(row.loss)}  {number(row.norm)}  {number(row.tensors)}  "
              f"{number(row.statistics)}  {number(row.perplexity)} {row.kind:<10}  {'; '.join(row.faults) or 'ok'}", flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="compare-parity", description=__doc__.split("\n\n")[0])
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="a covering subset (the default)")
    size.add_argument("--full", action="store_true", help="every combination, and the further cases")
    parser.add_argument("--ranks", default="1,2,4", help="rank counts (default 1,2,4; there are 4 shards)")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--filter", default="", help="only cases whose name contains TEXT; several, by commas, must all occur")
    parser.add_argument("--placements", default=",".join(cases.PLACEMENTS), help="placements to combine (default %(default)s)")
    parser.add_argument("--lockstep", default=os.environ.get("LOCKSTEP", ".build/release/lockstep"), help="the program (default %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="cases at a time")
    parser.add_argument("--keep", metavar="DIR", help="leave texts, weights and runs in DIR")
    parser.add_argument("--noise", action="store_true", help="compare the reference in float32 with itself in float64: what rounding does")
    parser.add_argument("--list", action="store_true", help="print the cases' names")
    return parser.parse_args()


def select(arguments: argparse.Namespace) -> list[Case]:
    placements = tuple(arguments.placements.split(","))
    chosen = cases.combinations(placements) + cases.further() if arguments.full or arguments.filter else cases.quick(placements)
    if arguments.quick:
        chosen = cases.quick(placements)
    return [case for case in chosen if all(part in case.name for part in arguments.filter.split(","))]


def main() -> int:
    arguments = parse()
    chosen = select(arguments)
    if arguments.list:
        print("\n".join(case.name for case in chosen))
        return 0
    if not chosen:
        print(f"compare-parity: no case's name contains {arguments.filter!r}; --list prints them", file=sys.stderr)
        return 64
    lockstep = os.path.abspath(shutil.which(arguments.lockstep) or arguments.lockstep)
    if not arguments.noise and not os.access(lockstep, os.X_OK):
        print(f"compare-parity: {arguments.lockstep} is not there: build it, or name it with --lockstep", file=sys.stderr)
        return 64
    ranks = tuple(int(part) for part in arguments.ranks.split(","))
    folder = arguments.keep or tempfile.mkdtemp(prefix="parity-")
    os.makedirs(folder, exist_ok=True)
    settings = Settings(ranks, arguments.steps, lockstep, os.path.abspath(folder), arguments.noise)
    print(f"{len(chosen)} cases of {arguments.steps} steps {'in float32' if arguments.noise else 'on ' + arguments.ranks + ' ranks'}; "
          f"PyTorch {torch.__version__} float64; largest relative differences")
    width = max(len(case.name) for case in chosen)
    print(f"{'case':<{width}}  ranks     loss     norm  tensors  statist  perplexity          verdict")
    begin, failed, count, worst = time.monotonic(), 0, 0, 0.0
    try:
        with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool:
            for outcome in pool.map(examine, range(len(chosen)), chosen, [settings] * len(chosen)):
                print_outcome(outcome, width)
                count += len(outcome.rows)
                failed += sum(1 for row in outcome.rows if row.faults)
                worst = max([worst] + [v for row in outcome.rows for v in (row.loss, row.norm) if not math.isnan(v)])
    finally:
        if not arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{count - failed} of {count} runs agree; worst difference of a loss or gradient norm {worst:.1e}; "
          f"{time.monotonic() - begin:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
