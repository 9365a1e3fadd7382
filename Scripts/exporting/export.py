"""Writes a trained model for other programs.

    Scripts/export RUN_OR_CHECKPOINT --to pytorch --output FILE.safetensors
    Scripts/export RUN_OR_CHECKPOINT --to onnx --output FILE.onnx
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import files
import onnx_model
import torch_layout
from checkpoint import Checkpoint, open_checkpoint
from failures import Failure, Parser, guarded
from network import Network, network

# What `evaluation.statistics` makes of a model's stored statistics.
STORED = {"running": "running", "population": "population", "averaged": "averaged", "batch": None}


def parser() -> Parser:
    result = Parser(prog="Scripts/export", description="Writes a trained model for other programs.")
    result.add_argument(
        "checkpoint", help="a run, which means its best checkpoint, or a checkpoint's directory")
    result.add_argument(
        "--to", required=True, choices=("pytorch", "onnx"),
        help="weights for nn.LSTM, nn.GRU or nn.RNN, or a whole model for ONNX Runtime")
    result.add_argument("--output", required=True, metavar="FILE", help="the file to write")
    result.add_argument(
        "--fold-step", type=int, metavar="T",
        help="with --to pytorch: the time step, from 0, whose statistics serve all steps")
    result.epilog = "Scripts/export --self-test [--lockstep PATH] checks the exporter itself."
    return result


def main(arguments: Sequence[str]) -> None:
    options = parser().parse_args(arguments)
    if options.fold_step is not None and options.to != "pytorch":
        raise Failure("--fold-step: an ONNX model keeps the statistics of every time step")
    checkpoint = open_checkpoint(options.checkpoint)
    files.check_output(options.output, checkpoint.files)
    model = network(checkpoint)
    for remark in remarks(checkpoint, model):
        note(remark)
    if options.to == "pytorch":
        write_torch(checkpoint, model, options.output, options.fold_step)
    else:
        write_onnx(checkpoint, model, options.output)


def write_torch(checkpoint: Checkpoint, model: Network, path: str, step: int | None) -> None:
    tensors = torch_layout.tensors(model, step)
    files.write_tensors(path, tensors)
    if step is not None:
        note(torch_layout.cost_of_step(step))
    described(checkpoint, model, path)
    print("\n".join(torch_layout.program(model, path)))


def write_onnx(checkpoint: Checkpoint, model: Network, path: str) -> None:
    files.replace(path, onnx_model.serialized(model, checkpoint.step))
    described(checkpoint, model, path)
    print("\n".join(onnx_model.program(model, path)))


def described(checkpoint: Checkpoint, model: Network, path: str) -> None:
    """Says what was written, as comments, so that all that is printed can be pasted."""
    print(f"# {path}: the model of step {checkpoint.step} of {checkpoint.path}")
    if model.is_language_model:
        print("# tokens are places in the list of that checkpoint's vocabulary.json, from 0")


def remarks(checkpoint: Checkpoint, model: Network) -> list[str]:
    """Where one may expect another model than the file's."""
    evaluation, result = checkpoint.configuration.get("evaluation") or {}, []
    if evaluation.get("average"):
        result.append("the file has the trained weights, not their average (evaluation.average)")
    wanted = evaluation.get("statistics", "population")
    if not model.sizes.has_statistics or STORED.get(wanted) == checkpoint.statistics:
        return result
    stored = {"running": "running averages of training", "population": "population statistics",
              "averaged": "averaged statistics"}.get(checkpoint.statistics, checkpoint.statistics)
    return result + [
        f"the checkpoint holds {stored}, which the file takes; `lockstep evaluate` takes others "
        f"(evaluation.statistics: {wanted}), so that results differ"]


def note(text: str) -> None:
    print(f"export: note: {text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(guarded("export", main, sys.argv[1:]))
