"""Updates, clipping and the learning rate's schedule (mathematics.md, section 6)."""

from __future__ import annotations

import torch
from torch import Tensor

ADAM_FIRST, ADAM_SECOND, ADAM_EPSILON = 0.9, 0.999, 1e-8  # Kingma & Ba, algorithm 1
RMSPROP_DECAY, RMSPROP_EPSILON = 0.95, 1e-4  # Graves 2013, eq. 40 to 45; the mean term is left out


def learning_rate(base: float, epoch: int, factor: float, after: int) -> float:
    """η / f^max(0, e − k) for epochs counted from 1."""
    return base / factor ** max(0, epoch - after)


def clip(gradients: dict[str, Tensor], norm: float | None) -> float:
    """Scales all gradients in place by min(1, norm / ‖g‖₂); returns ‖g‖₂ from before."""
    total = float(sum((g.double() ** 2).sum() for g in gradients.values()) ** 0.5)
    if norm is not None and total > norm:
        for gradient in gradients.values():
            gradient.mul_(norm / total)
    return total


class Optimizer:
    """SGD with momentum, Adam or RMSProp."""

    def __init__(self, method: str, momentum: float = 0.0):
        if method not in ("sgd", "adam", "rmsprop"):
            raise ValueError(f"optimizer method {method!r}")
        self.method, self.momentum, self.updates = method, momentum, 0
        self.first: dict[str, Tensor] = {}
        self.second: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self, parameters: dict[str, Tensor], gradients: dict[str, Tensor], rate: float) -> None:
        self.updates += 1
        for name, theta in parameters.items():
            u = self.first.setdefault(name, torch.zeros_like(theta))
            v = self.second.setdefault(name, torch.zeros_like(theta))
            getattr(self, "_" + self.method)(theta, gradients[name], u, v, rate)

    def _sgd(self, theta: Tensor, g: Tensor, u: Tensor, v: Tensor, rate: float) -> None:
        u.mul_(self.momentum).add_(g)
        theta.sub_(rate * u)

    def _adam(self, theta: Tensor, g: Tensor, u: Tensor, v: Tensor, rate: float) -> None:
        u.mul_(ADAM_FIRST).add_((1 - ADAM_FIRST) * g)
        v.mul_(ADAM_SECOND).add_((1 - ADAM_SECOND) * g * g)
        mean = u / (1 - ADAM_FIRST**self.updates)
        square = v / (1 - ADAM_SECOND**self.updates)
        theta.sub_(rate * mean / (torch.sqrt(square) + ADAM_EPSILON))

    def _rmsprop(self, theta: Tensor, g: Tensor, u: Tensor, v: Tensor, rate: float) -> None:
        v.mul_(RMSPROP_DECAY).add_((1 - RMSPROP_DECAY) * g * g)
        u.mul_(self.momentum).sub_(rate * g / torch.sqrt(v + RMSPROP_EPSILON))
        theta.add_(u)
