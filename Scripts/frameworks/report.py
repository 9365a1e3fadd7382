"""What the comparison prints: the machine and the systems, and a table for each model."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field

import instructions

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = tempfile.TemporaryDirectory()
FRAMEWORKS = {"pytorch": "PyTorch", "jax": "JAX"}


@dataclass
class System:
    """One row of the table: a command, and what it measured in each round."""

    framework: str  # Lockstep, PyTorch, JAX
    form: str
    layout: str  # processes × threads
    command: list[str]
    rates: dict[int, float] = field(default_factory=dict)  # words or frames a second, by round
    said: str | None = None  # the instruction set, where the measurement tells
    exceeded: bool = False  # the kernel saw more instructions in use than all are limited to
    fault: str | None = None

    @property
    def name(self) -> str:
        return f"{self.framework} {self.form}".strip()

    @property
    def is_lockstep(self) -> bool:
        return self.framework == "Lockstep"


def environment(arguments: argparse.Namespace) -> dict[str, str]:
    """The caller's with the limits. What it says about limits, threads, an enclosing mpirun and, unless kept, BLAS is dropped."""
    dropped = ("OMPI_", "PMIX_", "OMP_", "MKL_", "KMP_", "GOMP_", *(() if arguments.keep_blas else ("OPENBLAS_",)))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    kept = {name: value for name, value in kept.items() if name not in instructions.NAMES or name.startswith("OPENBLAS_")}
    if os.geteuid() == 0:
        kept |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    # Jobs of Open MPI at the same time would make and remove one folder.
    return kept | {"OMPI_MCA_orte_tmpdir_base": FOLDER.name} | instructions.limits(arguments.instructions)


def describe_machine(arguments: argparse.Namespace) -> None:
    processor = instructions.cpuinfo("model name") or platform.machine()
    load = f"load {os.getloadavg()[0]:.1f}; Linux {platform.release()}"
    print(f"machine   {processor}, {os.cpu_count()} cores, {instructions.widest()}; {load}")
    limits = instructions.limits(arguments.instructions)
    if limits:
        print(f"limited   all systems to {arguments.instructions.upper()}, not the processor's best:")
        for name, value in limits.items():
            print(f"          {name}={value}")
    kept = {name: value for name, value in sorted(os.environ.items()) if name.startswith("OPENBLAS_") and name not in limits}
    kept = " ".join(f"{name}={value}" for name, value in kept.items()) or "OPENBLAS_* not set"
    unset = f"OMP_* and MKL_* unset for all, {kept}" if arguments.keep_blas else "OPENBLAS_*, OMP_* and MKL_* unset for all"
    unset += " but for the limits" if limits else ""
    print(f"layouts   {arguments.ranks} processes of one thread, one process of {arguments.ranks} threads; {unset}")
    for framework in arguments.systems:
        print(f"{FRAMEWORKS[framework]:<9} {identified(framework, arguments)}", flush=True)


def identified(framework: str, arguments: argparse.Namespace) -> str:
    said = run_quietly([sys.executable, os.path.join(HERE, "identify.py"), framework], arguments)
    if not said:
        return "cannot be imported"
    found = json.loads(said[-1])
    first = f"{found['version']}, Python {platform.python_version()}; instruction set {found['instruction_set']}"
    return "\n          ".join((first, *found["libraries"]))


def describe_lockstep(arguments: argparse.Namespace, said: str | None) -> None:
    """After its first measurement, which tells the instruction set."""
    first = lambda command: (run_quietly(command, arguments) or [""])[0]
    libraries = f"{first(['mpirun', '--version'])}; OpenBLAS {first(['pkg-config', '--modversion', 'openblas'])}"
    version = first([arguments.lockstep, "--version"]) or "no version"
    print(f"Lockstep  {version}; instruction set {said or 'not said'}; {libraries}", flush=True)


def run_quietly(command: list[str], arguments: argparse.Namespace) -> list[str]:
    """The lines that it printed; none where it failed."""
    try:
        done = subprocess.run(command, env=environment(arguments), capture_output=True, text=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.strip().splitlines() if done.returncode == 0 else []


def spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


def report(title: str, unit: str, rows: list[System]) -> dict:
    """Prints the table of one model; returns it for the JSON file."""
    print(f"\n{title}")
    print(f"  {'system':<56} {'ranks × threads':<16} {f'{unit}/s, median (min–max)':<30} Lockstep / this")
    ours = next((row for row in rows if row.is_lockstep), None)
    for row in rows:
        if row.fault:
            print(f"  {row.name:<56} {row.layout:<16} failed: {row.fault}")
            continue
        ratios, mark = ratios_to(ours, row), " *" if row.exceeded else ""
        print(f"  {row.name:<56} {row.layout:<16} {spread(list(row.rates.values()), 0):<30} {spread(ratios, 2) if ratios else ''}{mark}")
    if any(row.exceeded for row in rows):
        print("  * not limited: the kernel saw registers of AVX-512 in use")
    against = {}
    for framework in FRAMEWORKS.values():
        others = [row for row in rows if row.rates and row.framework == framework]
        best = max(others, key=lambda row: statistics.median(row.rates.values()), default=None)
        ratios = ratios_to(ours, best) if best else []
        if ratios:
            print(f"  Lockstep against the best of {framework} here, {best.name} {best.layout}: {spread(ratios, 2)}")
            against[framework] = {"best": best.name, "layout": best.layout, "ratio": statistics.median(ratios), "ratios": ratios}
    return {
        "title": title, "against": against,
        "systems": [{"name": r.name, "layout": r.layout, "rates": list(r.rates.values()), "instruction_set": r.said,
                     "exceeds_limit": r.exceeded, "fault": r.fault} for r in rows]}


def ratios_to(ours: System | None, other: System) -> list[float]:
    """Within the rounds that both have."""
    if ours is None or ours is other:
        return []
    return [ours.rates[r] / other.rates[r] for r in ours.rates if r in other.rates]
