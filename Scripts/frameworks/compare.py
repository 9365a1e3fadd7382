"""Compares training throughput of the program with PyTorch's and JAX's on the same machine, in interleaved rounds.

Every figure is words or (unpadded) frames a second of a training step: forward, softmax over 10,000 words or 3546
classes, backward, clipping, SGD; the global minibatch is 32 sequences of words or 24 utterances. A round runs every
system once, one after the other, so that what the machine does meanwhile meets all of them; ratios are taken within a
round. Words and features are random: speed does not depend on them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile

import instructions
from report import FRAMEWORKS, HERE, System, describe_lockstep, describe_machine, environment, report
from workloads import KINDS, NAMES, Workload, make_workload

SECONDS_A_MEASUREMENT = 900


# -- the systems ------------------------------------------------------------------------------------------------------


def lockstep_system(workload: Workload, kind: str, arguments: argparse.Namespace, steps: int) -> System:
    command = [
        *shlex.split(arguments.mpirun), "-n", str(arguments.ranks), "--timeout", str(SECONDS_A_MEASUREMENT),
        arguments.lockstep, "benchmark", *workload.lockstep(kind), "--steps", str(steps), "--json",
        "--set", f"training.shards={arguments.ranks}"]
    return System("Lockstep", "", f"{arguments.ranks} × 1", command)


def framework_systems(
    framework: str, form: str, exchange: str, script: str, options: list[str], workload: Workload,
    arguments: argparse.Namespace, steps: int
) -> list[System]:
    """One process of several threads, and several processes of one."""
    result = []
    for processes, threads, label in ((1, arguments.ranks, form), (arguments.ranks, 1, f"{form}, {exchange}")):
        command = [
            sys.executable, os.path.join(HERE, script), *workload.arguments(), *options, "--processes", str(processes),
            "--threads", str(threads), "--steps", str(steps), "--warm-up", str(workload.warm_up)]
        result.append(System(framework, label, f"{processes} × {threads}", command))
    return result


def systems(workload: Workload, kind: str, arguments: argparse.Namespace) -> list[System]:
    steps = arguments.steps or workload.steps
    result = [] if arguments.without_lockstep else [lockstep_system(workload, kind, arguments, steps)]
    if "pytorch" in arguments.systems:
        for label, form in workload.forms(kind, arguments.forms):
            result += framework_systems("PyTorch", label, "DDP over gloo", "measure.py", ["--form", form], workload, arguments, steps)
    if "jax" in arguments.systems:
        options = ["--kind", kind]
        result += framework_systems("JAX", "lax.scan", "all-reduce over gloo", "measure_jax.py", options, workload, arguments, steps)
    return result


def measure(system: System, round_: int, arguments: argparse.Namespace) -> None:
    """Runs a system once; one that failed is not run again."""
    if system.fault:
        return
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(system.command, env=environment(arguments), **pipes) as process:
        watch = None if arguments.instructions == "best" else instructions.Watch(process.pid)
        try:
            with watch or contextlib.nullcontext():
                output, errors = process.communicate(timeout=SECONDS_A_MEASUREMENT + 30)
        except subprocess.TimeoutExpired:
            process.kill()
            system.fault = f"no result within {SECONDS_A_MEASUREMENT + 30} s"
            return
    system.exceeded |= watch is not None and watch.seen
    lines = [line for line in output.splitlines() if line.strip()]
    try:
        if process.returncode != 0:
            raise ValueError(f"exit code {process.returncode}")
        found = json.loads(lines[-1])
        system.said = found.get("instruction_set")
        asked = instructions.LOCKSTEP_NAMES.get(arguments.instructions)
        if system.said and asked and system.said != asked:
            system.fault = f"it says that it uses the instruction set {system.said}, not {asked}"
            return
        system.rates[round_] = float(found["frames_per_second"] if "frames_per_second" in found else found["tokens_per_second"])
    except (ValueError, KeyError, IndexError, TypeError) as error:
        said = [line.strip() for line in (errors.strip() or output.strip()).splitlines() if line.strip()]
        # What mpirun adds stands below a ruled line or a dotted one.
        first = next((index for index, line in enumerate(said) if line.startswith(("-----", "Primary job"))), len(said))
        tail = " | ".join((said[:first] or said)[-3:])
        system.fault = f"{type(error).__name__}: {error}: {tail}"[:400]


# -- the command ------------------------------------------------------------------------------------------------------


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="compare-frameworks", description=__doc__.split("\n\n")[0])
    parser.add_argument("--models", default="small,medium", help=f"of {', '.join(NAMES)} (default %(default)s)")
    parser.add_argument("--kinds", default=",".join(KINDS), help="default %(default)s")
    parser.add_argument("--systems", default=",".join(FRAMEWORKS), help="what the program is compared with (default %(default)s)")
    parser.add_argument("--instructions", choices=instructions.CHOICES, default="best",
                        help="avx2 limits all systems to it (default %(default)s: the processor's)")
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
    parser.add_argument("--without-lockstep", action="store_true", help="the other systems alone")
    parser.add_argument("--output", metavar="FILE.json", help="write the figures too")
    arguments = parser.parse_args()
    for what, given, allowed in (
        ("model", arguments.models, NAMES), ("kind", arguments.kinds, KINDS), ("system", arguments.systems, FRAMEWORKS)):
        unknown = [name for name in given.split(",") if name not in allowed]
        if unknown:
            parser.error(f"no {what} is named {unknown[0]!r}; there are {', '.join(allowed)}")
    arguments.systems = arguments.systems.split(",")
    arguments.forms = arguments.forms.split(",") if arguments.forms else None
    if arguments.instructions == "avx2" and instructions.widest() not in ("avx2", "avx512f"):
        parser.error("the processor lacks AVX2")
    if not arguments.without_lockstep:
        arguments.lockstep = os.path.abspath(shutil.which(arguments.lockstep) or arguments.lockstep)
        if not os.access(arguments.lockstep, os.X_OK):
            parser.error(f"{arguments.lockstep} is not there: build it, name it with --lockstep, or say --without-lockstep")
    return arguments


def main() -> int:
    arguments = parse()
    describe_machine(arguments)
    undescribed, tables = not arguments.without_lockstep, []
    with tempfile.TemporaryDirectory(prefix="compare-frameworks-") as folder:
        for name in arguments.models.split(","):
            workload = make_workload(name, folder, arguments.configs)
            for kind in arguments.kinds.split(","):
                rows = systems(workload, kind, arguments)
                for round_ in range(arguments.rounds):
                    # Every other round backwards: no system always follows the same neighbour.
                    for row in rows if round_ % 2 == 0 else reversed(rows):
                        measure(row, round_, arguments)
                        if undescribed and row.is_lockstep:
                            describe_lockstep(arguments, row.said)
                            undescribed = False
                        found = row.fault or f"{row.rates[round_]:,.0f} {workload.unit}/s"
                        print(f"{name} {kind}, round {round_ + 1}: {row.name} {row.layout}: {found}", file=sys.stderr, flush=True)
                plan = f"; {arguments.rounds} rounds of {arguments.steps or workload.steps} steps"
                limit = "" if arguments.instructions == "best" else f"; limited to {arguments.instructions.upper()}"
                tables.append(report(workload.title(kind) + plan + limit, workload.unit, rows))
                sys.stdout.flush()
    if arguments.output:
        with open(arguments.output, "w") as file:
            processor = instructions.cpuinfo("model name")
            json.dump({"processor": processor, "instructions": arguments.instructions, "tables": tables}, file, indent=2)
    return 1 if any(system["fault"] for table in tables for system in table["systems"]) else 0


if __name__ == "__main__":
    sys.exit(main())
