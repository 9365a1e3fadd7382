"""Checks of average-checkpoints: its means, what the program makes of them, and refusals."""

from __future__ import annotations

import os

import numpy as np
from safetensors.numpy import load_file

import average
import exported
from cases import Case, frame_wise, keys
from trained import LOSS, Material, Run

# One rounding to single precision of weights below 4.
TOLERANCE = 2.5e-7
EVERY_STEP = {"checkpoint.every_steps": 1, "checkpoint.keep": 20}


def call(*arguments: str) -> tuple[int, str]:
    """Exit code and what average-checkpoints prints."""
    code, out, err = exported.called("average-checkpoints", average.main, arguments)
    return code, (out + err).strip()


def check(board, material: Material) -> None:
    run = Run.train(material, Case("", frame_wise("input") | EVERY_STEP), "averaged")
    output = os.path.join(material.directory, "mean.safetensors")
    folder = os.path.join(run.directory, "checkpoints")
    steps = sorted(int(name[5:]) for name in os.listdir(folder) if name.startswith("step-"))
    code, words = call(run.directory, "--output", output, "--last", "3")
    listed = ", ".join(map(str, steps[-3:]))
    board.line("average-checkpoints, --last 3", code == 0 and words.endswith(listed), words)
    found = load_file(output)
    models = [load_file(f"{folder}/step-{step:08}/model.safetensors") for step in steps[-3:]]
    weights = {name for name in models[0] if "running_" not in name}
    board.line("average-checkpoints, names", set(found) == weights, f"{len(found)} tensors")
    board.tell("average-checkpoints, means", max(
        float(np.abs(found[name] - np.mean(
            [m[name] for m in models], axis=0, dtype=np.float64)).max())
        for name in weights), TOLERANCE)
    # One checkpoint's mean is its weights, and the program makes the statistics that they had.
    call(run.directory, "--output", output, "--steps", str(steps[-1]))
    printed = [LOSS.search(material.run("evaluate", f"{folder}/latest", *options))[1]
               for options in ((), ("--weights", output))]
    board.line("average-checkpoints, loss by evaluate --weights", printed[0] == printed[1],
               " and ".join(printed))
    refusals(board, material, run, output)


def refusals(board, material: Material, run: Run, output: str) -> None:
    white = Run.train(material, Case("", keys("whitened-input")), "averaged-white")
    for name, arguments, expected in (
        ("no run", (run.directory + "x",), "a run directory without checkpoints"),
        ("--last 0", (run.directory, "--last", "0"), "--last 0"),
        ("a step that is not there", (run.directory, "--steps", "999"), "no checkpoint of step 999"),
        ("whitened-input", (white.directory,), "whitened-input"),
    ):
        code, words = call(*arguments, "--output", output)
        board.line(f"average-checkpoints, {name}", code == 64 and expected in words, words)
