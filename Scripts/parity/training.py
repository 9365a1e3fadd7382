"""What following a configuration has in common for all tasks: epochs, updates, schedule and evaluation (sections 2, 5 and 6)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from configuration import KINDS, statistics_kinds
from model import Model, State
from moments import Statistics
from optimizers import Optimizer, Schedule, clip


@dataclass(frozen=True)
class Score:
    """Sums over what is classified, frames or sequences: cross entropy in nats, wrong arg maxes, and those that rounding may turn over."""

    loss_sum: float = 0.0
    count: int = 0
    wrong: int = 0
    undecided: int = 0
    frames: int = 0

    def __add__(self, other: "Score") -> "Score":
        return Score(self.loss_sum + other.loss_sum, self.count + other.count, self.wrong + other.wrong,
                     self.undecided + other.undecided, self.frames + other.frames)

    @property
    def loss(self) -> float:
        return self.loss_sum / self.count

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
    constants: dict[str, Tensor] = field(default_factory=dict)
    statistics: dict[str, dict[str, Statistics]] = field(default_factory=dict)

    @property
    def losses(self) -> list[float]:
        return [score.loss for score in self.scores]


class Trainer(ABC):
    """Follows a configuration step by step. A task says what its minibatches are and how its validation data is scored."""

    def __init__(self, config: dict, model: Model):
        self.config, self.model = config, model
        settings = config["optimizer"]
        self.optimizer = Optimizer(
            settings["method"], float(settings["momentum"]), float(settings["decay_rate"]), float(settings["weight_decay"]),
            settings["epsilon"])
        self.kinds = statistics_kinds(config)

    @abstractmethod
    def __len__(self) -> int:
        """Minibatches of an epoch."""

    def start_epoch(self, epoch: int) -> None:
        """Draws the epoch's minibatches, where they depend on it; epoch 0 is that of the population's passes."""

    @abstractmethod
    def initial_state(self) -> State | None:
        """What the first minibatch of an epoch starts from, and hands on."""

    @abstractmethod
    def minibatch(
        self, index: int, state: State | None, collected: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, int, Score, State | None]:
        """A forward pass with batch statistics: summed cross entropy, number of sequences, score, next state."""

    @abstractmethod
    def validation_score(self, statistics: dict[str, Statistics] | None) -> Score | None:
        """The validation data's with stored statistics, or with its own minibatches'; nothing where there is no such data."""

    def run(self, maximum_steps: int | None = None, evaluate: bool = True) -> Curve:
        """Trains for the configuration's epochs, or until `maximum_steps` updates."""
        training = self.config["training"]
        limits = [limit for limit in (maximum_steps, training["maximum_steps"]) if limit is not None]
        limit = min(limits) if limits else math.inf
        accumulate, epochs, curve = int(training["accumulate_steps"]), int(training["epochs"]), Curve()
        updates = epochs * -(-len(self) // accumulate)
        schedule = Schedule(self.config["optimizer"], int(min(limit, updates)))
        for epoch in range(1, epochs + 1):
            self.start_epoch(epoch)
            state = self.initial_state()
            for first in range(0, len(self), accumulate):
                if len(curve.scores) >= limit:
                    break
                rate = schedule.rate(epoch, len(curve.scores) + 1)
                state = self._step(range(first, min(first + accumulate, len(self))), state, rate, curve)
            if evaluate:
                self._evaluate(epoch, curve, schedule)
            if len(curve.scores) >= limit:
                break
        curve.tensors = {name: tensor.detach() for name, tensor in self.model.parameters.items()}
        curve.constants = self.model.constants()
        curve.statistics = {"running": self.model.running_statistics()} | (self.pooled_statistics() if evaluate else {})
        return curve

    def _step(self, minibatches: range, state: State | None, rate: float, curve: Curve) -> State | None:
        """One update: the micro-batches' gradients are summed and divided by the count of all of them."""
        interval = int(self.config["normalization"]["whitening_interval"])
        if self.model.shape.placement == "whitened-input" and len(curve.scores) % interval == 0:
            self._whiten(minibatches, state)
        total, sequences = Score(), 0
        for tensor in self.model.parameters.values():
            tensor.grad = torch.zeros_like(tensor)
        for index in minibatches:
            loss_sum, count, score, state = self.minibatch(index, state)
            loss_sum.backward()
            self.model.update_running()
            total, sequences = total + score, sequences + count
        divisor = sequences if self.config["training"]["average_over"] == "sequences" else total.count
        gradients = {name: tensor.grad / divisor for name, tensor in self.model.parameters.items()}
        bound = self.config["optimizer"]["clip_norm"]
        curve.gradient_norms.append(clip(gradients, None if bound is None else float(bound)))
        self.optimizer.update(self.model.parameters, gradients, rate)
        curve.scores.append(total)
        curve.learning_rates.append(rate)
        return state

    @torch.no_grad()
    def _whiten(self, minibatches: range, state: State | None) -> None:
        """Passes the update's frames forward with everything as before, then takes the new U and c."""
        parts: list[dict[str, Tensor]] = []
        for index in minibatches:
            parts.append({})
            _, _, _, state = self.minibatch(index, state, parts[-1])
        self.optimizer.forget(self.model.whiten({name: torch.cat([part[name] for part in parts]) for name in parts[0]}))

    # -- evaluation ---------------------------------------------------------------------------------------------

    def _evaluate(self, epoch: int, curve: Curve, schedule: Schedule) -> None:
        """The validation data with each kind of statistics that applies."""
        stored = {"running": self.model.running_statistics(), "batch": None} | self.pooled_statistics()
        scores = {kind: self.validation_score(stored[kind]) for kind in self.kinds}
        if None not in scores.values():
            scores = {kind: scores.get(kind, scores[self.kinds[0]]) for kind in KINDS}
            curve.evaluations.append(Evaluation(len(curve.scores), epoch, scores))
            schedule.validated(scores[self.config["evaluation"]["statistics"]].loss)

    @torch.no_grad()
    def pooled_statistics(self) -> dict[str, dict[str, Statistics]]:
        """Of forward passes over the training minibatches from their start, with the weights fixed."""
        self.start_epoch(0)
        batches = self.config["evaluation"]["population_batches"]
        count = len(self) if batches is None else min(int(batches), len(self))
        state = self.initial_state()
        for index in range(count if self.model.norms else 0):
            _, _, _, state = self.minibatch(index, state)
        return self.model.pooled_statistics()
