"""Compares training throughput of the program with PyTorch's on the same machine, in interleaved rounds.

Every figure is words a second of a training step: forward, softmax over 10,000 words, backward, clipping, SGD; the
global minibatch is 32 sequences. A round runs every system once, one after the other, so that what the machine does
meanwhile meets all of them; ratios are taken within a round. The text is random words: speed does not depend on it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field

import numpy as np
import torch

from models import SIZES, VOCABULARY

HERE = os.path.dirname(os.path.abspath(__file__))
STEPS = {"small": 40, "medium": 12, "large": 6}
WARM_UP = {"small": 10, "medium": 4, "large": 3}
SECONDS_A_MEASUREMENT = 900


@dataclass
class System:
    """One row of the table: a command, and what it measured in each round."""

    name: str
    layout: str  # processes × threads
    command: list[str]
    is_lockstep: bool = False
    rates: dict[int, float] = field(default_factory=dict)  # words a second, by round
    fault: str | None = None


def environment() -> dict[str, str]:
    """The caller's without what it says about threads, kernels and an enclosing mpirun, the same for all systems."""
    dropped = ("OPENBLAS_", "OMPI_", "PMIX_", "OMP_", "MKL_", "KMP_", "GOMP_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    if os.geteuid() == 0:
        kept |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return kept


def write_text(folder: str) -> tuple[str, str]:
    """Random text of 10,000 types, `<eos>` one of them, with Zipf's frequencies; every word occurs."""
    random = np.random.default_rng(1)
    words = np.array([f"w{index}" for index in range(VOCABULARY - 1)])
    weights = 1 / np.arange(1, len(words) + 1)
    drawn = random.choice(len(words), 190_000, p=weights / weights.sum())
    paths = []
    for name, ids in (("train", np.concatenate((drawn, np.arange(len(words))))), ("validation", drawn[:5000])):
        paths.append(os.path.join(folder, name + ".txt"))
        with open(paths[-1], "w") as file:
            for start in range(0, len(ids), 20):
                file.write(" ".join(words[ids[start : start + 20]]) + "\n")
    return tuple(paths)


# -- the systems ------------------------------------------------------------------------------------------------------


def lockstep_system(model: str, normalized: bool, arguments: argparse.Namespace, texts: tuple[str, str], steps: int) -> System:
    config = os.path.join(arguments.configs, f"ptb-{model}{'-bn' if normalized else ''}.yaml")
    command = [
        *shlex.split(arguments.mpirun), "-n", str(arguments.ranks), "--timeout", str(SECONDS_A_MEASUREMENT),
        arguments.lockstep, "benchmark", config, "--steps", str(steps), "--json"]
    for key, value in (("data.train", texts[0]), ("data.validation", texts[1]), ("data.test", texts[1]),
                       ("data.vocabulary_size", VOCABULARY), ("training.shards", arguments.ranks)):
        command += ["--set", f"{key}={value}"]
    return System("Lockstep", f"{arguments.ranks} × 1", command, is_lockstep=True)


def torch_system(name: str, model: str, form: str, processes: int, threads: int, steps: int) -> System:
    command = [sys.executable, os.path.join(HERE, "measure.py"), "--model", model, "--form", form, "--processes", str(processes),
               "--threads", str(threads), "--steps", str(steps), "--warm-up", str(WARM_UP[model])]
    return System(name, f"{processes} × {threads}", command)


def systems(model: str, normalized: bool, arguments: argparse.Namespace, texts: tuple[str, str]) -> list[System]:
    steps = arguments.steps or STEPS[model]
    forms = [("nn.LSTM", "lstm")]
    if normalized:
        forms = [(f"{label}", form) for label, form in (("loop", "loop"), ("loop, torch.jit.script", "script"), ("loop, torch.compile", "compile"))
                 if form in arguments.forms]
    result = [] if arguments.pytorch_only else [lockstep_system(model, normalized, arguments, texts, steps)]
    for label, form in forms:
        result.append(torch_system(f"PyTorch {label}", model, form, 1, arguments.ranks, steps))
        result.append(torch_system(f"PyTorch {label}, DDP over gloo", model, form, arguments.ranks, 1, steps))
    return result


def measure(system: System, round_: int) -> None:
    """Runs a system once; one that failed is not run again."""
    if system.fault:
        return
    try:
        done = subprocess.run(system.command, env=environment(), capture_output=True, text=True, timeout=SECONDS_A_MEASUREMENT + 30)
    except subprocess.TimeoutExpired:
        system.fault = f"no result within {SECONDS_A_MEASUREMENT + 30} s"
        return
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    try:
        if done.returncode != 0:
            raise ValueError(f"exit code {done.returncode}")
        system.rates[round_] = float(json.loads(lines[-1])["tokens_per_second"])
    except (ValueError, KeyError, IndexError, TypeError) as error:
        tail = " | ".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-3:])
        system.fault = f"{type(error).__name__}: {error}: {tail}"[:400]


# -- the report -------------------------------------------------------------------------------------------------------


def describe_machine(arguments: argparse.Namespace) -> None:
    with open("/proc/cpuinfo") as file:
        lines = file.read().splitlines()
    processor = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    flags = next((line for line in lines if line.startswith("flags")), "")
    vector = next((name for name in ("avx512f", "avx2", "avx") if f" {name}" in flags), "baseline")
    build = [line.strip(" -") for line in torch.__config__.show().splitlines() if "Math Kernel" in line or "MKL-DNN" in line]
    print(f"machine   {processor}, {os.cpu_count()} cores, {vector}; load {os.getloadavg()[0]:.1f}; Linux {platform.release()}")
    print(f"PyTorch   {torch.__version__}, Python {platform.python_version()}; {torch.backends.cpu.get_cpu_capability()}")
    for line in build:
        print(f"          {line}")
    if not arguments.pytorch_only:
        version = run_quietly([arguments.lockstep, "--version"])
        print(f"Lockstep  {version or 'no version'}; {run_quietly(['mpirun', '--version'])}; OpenBLAS {run_quietly(['pkg-config', '--modversion', 'openblas'])}")
    print(f"layouts   {arguments.ranks} processes of one thread, one process of {arguments.ranks} threads; OPENBLAS_*, OMP_* and MKL_* unset for all")


def run_quietly(command: list[str]) -> str:
    try:
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout.strip() else ""


def spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


def report(title: str, rows: list[System]) -> dict:
    """Prints the table of one model; returns it for the JSON file."""
    print(f"\n{title}")
    print(f"  {'system':<46} {'ranks × threads':<16} {'words/s, median (min–max)':<30} Lockstep / this")
    ours = next((row for row in rows if row.is_lockstep), None)
    for row in rows:
        if row.fault:
            print(f"  {row.name:<46} {row.layout:<16} failed: {row.fault}")
            continue
        ratios = ratios_to(ours, row)
        print(f"  {row.name:<46} {row.layout:<16} {spread(list(row.rates.values()), 0):<30} {spread(ratios, 2) if ratios else ''}")
    best = max((row for row in rows if row.rates and not row.is_lockstep), key=lambda row: statistics.median(row.rates.values()), default=None)
    ratios = ratios_to(ours, best) if best else []
    if ratios:
        print(f"  Lockstep against the best of PyTorch here, {best.name} {best.layout}: {spread(ratios, 2)}")
    return {
        "title": title, "best": best.name if best else None, "ratio": statistics.median(ratios) if ratios else None,
        "systems": [{"name": r.name, "layout": r.layout, "rates": list(r.rates.values()), "fault": r.fault} for r in rows]}


def ratios_to(ours: System | None, other: System) -> list[float]:
    """Within the rounds that both have."""
    if ours is None or ours is other:
        return []
    return [ours.rates[r] / other.rates[r] for r in ours.rates if r in other.rates]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="compare-pytorch", description=__doc__.split("\n\n")[0])
    parser.add_argument("--models", default="small,medium", help=f"of {', '.join(SIZES)} (default %(default)s)")
    parser.add_argument("--kinds", default="plain,normalized", help="default %(default)s")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, help=f"timed steps a measurement (default {STEPS})")
    parser.add_argument("--ranks", type=int, default=2, help="processes, and threads of the one-process forms (default 2)")
    parser.add_argument("--forms", default="loop,script,compile", help="of the normalised models in PyTorch (default %(default)s)")
    parser.add_argument("--lockstep", default=os.environ.get("LOCKSTEP", ".build/release/lockstep"), help="the program (default %(default)s)")
    parser.add_argument("--configs", default="Configs", help="folder of ptb-*.yaml (default %(default)s)")
    parser.add_argument("--mpirun", default="mpirun --oversubscribe --bind-to none", help="how ranks are started (default %(default)s)")
    parser.add_argument("--pytorch-only", action="store_true", help="without the program")
    parser.add_argument("--output", metavar="FILE.json", help="write the figures too")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.models.split(",") if name not in SIZES]
    if unknown:
        parser.error(f"no model is named {unknown[0]!r}; there are {', '.join(SIZES)}")
    arguments.forms = arguments.forms.split(",")
    if not arguments.pytorch_only:
        arguments.lockstep = os.path.abspath(shutil.which(arguments.lockstep) or arguments.lockstep)
        if not os.access(arguments.lockstep, os.X_OK):
            parser.error(f"{arguments.lockstep} is not there: build it, name it with --lockstep, or say --pytorch-only")
    return arguments


def main() -> int:
    arguments = parse()
    describe_machine(arguments)
    tables = []
    with tempfile.TemporaryDirectory(prefix="compare-pytorch-") as folder:
        texts = write_text(folder)
        for model in arguments.models.split(","):
            for kind in arguments.kinds.split(","):
                rows = systems(model, kind == "normalized", arguments, texts)
                for round_ in range(arguments.rounds):
                    # Every other round backwards: no system always follows the same neighbour.
                    for row in rows if round_ % 2 == 0 else reversed(rows):
                        measure(row, round_)
                size = SIZES[model]
                what = "batch-normalised inputs, statistics of each time step" if kind == "normalized" else "plain"
                tables.append(report(
                    f"{model}, {what}: {size.layers} × {size.hidden} cells, {size.steps} steps, dropout {size.dropout:g}; "
                    f"{arguments.rounds} rounds of {arguments.steps or STEPS[model]} steps", rows))
                sys.stdout.flush()
    if arguments.output:
        with open(arguments.output, "w") as file:
            json.dump(tables, file, indent=2)
    return 1 if any(system["fault"] for table in tables for system in table["systems"]) else 0


if __name__ == "__main__":
    sys.exit(main())
