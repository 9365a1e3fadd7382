"""Checks the exporter against the program: trains small models, exports them, compares results.

Classification is compared in log posteriors of every frame or sequence, language models in their
loss on a text. Prints a line for each check; exit code 1 where one fails.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable

import averaging
import bad_input
import cases
import exchange
import exported
from cases import Case
from trained import Material, ProgramFailed, Run

# Single precision: sums in another order. On x86-64 with AVX-512 the most that is seen is 6e-6
# where frame-wise variances are small, and 2e-6 elsewhere.
POSTERIOR_TOLERANCE = 1e-5  # of log posteriors, absolute
# Of a constant feature U is 1/√ε, which enlarges what rounding leaves of it. 1.1e-5 is seen,
# of which each program has about half when both are compared with double precision.
WHITENED_TOLERANCE = 5e-5
LOSS_TOLERANCE = 1e-5  # relative


class Board:
    """Prints checks and counts those that fail."""

    def __init__(self) -> None:
        self.passed = self.failed = 0

    def tell(self, name: str, difference: float, tolerance: float) -> None:
        good = difference <= tolerance  # not a number is not good
        self.line(name, good, f"differs by {difference:.1e}")

    def line(self, name: str, good: bool, words: str) -> None:
        self.passed += good
        self.failed += not good
        print(f"{'ok  ' if good else 'FAIL'}  {name}: {words}", flush=True)

    def guard(self, name: str, check: Callable[[], None]) -> None:
        """Runs a check; an exception in it is a failure."""
        try:
            check()
        except ProgramFailed as error:
            self.line(name, False, str(error))
        except Exception:
            self.line(name, False, traceback.format_exc().strip().replace("\n", "\n      "))


def check(board: Board, material: Material, case: Case, number: int) -> None:
    """Trains a case and compares what was exported of it."""
    name = f"{case.task}, {case.name}"
    run = Run.train(material, case, f"run-{number:02}")
    language = case.task == "language-model"
    expected = run.loss() if language else run.log_posteriors()

    def compare(kind: str, result) -> None:
        if language:
            board.tell(f"{name}: {kind}", abs(result / expected - 1), LOSS_TOLERANCE)
        else:
            whitened = case.keys["normalization.placement"] == "whitened-input"
            tolerance = WHITENED_TOLERANCE if whitened else POSTERIOR_TOLERANCE
            board.tell(f"{name}: {kind}", exported.distance(result, expected), tolerance)

    model = exported.export(run, "onnx")
    session = exported.session(model)
    if language:
        compare("onnx", exported.onnx_loss(session, run))
        board.tell(f"{name}: onnx, several texts together, state carried on",
                   exported.onnx_batch_difference(session, run), POSTERIOR_TOLERANCE)
    else:
        compare("onnx", exported.onnx_posteriors(session, run))
    if case.torch:
        model = exported.export(run, "pytorch")
        result = exported.torch_loss if language else exported.torch_posteriors
        compare("pytorch", result(model, run))
        return
    code, words = exported.refused(run)
    board.line(f"{name}: pytorch is refused", code == 64 and case.refusal in words, words)
    if case.first_step:
        model = exported.export(run, "pytorch", "--fold-step", "0")
        first = exported.torch_posteriors(model, run)
        board.tell(f"{name}: pytorch with --fold-step 0, first step", exported.distance(
            [x[:1] for x in first], [x[:1] for x in expected]), POSTERIOR_TOLERANCE)


def main() -> int:
    repository = os.path.normpath(os.path.join(os.path.dirname(__file__), "../.."))
    parser = argparse.ArgumentParser(prog="Scripts/export --self-test", description=__doc__)
    parser.add_argument("--lockstep", default=os.path.join(repository, ".build/release/lockstep"))
    parser.add_argument("--filter", default="", help="only models whose name contains this")
    options = parser.parse_args()
    if not os.access(options.lockstep, os.X_OK):
        print(f"export: error: --lockstep {options.lockstep}: no such program", file=sys.stderr)
        return 64
    board, begin = Board(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lockstep-export-") as directory:
        material = Material.prepare(os.path.abspath(options.lockstep), repository, directory)
        for number, case in enumerate(cases.ALL):
            name = f"{case.task}, {case.name}"
            if options.filter in name:
                board.guard(name, lambda: check(board, material, case, number))
        for name, others in (
            ("import-weights", exchange.check), ("average-checkpoints", averaging.check),
            ("bad input", bad_input.check),
        ):
            if options.filter in name:
                board.guard(name, lambda: others(board, material))
    print(f"{time.monotonic() - begin:.0f} s")
    print(f"{board.passed} passed, {board.failed} failed")
    return 0 if board.failed == 0 and board.passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
