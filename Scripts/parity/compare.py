"""Runs the program and the reference from the same weights on the same data, and compares their curves.

Fails where a loss or a gradient norm of a step differs by more than a relative 1e-4, where a perplexity, a validation
loss, an error rate or a tensor of the final model differs by more than the bounds in judging.py, or where two rank counts
give losses of different bits. Cases named chaotic are held to multiples of the reference's own spread (spread.py).
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import torch
from safetensors.torch import load_file

import cases
import speech_cases
import variants
from case import BaseCase
from configuration import KINDS
from judging import Row, compare_curves, judge, spread_of
from reference import make_trainer
from runs import run_program
from speech_cases import SpeechCase
from spread import measure, perturbed


@dataclass
class Outcome:
    """All runs of a case."""

    case: BaseCase
    rows: list[Row]
    seconds: float


@dataclass(frozen=True)
class Settings:
    ranks: tuple[int, ...]
    steps: int
    lockstep: str
    folder: str
    noise: bool  # compare the reference in float32 instead of the program
    kinds: tuple[str, ...]  # of `evaluation.statistics`, to which those of the cases are limited
    products: str  # who multiplies large matrices


def examine(index: int, case: BaseCase, settings: Settings) -> Outcome:
    """The reference once, then the program on each rank count."""
    torch.set_num_threads(1)
    begin = time.monotonic()
    folder = os.path.join(settings.folder, f"{index:03d}-{case.name.replace('/', '-')}")
    os.makedirs(folder)
    write = speech_cases.write if isinstance(case, SpeechCase) else cases.write
    config, weights_path = write(case, folder, settings.steps)
    weights = load_file(weights_path)
    run = lambda tensors, dtype: make_trainer(config, tensors, dtype).run(settings.steps)
    expected = run(weights, torch.float64)
    spread = measure(run, weights, lambda curve: spread_of(curve, expected)) if case.chaotic else None
    if settings.noise:
        # A chaotic case is tried on a run that its spread does not know.
        start = perturbed(weights, seed=1000) if case.chaotic else weights
        rows = [compare_curves(run(start, torch.float32), expected, counted=not case.chaotic)]
        judge(rows[0], spread)
    else:
        kinds = case.limited(settings.kinds)
        rows = [
            run_program(
                case, ranks, kinds[(index + place) % len(kinds)], folder, expected, spread, settings.lockstep, settings.steps, settings.products)
            for place, ranks in enumerate(settings.ranks)]
        for row in rows[1:]:
            if rows[0].losses and row.losses and row.losses != rows[0].losses:
                row.faults.append(f"losses have other bits than on {rows[0].ranks} ranks")
    return Outcome(case, rows, time.monotonic() - begin)


# -- the table ------------------------------------------------------------------------------------------------------


def print_outcome(outcome: Outcome, width: int) -> None:
    for row in outcome.rows:
        number = lambda value: "      –" if value is None else f"{value:7.1e}"
        print(f"{outcome.case.name:<{width}}  {row.ranks:>5}  {number(row.loss)}  {number(row.norm)}  {number(row.tensors)}  "
              f"{number(row.statistics)}  {number(row.evaluation)} {row.kind:<10}  {row.verdict}", flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="compare-parity", description=__doc__.split("\n\n")[0])
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="a covering subset (the default)")
    size.add_argument("--full", action="store_true", help="every combination, and the further cases")
    parser.add_argument("--speech", action="store_true", help="only archives: all their cases, or with --quick a covering subset")
    parser.add_argument("--variants", action="store_true", help="only the cases of variants.py: all, or with --quick a covering subset")
    parser.add_argument("--ranks", default="1,2,4", help="rank counts (default 1,2,4; there are 4 shards)")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--filter", default="", help="only cases whose name contains TEXT; several, by commas, must all occur")
    parser.add_argument("--leave-out", default="", help="no cases whose name contains one of these TEXTs, by commas")
    parser.add_argument("--placements", default=",".join(cases.PLACEMENTS), help="placements to combine in language models (default %(default)s)")
    parser.add_argument("--lockstep", default=os.environ.get("LOCKSTEP", ".build/release/lockstep"), help="the program (default %(default)s)")
    parser.add_argument("--statistics", default=",".join(KINDS), help="values of evaluation.statistics to run (default %(default)s)")
    parser.add_argument(
        "--products", default="automatic", choices=("automatic", "own", "blas"), help="compute.products of the program (default %(default)s); "
        "LOCKSTEP_KERNELS in the environment chooses its kernels")
    parser.add_argument("--jobs", type=int, default=2, help="cases at a time")
    parser.add_argument("--keep", metavar="DIR", help="leave data, weights and runs in DIR")
    parser.add_argument("--noise", action="store_true", help="compare the reference in float32 with itself in float64: what rounding does")
    parser.add_argument("--list", action="store_true", help="print the cases' names")
    return parser.parse_args()


def select(arguments: argparse.Namespace) -> list[BaseCase]:
    placements = tuple(arguments.placements.split(","))
    everything = not arguments.quick and bool(arguments.full or arguments.filter or arguments.speech or arguments.variants)
    speech = speech_cases.combinations() + speech_cases.further() if everything else speech_cases.quick()
    language = cases.combinations(placements) + cases.further() if everything else cases.quick(placements)
    others = variants.everything() if everything else variants.quick()
    if arguments.speech:
        chosen = speech + [case for case in others if isinstance(case, SpeechCase)]
    else:
        chosen = others if arguments.variants else language + speech + others
    unwanted = [part for part in arguments.leave_out.split(",") if part]
    return [case for case in chosen if all(part in case.name for part in arguments.filter.split(","))
            and not any(part in case.name for part in unwanted)]


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
    settings = Settings(
        ranks, arguments.steps, lockstep, os.path.abspath(folder), arguments.noise, tuple(arguments.statistics.split(",")), arguments.products)
    print(f"{len(chosen)} cases of {arguments.steps} steps {'in float32' if arguments.noise else 'on ' + arguments.ranks + ' ranks'}; "
          f"PyTorch {torch.__version__} float64; largest relative differences")
    width = max(len(case.name) for case in chosen)
    print(f"{'case':<{width}}  ranks     loss     norm  tensors  statist  evaluation          verdict")
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
