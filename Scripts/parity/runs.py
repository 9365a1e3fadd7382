"""One case in the program: runs it, and says where it disagrees with the reference."""

from __future__ import annotations

import json
import os
import subprocess

import torch
from safetensors.torch import load_file

from case import BaseCase
from judging import Row, compare_evaluation, judge, relative, tensor_difference
from moments import Statistics
from speech_cases import SpeechCase
from spread import Spread
from training import Curve, Score

SECONDS_A_RUN = 180


def environment() -> dict[str, str]:
    """The caller's, without what an enclosing mpirun or the site has set for MPI and BLAS."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMIX_", "OPENBLAS_"))}
    if os.geteuid() == 0:  # Open MPI refuses to run as root without both
        kept |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return kept


def run_program(
    case: BaseCase, ranks: int, kind: str | None, folder: str, expected: Curve, spread: Spread | None, lockstep: str, steps: int,
    products: str
) -> Row:
    """Trains with `kind` statistics in evaluation, and compares what the run directory then holds."""
    row = Row(ranks=str(ranks), kind=kind or "")
    directory = os.path.join(folder, f"run-{ranks}")
    command = [
        "mpirun", "-n", str(ranks), "--oversubscribe", "--bind-to", "none", "--timeout", str(SECONDS_A_RUN),
        lockstep, "train", os.path.join(folder, "config.yaml"), "--run-directory", directory,
        "--initialize-from", os.path.join(folder, "initial.safetensors"), "--set", f"training.maximum_steps={steps}",
        "--set", f"compute.products={products}"]
    if kind is not None:
        command += ["--set", f"evaluation.statistics={kind}"]
    # Jobs of Open MPI at the same time would make and remove one folder.
    own = environment() | {"OMPI_MCA_orte_tmpdir_base": folder}
    finished = subprocess.run(command, env=own, capture_output=True, text=True, timeout=SECONDS_A_RUN + 30)
    if finished.returncode != 0:
        row.faults.append(f"exit code {finished.returncode}: {complaint(finished.stderr)}")
        return row
    try:
        compare_run(row, case, directory, expected, spread)
    except (OSError, KeyError, ValueError) as error:
        row.faults.append(f"{type(error).__name__}: {error}")
    return row


def complaint(stderr: str) -> str:
    """What the program said, without what mpirun adds below a ruled line or a dotted one."""
    said = [line.strip() for line in stderr.splitlines() if line.strip()]
    first = next((index for index, line in enumerate(said) if line.startswith(("-----", "Primary job"))), len(said))
    return " | ".join(said[:first] or said)[-500:]


def compare_run(row: Row, case: BaseCase, directory: str, expected: Curve, spread: Spread | None) -> None:
    with open(os.path.join(directory, "metrics.jsonl")) as file:
        events = [json.loads(line) for line in file]
    steps = [event for event in events if event["event"] == "step"]
    if [event["step"] for event in steps] != list(range(1, len(expected.losses) + 1)):
        row.faults.append(f"{len(steps)} step events, expected steps 1 to {len(expected.losses)}")
        return
    row.losses = [event["loss"] for event in steps]
    row.loss_differences = list(map(relative, row.losses, expected.losses))
    row.norm_differences = list(map(relative, [event["gradient_norm"] for event in steps], expected.gradient_norms))
    rates = list(map(relative, [event["learning_rate"] for event in steps], expected.learning_rates))
    if max(rates) > 1e-6:
        step = next(index for index, difference in enumerate(rates) if difference > 1e-6)
        row.faults.append(f"learning rate of step {step + 1} is {steps[step]['learning_rate']}, expected {expected.learning_rates[step]}")
    validations = [event for event in events if event["event"] == "validation"]
    found_at, expected_at = [event["step"] for event in validations], [evaluation.step for evaluation in expected.evaluations]
    if found_at != expected_at:
        row.faults.append(f"validation after steps {found_at}, expected {expected_at}")
        return
    scores = [evaluation.scores[row.kind or "population"] for evaluation in expected.evaluations]
    speech = isinstance(case, SpeechCase)
    compare_evaluation(row, [event["loss"] if speech else event["perplexity"] for event in validations],
                       [score.loss if speech else score.perplexity for score in scores])
    if speech and not case.chaotic:
        for event, score in zip(steps + validations, expected.scores + scores):
            compare_rate(row, case, event, score)
    model = load_file(os.path.join(directory, "checkpoints", "latest", "model.safetensors"))
    wanted = expected.tensors | expected.constants
    parameters = {n: t.double() for n, t in model.items() if ".running_" not in n}
    shapes = {n: tuple(t.shape) for n, t in parameters.items()}
    if shapes != (expected_shapes := {n: tuple(t.shape) for n, t in wanted.items()}):
        row.faults.append(f"the model's tensors have other names or shapes: {sorted(set(shapes.items()) ^ set(expected_shapes.items()))}")
        return
    row.tensors, row.worst_tensor = tensor_difference(parameters, wanted)
    compare_statistics(row, case, model, expected)
    judge(row, spread)


def compare_rate(row: Row, case: SpeechCase, event: dict, score: Score) -> None:
    """Frames and error rate of a step or a validation."""
    where = f"{event['event']} {event['step']}"
    what = "sequence" if case.task == "sequence-classification" else "frame"
    frames, rate = event.get("frames", score.frames), event[f"{what}_error_rate"]
    if frames != score.frames:
        row.faults.append(f"{where} counts {frames} frames, expected {score.frames}")
    wrong = rate * score.count
    if abs(wrong - round(wrong)) > 1e-6 * score.count:
        row.faults.append(f"{where}: a {what} error rate of {rate} is no share of {score.count} {what}s")
    row.count_wrong(where, round(wrong), score)


def compare_statistics(row: Row, case: BaseCase, model: dict, expected: Curve) -> None:
    """The final statistics: those that evaluation uses, or with statistics of its own minibatches the running averages."""
    wanted: dict[str, torch.Tensor] = {}
    found = {n: t.double() for n, t in model.items() if ".running_" in n}
    kind = "running" if row.kind in ("", "batch") else row.kind
    for name, statistics in expected.statistics[kind].items():
        for part, tensor in (("mean", statistics.mean), ("variance", statistics.variance)):
            full_name = f"{name}.running_{part}"
            wanted[full_name] = tensor.clone() if case.statistics == "frame" else tensor[0]
            if case.statistics == "frame" and found.get(full_name, torch.empty(0)).shape == tensor.shape:
                forgive_unused(wanted[full_name], found[full_name], statistics, case.frames_per_step)
    shapes = {n: tuple(t.shape) for n, t in found.items()}
    if shapes != (expected_shapes := {n: tuple(t.shape) for n, t in wanted.items()}):
        row.faults.append(f"the model's statistics have other names or shapes: {sorted(set(shapes.items()) ^ set(expected_shapes.items()))}")
    elif wanted:
        row.statistics, _ = tensor_difference(found, wanted)


def forgive_unused(wanted_TF: torch.Tensor, found_TF: torch.Tensor, statistics: Statistics, frames_per_step: int) -> None:
    """A time step that takes the last step's that counts: a file may hold those, or its own."""
    last = statistics.last_row(frames_per_step)
    for row in range(last + 1, len(statistics.frames)):
        if torch.equal(found_TF[row], found_TF[last]):
            wanted_TF[row] = wanted_TF[last]
