"""Updates, clipping, decay of weights and the schedule of the learning rate (mathematics.md, section 6)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

ADAM_FIRST, ADAM_SECOND = 0.9, 0.999  # Kingma & Ba, algorithm 1
# Of Kingma & Ba, and of Graves 2013, eq. 40 to 45, whose mean term is left out.
EPSILON = {"sgd": 0.0, "adam": 1e-8, "rmsprop": 1e-4}


class Schedule:
    """The learning rate: factors of the epoch, the update and the validations so far multiply."""

    def __init__(self, settings: dict, updates: int):
        self.settings, self.updates = settings, updates
        self.divisor, self.best, self.waited = 1.0, math.inf, 0

    def rate(self, epoch: int, update: int) -> float:
        """Of update `update` of the run, in epoch `epoch`; both count from 1."""
        rate = float(self.settings["learning_rate"]) / self.divisor
        if decay := self.settings["decay"]:
            rate /= float(decay["factor"]) ** max(0, epoch - int(decay["after"]))
        if update <= (warmup := int(self.settings["warmup_steps"])):
            rate *= update / warmup
        if cosine := self.settings["cosine"]:
            final = float(cosine["final"])
            passed = (update - 1) / max(1, self.updates - 1)  # 0 at the first update, 1 at the last
            rate *= final + (1 - final) * (1 + math.cos(math.pi * passed)) / 2
        return rate

    def validated(self, loss: float) -> None:
        """`plateau`: counts validations in a row that are not below the best loss before by the share r."""
        if plateau := self.settings["plateau"]:
            better = loss < self.best * (1 - float(plateau["threshold"]))
            self.waited = 0 if better else self.waited + 1
            if self.waited == int(plateau["patience"]):
                self.divisor, self.waited = self.divisor * float(plateau["factor"]), 0
            self.best = min(self.best, loss)


def clip(gradients: dict[str, Tensor], norm: float | None) -> float:
    """Scales all gradients in place by min(1, norm / ‖g‖₂); returns ‖g‖₂ from before."""
    total = float(sum((g.double() ** 2).sum() for g in gradients.values()) ** 0.5)
    if norm is not None and total > norm:
        for gradient in gradients.values():
            gradient.mul_(norm / total)
    return total


class Optimizer:
    """SGD with momentum, Adam or RMSProp."""

    def __init__(self, method: str, momentum: float = 0.0, decay_rate: float = 0.95, weight_decay: float = 0.0,
                 epsilon: float | None = None):
        if method not in ("sgd", "adam", "rmsprop"):
            raise ValueError(f"optimizer method {method!r}")
        self.method, self.momentum, self.decay_rate, self.weight_decay = method, momentum, decay_rate, weight_decay
        self.epsilon = EPSILON[method] if epsilon is None else epsilon
        self.updates = 0
        self.first: dict[str, Tensor] = {}
        self.second: dict[str, Tensor] = {}

    def forget(self, names: list[str]) -> None:
        """Sets the memory of these parameters to zero."""
        for name in names:
            self.first.pop(name, None)
            self.second.pop(name, None)

    @torch.no_grad()
    def update(self, parameters: dict[str, Tensor], gradients: dict[str, Tensor], rate: float) -> None:
        self.updates += 1
        for name, theta in parameters.items():
            u = self.first.setdefault(name, torch.zeros_like(theta))
            v = self.second.setdefault(name, torch.zeros_like(theta))
            lost = rate * self.weight_decay * decaying(name, theta, gradients[name])
            getattr(self, "_" + self.method)(theta, gradients[name], u, v, rate)
            theta.sub_(lost)

    def _sgd(self, theta: Tensor, g: Tensor, u: Tensor, v: Tensor, rate: float) -> None:
        u.mul_(self.momentum).add_(g)
        theta.sub_(rate * u)

    def _adam(self, theta: Tensor, g: Tensor, u: Tensor, v: Tensor, rate: float) -> None:
        u.mul_(ADAM_FIRST).add_((1 - ADAM_FIRST) * g)
        v.mul_(ADAM_SECOND).add_((1 - ADAM_SECOND) * g * g)
        mean = u / (1 - ADAM_FIRST**self.updates)
        square = v / (1 - ADAM_SECOND**self.updates)
        theta.sub_(rate * mean / (torch.sqrt(square) + self.epsilon))

    def _rmsprop(self, theta: Tensor, g: Tensor, u: Tensor, v: Tensor, rate: float) -> None:
        v.mul_(self.decay_rate).add_((1 - self.decay_rate) * g * g)
        u.mul_(self.momentum).sub_(rate * g / torch.sqrt(v + self.epsilon))
        theta.add_(u)


def decaying(name: str, theta: Tensor, gradient: Tensor) -> Tensor:
    """What `weight_decay` acts on: weight matrices, and the embedding's rows that have a gradient; zero elsewhere."""
    if name == "embedding.weight":
        return theta * (gradient != 0).any(dim=1, keepdim=True)
    return theta.clone() if name.endswith("weight") else torch.zeros_like(theta)
