"""One case in the program and in the reference: runs the program, and says where the two disagree."""

from __future__ import annotations

import json
import math
import os
import subprocess
from dataclasses import dataclass, field

import torch
from safetensors.torch import load_file

from cases import Case
from normalization import Statistics
from speech_cases import SpeechCase
from training import Curve, Score

CURVE_BOUND = 1e-4  # the contract of mathematics.md
EVALUATION_BOUND = 1e-4  # running and population statistics differ by more than that
TENSOR_BOUND = 2e-3  # of the largest element: catches a wrong or forgotten tensor, not rounding
SECONDS_A_RUN = 180


@dataclass
class Row:
    """One run of one case on one rank count, against the reference."""

    ranks: str
    loss: float = math.nan
    norm: float = math.nan
    tensors: float = math.nan
    statistics: float | None = None
    evaluation: float | None = None  # of validation perplexities, or losses where frames are classified
    kind: str = ""
    faults: list[str] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)


def relative(found: float, expected: float) -> float:
    return abs(found - expected) / max(abs(expected), 1e-12)


def compare_curves(found: Curve, expected: Curve) -> Row:
    """Two runs of the reference in different precisions: what rounding alone does to a case."""
    row = Row(ranks="float32")
    row.loss = max(map(relative, found.losses, expected.losses))
    row.norm = max(map(relative, found.gradient_norms, expected.gradient_norms))
    row.tensors = tensor_difference({n: t.double() for n, t in found.tensors.items()}, expected.tensors)
    if expected.statistics["running"]:
        row.statistics = tensor_difference(*(
            {f"{n}.{part}": getattr(s, part).double() for n, s in curve.statistics["running"].items() for part in ("mean", "variance")}
            for curve in (found, expected)))
    pairs = [(a.scores[kind], b.scores[kind]) for a, b in zip(found.evaluations, expected.evaluations) for kind in a.scores]
    row.evaluation = max(relative(a.perplexity, b.perplexity) for a, b in pairs)
    for what, scores in (("step", zip(found.scores, expected.scores)), ("evaluation", pairs)):
        for number, (mine, theirs) in enumerate(scores, start=1):
            count_wrong(row, f"{what} {number}", mine.wrong, theirs)
    judge(row)
    return row


# -- the program --------------------------------------------------------------------------------------------------


def environment() -> dict[str, str]:
    """The caller's, without what an enclosing mpirun or the site has set for MPI and BLAS."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMIX_", "OPENBLAS_"))}
    if os.geteuid() == 0:  # Open MPI refuses to run as root without both
        kept |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return kept


def run_program(
    case: Case | SpeechCase, ranks: int, kind: str, folder: str, expected: Curve, lockstep: str, steps: int
) -> Row:
    """Trains with `kind` statistics in evaluation, and compares what the run directory then holds."""
    row = Row(ranks=str(ranks), kind=kind)
    directory = os.path.join(folder, f"run-{ranks}")
    command = [
        "mpirun", "-n", str(ranks), "--oversubscribe", "--bind-to", "none", "--timeout", str(SECONDS_A_RUN),
        lockstep, "train", os.path.join(folder, "config.yaml"), "--run-directory", directory,
        "--initialize-from", os.path.join(folder, "initial.safetensors"),
        "--set", f"evaluation.statistics={kind}", "--set", f"training.maximum_steps={steps}"]
    finished = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=SECONDS_A_RUN + 30)
    if finished.returncode != 0:
        row.faults.append(f"exit code {finished.returncode}: {complaint(finished.stderr)}")
        return row
    try:
        compare_run(row, case, directory, expected)
    except (OSError, KeyError, ValueError) as error:
        row.faults.append(f"{type(error).__name__}: {error}")
    return row


def complaint(stderr: str) -> str:
    """What the program said, without what mpirun adds below a ruled line or a dotted one."""
    said = [line.strip() for line in stderr.splitlines() if line.strip()]
    first = next((index for index, line in enumerate(said) if line.startswith(("-----", "Primary job"))), len(said))
    return " | ".join(said[:first] or said)[-500:]


def compare_run(row: Row, case: Case | SpeechCase, directory: str, expected: Curve) -> None:
    with open(os.path.join(directory, "metrics.jsonl")) as file:
        events = [json.loads(line) for line in file]
    steps = [event for event in events if event["event"] == "step"]
    if [event["step"] for event in steps] != list(range(1, len(expected.losses) + 1)):
        row.faults.append(f"{len(steps)} step events, expected steps 1 to {len(expected.losses)}")
        return
    row.losses = [event["loss"] for event in steps]
    row.loss = max(map(relative, row.losses, expected.losses))
    row.norm = max(map(relative, [event["gradient_norm"] for event in steps], expected.gradient_norms))
    if max(map(relative, [event["learning_rate"] for event in steps], expected.learning_rates)) > 1e-6:
        row.faults.append("learning rates differ")
    validations = [event for event in events if event["event"] == "validation"]
    found_at, expected_at = [event["step"] for event in validations], [evaluation.step for evaluation in expected.evaluations]
    if found_at != expected_at:
        row.faults.append(f"validation after steps {found_at}, expected {expected_at}")
        return
    scores = [evaluation.scores[row.kind] for evaluation in expected.evaluations]
    if isinstance(case, SpeechCase):
        row.evaluation = max(relative(event["loss"], score.loss) for event, score in zip(validations, scores))
        for event, score in zip(steps + validations, expected.scores + scores):
            compare_rate(row, event, score)
    else:
        row.evaluation = max(relative(event["perplexity"], score.perplexity) for event, score in zip(validations, scores))
    model = load_file(os.path.join(directory, "checkpoints", "latest", "model.safetensors"))
    parameters = {n: t.double() for n, t in model.items() if ".running_" not in n}
    if {n: t.shape for n, t in parameters.items()} != {n: t.shape for n, t in expected.tensors.items()}:
        row.faults.append("the model's tensors have other names or shapes")
        return
    row.tensors = tensor_difference(parameters, expected.tensors)
    if expected.statistics["running"]:
        compare_statistics(row, case, model, expected)
    judge(row)


def compare_rate(row: Row, event: dict, score: Score) -> None:
    """Frames and frame error rate of a step or a validation."""
    where = f"{event['event']} {event['step']}"
    frames, rate = event.get("frames", score.frames), event["frame_error_rate"]
    if frames != score.frames:
        row.faults.append(f"{where} counts {frames} frames, expected {score.frames}")
    wrong = rate * score.frames
    if abs(wrong - round(wrong)) > 1e-6 * score.frames:
        row.faults.append(f"{where}: a frame error rate of {rate} is no share of {score.frames} frames")
    count_wrong(row, where, round(wrong), score)


def count_wrong(row: Row, where: str, wrong: int, score: Score) -> None:
    """Only frames that the reference finds undecided may be decided otherwise."""
    if abs(wrong - score.wrong) > score.undecided:
        row.faults.append(f"{where}: {wrong} of {score.frames} frames are wrong, expected {score.wrong}, undecided {score.undecided}")


def compare_statistics(row: Row, case: Case | SpeechCase, model: dict, expected: Curve) -> None:
    """The final statistics: the running averages, or with population statistics those of the final weights."""
    wanted: dict[str, torch.Tensor] = {}
    found = {n: t.double() for n, t in model.items() if ".running_" in n}
    for name, statistics in expected.statistics[row.kind].items():
        for part, tensor in (("mean", statistics.mean), ("variance", statistics.variance)):
            full_name = f"{name}.running_{part}"
            wanted[full_name] = tensor.clone() if case.statistics == "frame" else tensor[0]
            if case.statistics == "frame" and found.get(full_name, torch.empty(0)).shape == tensor.shape:
                forgive_unseen(wanted[full_name], found[full_name], statistics)
    if {n: t.shape for n, t in found.items()} != {n: t.shape for n, t in wanted.items()}:
        row.faults.append("the model's statistics have other names or shapes")
        return
    row.statistics = tensor_difference(found, wanted)


def forgive_unseen(wanted_TF: torch.Tensor, found_TF: torch.Tensor, statistics: Statistics) -> None:
    """A time step that training never saw takes the last seen one's statistics: a file may hold those, or the initial ones."""
    last = max((row for row, seen in enumerate(statistics.seen) if seen), default=0)
    for row, seen in enumerate(statistics.seen):
        if not seen and torch.equal(found_TF[row], found_TF[last]):
            wanted_TF[row] = wanted_TF[last]


def tensor_difference(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    """The largest difference of an element, as a share of its tensor's largest element."""
    return max(float((found[n] - t).abs().max() / t.abs().max().clamp(min=1e-3)) for n, t in expected.items())


def judge(row: Row) -> None:
    limits = (("loss", row.loss, CURVE_BOUND), ("gradient norm", row.norm, CURVE_BOUND), ("tensors", row.tensors, TENSOR_BOUND),
              ("statistics", row.statistics, TENSOR_BOUND), ("evaluation", row.evaluation, EVALUATION_BOUND))
    for what, value, bound in limits:
        if value is not None and not value <= bound:  # NaN fails too
            row.faults.append(f"{what} {value:.1e} > {bound:.0e}")
