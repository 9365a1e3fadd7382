"""Compares training throughput of the program with PyTorch's on the same machine, in interleaved rounds.

Every figure is words or (unpadded) frames a second of a training step: forward, softmax over 10,000 words or 3546
classes, backward, clipping, SGD; the global minibatch is 32 sequences of words or 24 utterances. A round runs every
system once, one after the other, so that what the machine does meanwhile meets all of them; ratios are taken within a
round. Words and features are random: speed does not depend on them.
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

import torch

from workloads import KINDS, NAMES, Workload, make_workload

HERE = os.path.dirname(os.path.abspath(__file__))
SECONDS_A_MEASUREMENT = 900


@dataclass
class System:
    """One row of the table: a command, and what it measured in each round."""

    name: str
    layout: str  # processes × threads
    command: list[str]
    is_lockstep: bool = False
    rates: dict[int, float] = field(default_factory=dict)  # words or frames a second, by round
    fault: str | None = None


def environment(keeps_blas: bool = False) -> dict[str, str]:
    """The caller's without what it says about threads, an enclosing mpirun and, unless these are kept, kernels of BLAS, the same for all systems."""
    dropped = ("OMPI_", "PMIX_", "OMP_", "MKL_", "KMP_", "GOMP_", *(() if keeps_blas else ("OPENBLAS_",)))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    if os.geteuid() == 0:
        kept |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return kept


# -- the systems ------------------------------------------------------------------------------------------------------


def lockstep_system(workload: Workload, kind: str, arguments: argparse.Namespace, steps: int) -> System:
    command = [
        *shlex.split(arguments.mpirun), "-n", str(arguments.ranks), "--timeout", str(SECONDS_A_MEASUREMENT),
        arguments.lockstep, "benchmark", *workload.lockstep(kind), "--steps", str(steps), "--json",
        "--set", f"training.shards={arguments.ranks}"]
    return System("Lockstep", f"{arguments.ranks} × 1", command, is_lockstep=True)


def torch_system(name: str, workload: Workload, form: str, processes: int, threads: int, steps: int) -> System:
    command = [sys.executable, os.path.join(HERE, "measure.py"), *workload.torch_arguments(), "--form", form,
               "--processes", str(processes), "--threads", str(threads), "--steps", str(steps), "--warm-up", str(workload.warm_up)]
    return System(name, f"{processes} × {threads}", command)


def systems(workload: Workload, kind: str, arguments: argparse.Namespace) -> list[System]:
    steps = arguments.steps or workload.steps
    result = [] if arguments.pytorch_only else [lockstep_system(workload, kind, arguments, steps)]
    for label, form in workload.forms(kind, arguments.forms):
        result.append(torch_system(f"PyTorch {label}", workload, form, 1, arguments.ranks, steps))
        result.append(torch_system(f"PyTorch {label}, DDP over gloo", workload, form, arguments.ranks, 1, steps))
    return result


def measure(system: System, round_: int, keeps_blas: bool) -> None:
    """Runs a system once; one that failed is not run again."""
    if system.fault:
        return
    try:
        done = subprocess.run(
            system.command, env=environment(keeps_blas), capture_output=True, text=True, timeout=SECONDS_A_MEASUREMENT + 30)
    except subprocess.TimeoutExpired:
        system.fault = f"no result within {SECONDS_A_MEASUREMENT + 30} s"
        return
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    try:
        if done.returncode != 0:
            raise ValueError(f"exit code {done.returncode}")
        found = json.loads(lines[-1])
        system.rates[round_] = float(found["frames_per_second"] if "frames_per_second" in found else found["tokens_per_second"])
    except (ValueError, KeyError, IndexError, TypeError) as error:
        said = [line.strip() for line in (done.stderr.strip() or done.stdout.strip()).splitlines() if line.strip()]
        # What mpirun adds stands below a ruled line or a dotted one.
        first = next((index for index, line in enumerate(said) if line.startswith(("-----", "Primary job"))), len(said))
        tail = " | ".join((said[:first] or said)[-3:])
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
        libraries = f"{run_quietly(['mpirun', '--version'])}; OpenBLAS {run_quietly(['pkg-config', '--modversion', 'openblas'])}"
        print(f"Lockstep  {version or 'no version'}; {libraries}")
    blas = " ".join(f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith("OPENBLAS_"))
    blas = f"OMP_* and MKL_* unset for all, {blas or 'OPENBLAS_* not set'}" if arguments.keep_blas else "OPENBLAS_*, OMP_* and MKL_* unset for all"
    print(f"layouts   {arguments.ranks} processes of one thread, one process of {arguments.ranks} threads; {blas}")


def run_quietly(command: list[str]) -> str:
    try:
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout.strip() else ""


def spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


def report(title: str, unit: str, rows: list[System]) -> dict:
    """Prints the table of one model; returns it for the JSON file."""
    print(f"\n{title}")
    print(f"  {'system':<46} {'ranks × threads':<16} {f'{unit}/s, median (min–max)':<30} Lockstep / this")
    ours = next((row for row in rows if row.is_lockstep), None)
    for row in rows:
        if row.fault:
            print(f"  {row.name:<46} {row.layout:<16} failed: {row.fault}")
            continue
        ratios = ratios_to(ours, row)
        print(f"  {row.name:<46} {row.layout:<16} {spread(list(row.rates.values()), 0):<30} {spread(ratios, 2) if ratios else ''}")
    others = [row for row in rows if row.rates and not row.is_lockstep]
    best = max(others, key=lambda row: statistics.median(row.rates.values()), default=None)
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
    parser = argparse.ArgumentParser(prog="compare-frameworks", description=__doc__.split("\n\n")[0])
    parser.add_argument("--models", default="small,medium", help=f"of {', '.join(NAMES)} (default %(default)s)")
    parser.add_argument("--kinds", default=",".join(KINDS), help="default %(default)s")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="timed steps a measurement (default: fewer for larger models)")
    parser.add_argument("--ranks", type=int, default=2, help="processes, and threads of the one-process forms (default 2)")
    parser.add_argument("--forms",
                        help="of the normalised models in PyTorch: loop,script,compile,unroll (default: these, for speech the first two)")
    parser.add_argument("--lockstep", default=os.environ.get("LOCKSTEP", ".build/release/lockstep"),
                        help="the program (default %(default)s)")
    parser.add_argument("--configs", default="Configs", help="folder of ptb-*.yaml (default %(default)s)")
    parser.add_argument("--mpirun", default="mpirun --oversubscribe --bind-to none", help="how ranks are started (default %(default)s)")
    parser.add_argument("--keep-blas", action="store_true", help="leave the environment's OPENBLAS_* as they are, for all systems")
    parser.add_argument("--pytorch-only", action="store_true", help="without the program")
    parser.add_argument("--output", metavar="FILE.json", help="write the figures too")
    arguments = parser.parse_args()
    for what, given, allowed in (("model", arguments.models, NAMES), ("kind", arguments.kinds, KINDS)):
        unknown = [name for name in given.split(",") if name not in allowed]
        if unknown:
            parser.error(f"no {what} is named {unknown[0]!r}; there are {', '.join(allowed)}")
    arguments.forms = arguments.forms.split(",") if arguments.forms else None
    if not arguments.pytorch_only:
        arguments.lockstep = os.path.abspath(shutil.which(arguments.lockstep) or arguments.lockstep)
        if not os.access(arguments.lockstep, os.X_OK):
            parser.error(f"{arguments.lockstep} is not there: build it, name it with --lockstep, or say --pytorch-only")
    return arguments


def main() -> int:
    arguments = parse()
    describe_machine(arguments)
    tables = []
    with tempfile.TemporaryDirectory(prefix="compare-frameworks-") as folder:
        for name in arguments.models.split(","):
            workload = make_workload(name, folder, arguments.configs)
            for kind in arguments.kinds.split(","):
                rows = systems(workload, kind, arguments)
                for round_ in range(arguments.rounds):
                    # Every other round backwards: no system always follows the same neighbour.
                    for row in rows if round_ % 2 == 0 else reversed(rows):
                        measure(row, round_, arguments.keep_blas)
                        found = row.fault or f"{row.rates[round_]:,.0f} {workload.unit}/s"
                        print(f"{name} {kind}, round {round_ + 1}: {row.name} {row.layout}: {found}", file=sys.stderr, flush=True)
                plan = f"; {arguments.rounds} rounds of {arguments.steps or workload.steps} steps"
                tables.append(report(workload.title(kind) + plan, workload.unit, rows))
                sys.stdout.flush()
    if arguments.output:
        with open(arguments.output, "w") as file:
            json.dump(tables, file, indent=2)
    return 1 if any(system["fault"] for table in tables for system in table["systems"]) else 0


if __name__ == "__main__":
    sys.exit(main())
