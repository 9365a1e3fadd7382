"""Checks of what the exporter refuses, and of runs on file systems without links."""

from __future__ import annotations

import os
import shutil

import exported
from cases import Case, frame_wise, keys
from trained import Material, Run


def check(board, material: Material) -> None:
    run = Run.train(material, Case("", keys("none")), "bad")
    framed = Run.train(material, Case("", frame_wise("input")), "bad-frame")
    checkpoint = os.path.join(run.directory, "checkpoints", "best")
    output = os.path.join(material.directory, "bad.out")
    damaged = damages(run, material.directory)
    to = ("--to", "pytorch", "--output", output)
    for name, arguments, expected in (
        ("no such run", (run.directory + "x", *to), 65),
        ("a directory without checkpoints", (material.directory, *to), 65),
        *((name, (path, *to), 65) for name, path in damaged),
        ("no --to", (run.directory, "--output", output), 64),
        ("an unknown target", (run.directory, "--to", "x", "--output", output), 64),
        ("no such directory", (run.directory, "--to", "onnx", "--output", "/no/such/file"), 64),
        ("the model in its own place", (
            run.directory, "--to", "pytorch", "--output", f"{checkpoint}/model.safetensors"), 64),
        ("--fold-step with onnx", (
            framed.directory, "--to", "onnx", "--output", output, "--fold-step", "0"), 64),
        ("--fold-step without statistics", (run.directory, *to, "--fold-step", "0"), 64),
        ("--fold-step past the last", (framed.directory, *to, "--fold-step", "18"), 64),
        ("--fold-step before the first", (framed.directory, *to, "--fold-step=-1"), 64),
    ):
        code, out, err = exported.call(*arguments)
        words = err.strip()
        good = (code == expected and not out and "\n" not in words
                and words.startswith("export: error: ") and not os.path.exists(output))
        board.line(f"bad input, {name}", good, f"exit {code}, {words}")
    check_names(board, run, material.directory)
    check_notes(board, material, framed)


def check_notes(board, material: Material, framed: Run) -> None:
    """Where a file computes something else than `lockstep evaluate`, stderr says so."""
    batch = Run.train(material, Case("", frame_wise("input") | {
        "evaluation.statistics": "batch"}), "bad-batch")
    output = os.path.join(material.directory, "noted.out")
    for name, run, arguments, expected in (
        ("statistics of a minibatch", batch, ("onnx",), "evaluation.statistics: batch"),
        ("--fold-step", framed, ("pytorch", "--fold-step", "3"), "statistics of step 3"),
        ("nothing to say", framed, ("onnx",), ""),
    ):
        code, _, err = exported.call(
            run.directory, "--output", output, "--to", arguments[0], *arguments[1:])
        words = err.strip()
        good = code == 0 and (expected in words if expected else not words)
        board.line(f"notes, {name}", good, words or "none")


def damages(run: Run, directory: str) -> list[tuple[str, str]]:
    """Copies of a checkpoint, each damaged in its own way: what is wrong, and where it lies."""
    result = []

    def damage(name: str, file: str, change) -> None:
        copy = os.path.join(directory, f"damaged-{len(result)}")
        shutil.copytree(os.path.join(run.directory, "checkpoints", "best"), copy)
        path = os.path.join(copy, file)
        with open(path, "rb") as source:
            content = change(bytearray(source.read()))
        if content is None:
            os.remove(path)
        else:
            with open(path, "wb") as target:
                target.write(content)
        result.append((name, copy))

    def flip(content: bytearray) -> bytearray:
        content[len(content) // 2] ^= 1
        return content

    for file in ("model.safetensors", "state.json", "features.json"):
        damage(f"a changed byte in {file}", file, flip)
        damage(f"a truncated {file}", file, lambda content: content[:-7])
    damage("no model.safetensors", "model.safetensors", lambda content: None)
    return result


def check_names(board, run: Run, directory: str) -> None:
    """Whatever names a checkpoint leads to the same file."""
    kept = {name: os.path.join(run.directory, "checkpoints", name) for name in ("best", "latest")}
    copy = os.path.join(directory, "without-links")
    shutil.copytree(run.directory, copy, symlinks=True)
    for name, link in kept.items():
        path = os.path.join(copy, "checkpoints", name)
        target = os.readlink(link)
        os.remove(path)
        with open(path, "w") as file:
            file.write(os.path.basename(target) + "\n")
    with open(exported.export(run, "pytorch")[0], "rb") as file:
        expected = file.read()
    for name, path in (
        ("its directory", os.path.realpath(kept["best"])), ("a link", kept["best"]),
        ("a run without links", copy), ("a file in place of a link", f"{copy}/checkpoints/best"),
    ):
        output = os.path.join(directory, "named.safetensors")
        code, _, err = exported.call(path, "--to", "pytorch", "--output", output)
        good = code == 0
        if good:
            with open(output, "rb") as file:
                good = file.read() == expected
        words = "the same file" if good else err.strip() or "other bytes"
        board.line(f"a checkpoint by {name}", good, words)
