"""What following a configuration has in common for both tasks: epochs, updates, schedule and evaluation (sections 5 and 6)."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from model import Model, Shape, State
from normalization import Statistics
from optimizers import Optimizer, clip, learning_rate

DEFAULTS = {
    "task": "language-model",
    "data": {"unit": "word", "vocabulary_size": 10000, "deltas": 0, "maximum_frames": None, "normalize": "global"},
    "model": {"embedding_size": 200, "cell": "lstm", "layers": 2, "hidden_size": 200, "bidirectional": False,
              "peepholes": "none", "dropout": 0},
    "normalization": {"placement": "input", "statistics": "frame", "scope": "global", "epsilon": 1e-5, "momentum": 0.1},
    "training": {"batch_size": 32, "shards": 1, "unroll_steps": 20, "epochs": 15, "maximum_steps": None,
                 "average_over": "sequences", "shuffle": True, "accumulate_steps": 1},
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
    if result["model"]["dropout"]:
        raise ValueError("the reference has no dropout")
    return result


def shape_of(config: dict, outputs: int, inputs: int, steps: int) -> Shape:
    """The model's shape from a completed configuration: `outputs` words or classes, `steps` rows of framewise statistics."""
    model, norm, training = config["model"], config["normalization"], config["training"]
    scope = norm["scope"] if isinstance(norm["scope"], str) else ("group", int(norm["scope"]["group"]))
    return Shape(
        vocabulary=outputs, embedding=inputs, hidden=int(model["hidden_size"]), layers=int(model["layers"]), cell=model["cell"],
        peepholes=model["peepholes"], placement=norm["placement"], statistics=norm["statistics"], scope=scope,
        batch_size=int(training["batch_size"]), shards=int(training["shards"]), steps=steps, epsilon=float(norm["epsilon"]),
        momentum=float(norm["momentum"]), bidirectional=bool(model["bidirectional"]), embedded=config["task"] == "language-model")


@dataclass(frozen=True)
class Score:
    """Sums over frames: cross entropy in nats, wrong arg maxes, and those that rounding alone may turn over."""

    loss_sum: float = 0.0
    frames: int = 0
    wrong: int = 0
    undecided: int = 0

    def __add__(self, other: "Score") -> "Score":
        return Score(self.loss_sum + other.loss_sum, self.frames + other.frames, self.wrong + other.wrong,
                     self.undecided + other.undecided)

    @property
    def loss(self) -> float:
        return self.loss_sum / self.frames

    @property
    def perplexity(self) -> float:
        return math.exp(self.loss)


@dataclass
class Evaluation:
    """Scores of the validation data after an epoch, with each kind of statistics."""

    step: int
    epoch: int
    scores: dict[str, Score]


@dataclass
class Curve:
    """What a run left behind."""

    scores: list[Score] = field(default_factory=list)
    gradient_norms: list[float] = field(default_factory=list)
    learning_rates: list[float] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    statistics: dict[str, dict[str, Statistics]] = field(default_factory=dict)

    @property
    def losses(self) -> list[float]:
        return [score.loss for score in self.scores]


class Trainer(ABC):
    """Follows a configuration step by step. A task says what its minibatches are and how its validation data is scored."""

    def __init__(self, config: dict, model: Model):
        self.config, self.model = config, model
        optimizer = config["optimizer"]
        self.optimizer = Optimizer(optimizer["method"], float(optimizer["momentum"]))

    @abstractmethod
    def __len__(self) -> int:
        """Minibatches of an epoch."""

    @abstractmethod
    def initial_state(self) -> State | None:
        """What the first minibatch of an epoch starts from, and hands on."""

    @abstractmethod
    def minibatch(self, index: int, state: State | None) -> tuple[Tensor, int, Score, State | None]:
        """A forward pass with batch statistics: summed cross entropy, number of sequences, score, next state."""

    @abstractmethod
    def validation_score(self, statistics: dict[str, Statistics]) -> Score | None:
        """The validation data's with stored statistics; nothing where there is no such data."""

    def run(self, maximum_steps: int | None = None, evaluate: bool = True) -> Curve:
        """Trains for the configuration's epochs, or until `maximum_steps` updates."""
        training = self.config["training"]
        limits = [limit for limit in (maximum_steps, training["maximum_steps"]) if limit is not None]
        limit = min(limits) if limits else math.inf
        accumulate, curve = int(training["accumulate_steps"]), Curve()
        for epoch in range(1, int(training["epochs"]) + 1):
            state = self.initial_state()
            for first in range(0, len(self), accumulate):
                if len(curve.scores) >= limit:
                    break
                state = self._step(range(first, min(first + accumulate, len(self))), state, epoch, curve)
            if evaluate:
                self._evaluate(epoch, curve)
            if len(curve.scores) >= limit:
                break
        curve.tensors = {name: tensor.detach() for name, tensor in self.model.parameters.items()}
        curve.statistics = {"running": self.model.running_statistics()}
        if evaluate:
            curve.statistics["population"] = self.population_statistics()
        return curve

    def _step(self, minibatches: range, state: State | None, epoch: int, curve: Curve) -> State | None:
        """One update: the gradient of the micro-batches' summed cross entropy, divided by the count of all of them."""
        total, sequence_count = Score(), 0
        for tensor in self.model.parameters.values():
            tensor.grad = None
        for index in minibatches:
            loss_sum, sequences, score, state = self.minibatch(index, state)
            loss_sum.backward()
            self.model.update_running()
            total, sequence_count = total + score, sequence_count + sequences
        settings = self.config["optimizer"]
        count = sequence_count if self.config["training"]["average_over"] == "sequences" else total.frames
        gradients = {name: tensor.grad / count for name, tensor in self.model.parameters.items()}
        bound = settings["clip_norm"]
        curve.gradient_norms.append(clip(gradients, None if bound is None else float(bound)))
        decay = settings["decay"] or {"factor": 1, "after": 0}
        rate = learning_rate(float(settings["learning_rate"]), epoch, float(decay["factor"]), int(decay["after"]))
        self.optimizer.update(self.model.parameters, gradients, rate)
        curve.scores.append(total)
        curve.learning_rates.append(rate)
        return state

    # -- evaluation ---------------------------------------------------------------------------------------------

    def _evaluate(self, epoch: int, curve: Curve) -> None:
        """The validation data with running and with population statistics."""
        kinds = {"running": self.model.running_statistics(), "population": self.population_statistics()}
        scores = {kind: self.validation_score(statistics) for kind, statistics in kinds.items()}
        if None not in scores.values():
            curve.evaluations.append(Evaluation(len(curve.scores), epoch, scores))

    @torch.no_grad()
    def population_statistics(self) -> dict[str, Statistics]:
        """Forward passes over the training minibatches from their start, with the weights fixed."""
        batches = self.config["evaluation"]["population_batches"]
        count = len(self) if batches is None else min(int(batches), len(self))
        state = self.initial_state()
        for index in range(count if self.model.norms else 0):
            _, _, _, state = self.minibatch(index, state)
        return self.model.population_statistics()
