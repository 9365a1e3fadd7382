"""A second implementation of the trainer, written from mathematics.md alone, in PyTorch float64.

    python reference.py CONFIG.yaml --initialize-from model.safetensors [--steps 50]

prints the loss and the gradient norm of each step. It is slow and simple on purpose: derivatives come from autograd,
and the shards of the global minibatch are simulated in one process.
"""

from __future__ import annotations

import argparse

import torch
import yaml
from safetensors.torch import load_file

import frames
import language
from training import Trainer


def make_trainer(config: dict, weights: dict[str, torch.Tensor], dtype: torch.dtype = torch.float64) -> Trainer:
    """The trainer of the configuration's task."""
    tasks = {"language-model": language.LanguageTrainer, "frame-classification": frames.FrameTrainer,
             "sequence-classification": frames.SequenceTrainer}
    return tasks[config["task"]](config, weights, dtype)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("config")
    parser.add_argument("--initialize-from", required=True)
    parser.add_argument("--steps", type=int, default=50)
    arguments = parser.parse_args()
    with open(arguments.config) as file:
        config = yaml.safe_load(file)
    weights = load_file(arguments.initialize_from)
    weights = {name: tensor for name, tensor in weights.items() if ".running_" not in name}
    curve = make_trainer(config, weights).run(arguments.steps)
    for step, (score, norm) in enumerate(zip(curve.scores, curve.gradient_norms), start=1):
        print(f"{step:5d}  loss {score.loss:.12f}  gradient norm {norm:.12f}  wrong {score.wrong} of {score.count}")
    for result in curve.evaluations:
        found = ", ".join(f"{kind} loss {score.loss:.8f}, wrong {score.wrong} of {score.count}" for kind, score in result.scores.items())
        print(f"validation after step {result.step}: {found}")


if __name__ == "__main__":
    main()
