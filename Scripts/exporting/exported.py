"""What exported files compute, by the lines that the exporter prints and by ONNX Runtime."""

from __future__ import annotations

import contextlib
import io
import json
import os

import numpy as np
import onnx
import onnxruntime
import torch

import export as exporter
import samples
from failures import guarded
from trained import Run

ENDINGS = {"onnx": ".onnx", "pytorch": ".safetensors"}
# Lines that stand for the caller's data begin so.
EXAMPLES = ("tokens =", "features =", "lengths =")


def called(program: str, main, arguments: tuple[str, ...]) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a script's `main`."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = guarded(program, main, arguments)
    return code, out.getvalue(), err.getvalue()


def call(*arguments: str) -> tuple[int, str, str]:
    """The same of the exporter."""
    return called("export", exporter.main, arguments)


def export(run: Run, kind: str, *options: str) -> tuple[str, str]:
    """The file's path, and the lines that are printed."""
    path = run.directory + ENDINGS[kind]
    code, out, err = call(run.directory, "--to", kind, "--output", path, *options)
    if code != 0:
        raise AssertionError(f"export: exit {code}: {err}")
    # All that is printed can be pasted as it is.
    variables: dict = {}
    exec(out, variables)  # noqa: S102: the exporter's own lines
    assert np.isfinite(np.asarray(variables["log_posteriors"])).all()
    return path, out


def refused(run: Run) -> tuple[int, str]:
    """Exit code and message of an export to PyTorch."""
    path = run.directory + ".refused"
    code, _, err = call(run.directory, "--to", "pytorch", "--output", path)
    assert not os.path.exists(path), "a refused export leaves no file"
    return code, err.removeprefix("export: error: ").strip()


def distance(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """The largest difference of two lists of arrays of the same shapes."""
    assert [x.shape for x in found] == [x.shape for x in expected], "shapes differ"
    return float(np.max([np.abs(a - b).max() for a, b in zip(found, expected)]))


def pasted(lines: str, data: dict) -> dict:
    """The variables after the printed lines ran on `data` in place of the examples in them."""
    kept = [line for line in lines.split("\n") if not line.startswith(EXAMPLES)]
    variables = dict(data)
    exec("\n".join(kept), variables)  # noqa: S102: the exporter's own lines
    return variables


def cut(run: Run, posteriors: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """Log posteriors of each utterance as the program writes them."""
    if run.case.task == "sequence-classification":
        return list(posteriors[:, None])
    return [posteriors[:length, b] for b, length in enumerate(lengths)]


# -- classification -------------------------------------------------------------------------------


def torch_posteriors(model: tuple[str, str], run: Run) -> list[np.ndarray]:
    keys = run.case.keys
    deltas, normalize = keys.get("data.deltas", 0), keys.get("data.normalize", "global")
    inputs = [samples.prepared(u.features, deltas, normalize) for u in run.material.utterances]
    features, lengths = samples.padded(inputs, 1e3)
    variables = pasted(
        model[1], {"features": torch.from_numpy(features), "lengths": torch.from_numpy(lengths)})
    return cut(run, variables["log_posteriors"].numpy(), lengths)


def session(model: tuple[str, str]) -> onnxruntime.InferenceSession:
    """Checks the file and loads it by the printed lines."""
    onnx.checker.check_model(onnx.load(model[0]), full_check=True)
    variables: dict = {}
    exec(model[1], variables)  # noqa: S102: the exporter's own lines
    return variables["session"]


def onnx_posteriors(session: onnxruntime.InferenceSession, run: Run) -> list[np.ndarray]:
    """Of all utterances together, of which the shorter ones are padded with what is no number."""
    features, lengths = samples.padded([u.features for u in run.material.utterances], np.nan)
    found, = session.run(None, {"features": features, "lengths": lengths})
    together = cut(run, found, lengths)
    # Each result is of its utterance alone.
    alone = run.material.utterances[4]
    found, = session.run(None, {
        "features": alone.features[:, None], "lengths": np.array([len(alone.features)])})
    difference = distance(cut(run, found, [len(alone.features)]), together[4:5])
    assert difference <= 1e-5, f"utterances together differ from one alone by {difference}"
    return together


# -- language models ------------------------------------------------------------------------------


def text(run: Run) -> np.ndarray:
    """The tokens of the other text, [N]."""
    with open(os.path.join(run.directory, "checkpoints/best/vocabulary.json")) as file:
        vocabulary = json.load(file)
    return samples.encode(
        run.material.texts[1], vocabulary, run.case.keys.get("data.unit", "word"))


def loss(log_posteriors: np.ndarray, targets: np.ndarray) -> float:
    """The mean cross entropy of log posteriors [N, 1, V], in nats."""
    return -float(np.mean(log_posteriors[np.arange(len(targets)), 0, targets].astype(np.float64)))


def torch_loss(model: tuple[str, str], run: Run) -> float:
    tokens = text(run)
    variables = pasted(model[1], {"tokens": torch.from_numpy(tokens[:-1, None])})
    return loss(variables["log_posteriors"].numpy(), tokens[1:])


def onnx_loss(session: onnxruntime.InferenceSession, run: Run) -> float:
    """Of the whole text in one call."""
    tokens = text(run)
    return loss(run_alone(session, tokens[:-1]), tokens[1:])


def run_alone(session: onnxruntime.InferenceSession, tokens: np.ndarray) -> np.ndarray:
    """Log posteriors of a text from its beginning, [N, 1, V]."""
    data = {"tokens": tokens[:, None], "lengths": np.array([len(tokens)])} | beginning(session)
    return session.run(["log_posteriors"], data)[0]


def beginning(session: onnxruntime.InferenceSession) -> dict[str, np.ndarray]:
    """The other inputs at the beginning of a text."""
    result = {}
    for value in session.get_inputs():
        if value.name.startswith("initial_"):
            layers, _, hidden = value.shape
            result[value.name] = np.zeros((layers, 0, hidden), np.float32)
        elif value.name == "first_step":
            result[value.name] = np.array([0])
    return result


def onnx_batch_difference(session: onnxruntime.InferenceSession, run: Run) -> float:
    """How far texts side by side, cut at places of their own, are from each text by itself."""
    tokens = text(run)[:-1]
    texts, first = [tokens[:40], tokens[20:51]], 11
    alone = [run_alone(session, t)[:, 0] for t in texts]
    result, others = [[], []], beginning(session)
    for start in range(0, 40, first):
        parts = [t[start : start + first] for t in texts]
        lengths = [len(part) for part in parts]
        if min(lengths) == 0:
            break
        block = np.zeros((max(lengths), 2), np.int64)
        for b, part in enumerate(parts):
            block[: len(part), b] = part
        values = session.run(None, {"tokens": block, "lengths": np.array(lengths)} | others)
        for b, length in enumerate(lengths):
            result[b].append(values[0][:length, b])
        for output, value in zip(session.get_outputs()[1:], values[1:]):
            others[output.name.replace("final", "initial")] = value
        if "first_step" in others:
            others["first_step"] = np.array([start + first])
    count = [len(np.concatenate(r)) for r in result]
    return distance([np.concatenate(r) for r in result], [a[:n] for a, n in zip(alone, count)])
