"""`whitened-input`: a linear map before a layer that makes its inputs white, re-estimated now and then (mathematics.md, section 2)."""

from __future__ import annotations

import torch
from torch import Tensor


class Whitening:
    """x ↦ U (x − c) of one direction of a layer; U, [I, I], and c, [I], are constants of the gradient."""

    def __init__(self, inputs: int, epsilon: float, momentum: float, dtype: torch.dtype):
        self.epsilon, self.momentum = epsilon, momentum
        self.matrix, self.center = torch.eye(inputs, dtype=dtype), torch.zeros(inputs, dtype=dtype)
        self.mean: Tensor | None = None  # m̄ and Σ̄, none before the first estimate
        self.covariance: Tensor | None = None

    def apply(self, x: Tensor) -> Tensor:
        return (x - self.center) @ self.matrix.T

    @torch.no_grad()
    def estimate(self, frames_NI: Tensor, weight: Tensor, bias: Tensor) -> None:
        """New U and c from a minibatch's inputs; `weight` and `bias` change so that the layer computes what it did before."""
        mean = frames_NI.mean(dim=0)
        covariance = (frames_NI - mean).T @ (frames_NI - mean) / len(frames_NI)
        if self.mean is None:
            self.mean, self.covariance = mean, covariance
        else:
            m = self.momentum
            self.mean = (1 - m) * self.mean + m * mean
            self.covariance = (1 - m) * self.covariance + m * covariance
        root, inverse_root = symmetric_roots(self.covariance, self.epsilon)
        bias += weight @ self.matrix @ (self.mean - self.center)
        weight.copy_(weight @ self.matrix @ root)
        self.matrix, self.center = inverse_root, self.mean.clone()


def symmetric_roots(covariance: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """(Σ + εI)^(1/2) and its inverse; in double precision whatever the type."""
    values, vectors = torch.linalg.eigh(covariance.double())
    deviations = torch.sqrt(values.clamp(min=0) + epsilon)
    root, inverse = (vectors * deviations) @ vectors.T, (vectors / deviations) @ vectors.T
    return root.to(covariance.dtype), inverse.to(covariance.dtype)
