"""Scripts/average-checkpoints: the mean of the weights of several checkpoints of a run.

The file has weights and no statistics: those of each checkpoint belong to its own weights. What
reads the file makes statistics of the training data (`lockstep evaluate --weights`), or begins
with none (`lockstep train --initialize-from`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import numpy as np

from checkpoint import CHECKPOINT_NAME, Checkpoint, open_checkpoint
from failures import Failure, Parser, guarded
from files import check_output, write_tensors


def main(arguments: Sequence[str]) -> None:
    parser = Parser(
        "average-checkpoints", description="Averages the weights of checkpoints of a run.")
    parser.add_argument("run", help="a run directory")
    parser.add_argument("--output", required=True, metavar="FILE", help="the file to write")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--last", type=int, metavar="N", help="the N checkpoints of the highest steps")
    which.add_argument("--steps", metavar="S,S,...", help="the checkpoints of these steps")
    options = parser.parse_args(arguments)
    checkpoints = [open_checkpoint(path) for path in chosen(options)]
    check_output(options.output, [file for one in checkpoints for file in one.files])
    write_tensors(options.output, mean(checkpoints))
    steps = ", ".join(str(one.step) for one in checkpoints)
    print(f"{options.output}: the mean of the weights of steps {steps}")


def chosen(options) -> list[str]:
    """Paths of the checkpoints to average, by step."""
    folder = os.path.join(options.run, "checkpoints")
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    standing = sorted((step(name), name) for name in names if CHECKPOINT_NAME.fullmatch(name))
    if not standing:
        raise Failure(f"{options.run}: a run directory without checkpoints, or none")
    if options.last is not None:
        if not 1 <= options.last <= len(standing):
            raise Failure(f"--last {options.last}: allowed: 1 to {len(standing)}, which stand")
        standing = standing[-options.last :]
    if options.steps is not None:
        wanted = [part.strip() for part in options.steps.split(",")]
        there = {str(number): (number, name) for number, name in standing}
        for part in wanted:
            if part not in there:
                found = ", ".join(there)
                raise Failure(f"--steps: no checkpoint of step {part}; there are {found}")
        standing = sorted({there[part] for part in wanted})
    return [os.path.join(folder, name) for _, name in standing]


def step(name: str) -> int:
    return int(name.removeprefix("step-"))


def mean(checkpoints: Sequence[Checkpoint]) -> dict[str, np.ndarray]:
    """The mean of each weight, added up in double precision."""
    first = checkpoints[0]
    if first.configuration["normalization"]["placement"] == "whitened-input":
        raise Failure(
            "normalization.placement is whitened-input: weights of different steps are for "
            "different bases of the input")
    statistics = ("running_mean", "running_variance")
    names = [name for name in first.tensors if not name.endswith(statistics)]
    return {
        name: sum(one.tensors[name].astype(np.float64) for one in checkpoints) / len(checkpoints)
        for name in names}


if __name__ == "__main__":
    sys.exit(guarded("average-checkpoints", main, sys.argv[1:]))
