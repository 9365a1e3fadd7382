"""A second implementation of the trainer's language models, written from mathematics.md alone, in PyTorch float64.

    python reference.py CONFIG.yaml --initialize-from model.safetensors [--steps 50]

prints the loss and the gradient norm of each step. It is slow and simple on purpose: derivatives come from autograd,
and the shards of the global minibatch are simulated in one process.
"""

from __future__ import annotations

import argparse
import copy
import math
from dataclasses import dataclass, field

import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

from model import Model, Shape
from normalization import Statistics
from optimizers import Optimizer, clip, learning_rate
from text import TrainingWindows, encode, evaluation_runs, make_vocabulary, read_tokens

DEFAULTS = {
    "task": "language-model",
    "data": {"unit": "word", "vocabulary_size": 10000},
    "model": {"embedding_size": 200, "cell": "lstm", "layers": 2, "hidden_size": 200, "bidirectional": False,
              "peepholes": "none", "dropout": 0},
    "normalization": {"placement": "input", "statistics": "frame", "scope": "global", "epsilon": 1e-5, "momentum": 0.1},
    "training": {"batch_size": 32, "shards": 1, "unroll_steps": 20, "epochs": 15, "maximum_steps": None,
                 "average_over": "sequences", "accumulate_steps": 1},
    "optimizer": {"method": "sgd", "learning_rate": 1, "momentum": 0, "clip_norm": 10, "decay": {"factor": 2, "after": 6}},
    "evaluation": {"population_batches": None, "streams": "auto"},
}


def complete(config: dict) -> dict:
    """The configuration with the defaults of the keys that matter here."""
    result = copy.deepcopy(DEFAULTS)
    for section, values in config.items():
        if isinstance(values, dict):
            result.setdefault(section, {}).update(values)
        else:
            result[section] = values
    if result["task"] != "language-model" or result["model"]["bidirectional"] or result["model"]["dropout"]:
        raise ValueError("the reference has language models without dropout, in one direction")
    return result


@dataclass
class Evaluation:
    """Loss and perplexity of the validation text after an epoch, with each kind of statistics."""

    step: int
    epoch: int
    loss: dict[str, float]

    def perplexity(self, kind: str) -> float:
        return math.exp(self.loss[kind])


@dataclass
class Curve:
    """What a run left behind."""

    losses: list[float] = field(default_factory=list)
    gradient_norms: list[float] = field(default_factory=list)
    learning_rates: list[float] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    statistics: dict[str, dict[str, Statistics]] = field(default_factory=dict)


class Trainer:
    """Follows a configuration step by step, as section 7 cuts the text and section 6 updates the weights."""

    def __init__(self, config: dict, weights: dict[str, Tensor], dtype: torch.dtype = torch.float64):
        self.config = complete(config)
        data, training = self.config["data"], self.config["training"]
        train = read_tokens(data["train"], data["unit"])
        self.vocabulary = make_vocabulary(train, int(data["vocabulary_size"]))
        self.windows = TrainingWindows.cut(
            encode(train, self.vocabulary, data["train"]), int(training["batch_size"]), int(training["unroll_steps"]))
        self.validation = None
        if data.get("validation"):
            tokens = read_tokens(data["validation"], data["unit"])
            self.validation = torch.from_numpy(encode(tokens, self.vocabulary, data["validation"]))
        self.model = Model(shape_of(self.config, len(self.vocabulary)), weights, dtype)
        optimizer = self.config["optimizer"]
        self.optimizer = Optimizer(optimizer["method"], float(optimizer["momentum"]))

    def run(self, maximum_steps: int | None = None, evaluate: bool = True) -> Curve:
        """Trains for the configuration's epochs, or until `maximum_steps` updates."""
        training = self.config["training"]
        limits = [limit for limit in (maximum_steps, training["maximum_steps"]) if limit is not None]
        limit = min(limits) if limits else math.inf
        accumulate, curve = int(training["accumulate_steps"]), Curve()
        for epoch in range(1, int(training["epochs"]) + 1):
            state = self.model.zero_state(int(training["batch_size"]))
            for first in range(0, len(self.windows), accumulate):
                if len(curve.losses) >= limit:
                    break
                state = self._step(range(first, min(first + accumulate, len(self.windows))), state, epoch, curve)
            if evaluate and self.validation is not None:
                curve.evaluations.append(self.evaluate(len(curve.losses), epoch))
            if len(curve.losses) >= limit:
                break
        curve.tensors = {name: tensor.detach() for name, tensor in self.model.parameters.items()}
        curve.statistics = {"running": self.model.running_statistics()}
        if evaluate:
            curve.statistics["population"] = self.population_statistics()
        return curve

    def _step(self, windows: range, state, epoch: int, curve: Curve):
        """One update: gradients of the micro-batches, each divided by its own count, are summed."""
        loss_sum, frames = 0.0, 0
        for tensor in self.model.parameters.values():
            tensor.grad = None
        for window in windows:
            inputs, targets = (torch.from_numpy(part.copy()) for part in self.windows[window])
            losses, state = self.model.losses(inputs, targets, state)
            by_sequence = self.config["training"]["average_over"] == "sequences"
            (losses.sum() / (inputs.shape[1] if by_sequence else inputs.numel())).backward()
            self.model.update_running()
            loss_sum, frames = loss_sum + float(losses.detach().sum()), frames + inputs.numel()
        settings = self.config["optimizer"]
        gradients = {name: tensor.grad for name, tensor in self.model.parameters.items()}
        bound = settings["clip_norm"]
        curve.gradient_norms.append(clip(gradients, None if bound is None else float(bound)))
        decay = settings["decay"] or {"factor": 1, "after": 0}
        rate = learning_rate(float(settings["learning_rate"]), epoch, float(decay["factor"]), int(decay["after"]))
        self.optimizer.update(self.model.parameters, gradients, rate)
        curve.losses.append(loss_sum / frames)
        curve.learning_rates.append(rate)
        return state

    # -- evaluation ---------------------------------------------------------------------------------------------

    def evaluate(self, step: int, epoch: int) -> Evaluation:
        """The validation loss with running and with population statistics."""
        kinds = {"running": self.model.running_statistics(), "population": self.population_statistics()}
        return Evaluation(step, epoch, {kind: self.validation_loss(statistics) for kind, statistics in kinds.items()})

    @torch.no_grad()
    def population_statistics(self) -> dict[str, Statistics]:
        """Forward passes over the training windows from their start, with the weights fixed."""
        batches = self.config["evaluation"]["population_batches"]
        count = len(self.windows) if batches is None else min(int(batches), len(self.windows))
        state = self.model.zero_state(int(self.config["training"]["batch_size"]))
        for window in range(count if self.model.norms else 0):
            inputs, targets = (torch.from_numpy(part.copy()) for part in self.windows[window])
            _, state = self.model.losses(inputs, targets, state)
        return self.model.population_statistics()

    @torch.no_grad()
    def validation_loss(self, statistics: dict[str, Statistics]) -> float:
        """Mean cross entropy of the validation tokens but the first, each predicted once."""
        tokens, T = self.validation, int(self.config["training"]["unroll_steps"])
        streams = self.config["evaluation"]["streams"]
        streams = int(self.config["training"]["batch_size"]) if streams == "auto" else int(streams)
        runs = evaluation_runs(len(tokens), streams)
        state, total = self.model.zero_state(streams), 0.0
        for start in range(0, len(runs[0]), T):
            steps = min(T, len(runs[0]) - start)
            # A run that has ended goes on with any token: nothing depends on the others, and its losses are not taken.
            position = torch.tensor([[min(r.start + start + t, len(tokens) - 1) for r in runs] for t in range(steps)])
            live = torch.tensor([[start + t < len(r) for r in runs] for t in range(steps)])
            losses, state = self.model.losses(tokens[position - 1], tokens[position], state, statistics)
            total += float(losses[live].sum())
        return total / (len(tokens) - 1)


def shape_of(config: dict, vocabulary: int) -> Shape:
    """The model's shape from a completed configuration."""
    model, norm, training = config["model"], config["normalization"], config["training"]
    scope = norm["scope"] if isinstance(norm["scope"], str) else ("group", int(norm["scope"]["group"]))
    return Shape(
        vocabulary=vocabulary, embedding=int(model["embedding_size"]), hidden=int(model["hidden_size"]),
        layers=int(model["layers"]), cell=model["cell"], peepholes=model["peepholes"], placement=norm["placement"],
        statistics=norm["statistics"], scope=scope, batch_size=int(training["batch_size"]), shards=int(training["shards"]),
        steps=int(training["unroll_steps"]), epsilon=float(norm["epsilon"]), momentum=float(norm["momentum"]))


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
    curve = Trainer(config, weights).run(arguments.steps)
    for step, (loss, norm) in enumerate(zip(curve.losses, curve.gradient_norms), start=1):
        print(f"{step:5d}  loss {loss:.12f}  gradient norm {norm:.12f}")
    for result in curve.evaluations:
        print(f"validation after step {result.step}:", ", ".join(f"{k} {math.exp(v):.8f}" for k, v in result.loss.items()))


if __name__ == "__main__":
    main()
