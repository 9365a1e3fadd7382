"""Layers that the models in JAX share: the recurrence, batch normalisation of its input, dropout and the loss.

T time steps, B sequences, I inputs, H cells, G = 4H gates (i, f, g, o), V words or classes; all arrays are time-major. Weights
are [outputs, inputs], as in PyTorch.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array, lax

EPSILON, MOMENTUM = 1e-5, 0.1  # of batch normalisation
UNROLL = 1
Pair = tuple[Array, Array]


def lstm(a_TBG: Array, state: Pair, weight_GH: Array, live_TB1: Array | None = None, reverse: bool = False) -> tuple[Array, Pair]:
    """Outputs, [T, B, H], and the state after the last step, from the input projections of all time steps.

    Where `live` is 0 the state becomes 0: a backward direction begins at the last frame of each sequence.
    """
    weight_HG = weight_GH.T

    def step(state: Pair, inputs: tuple[Array, Array | None]) -> tuple[Pair, Array]:
        (h, c), (a, live) = state, inputs
        i, f, g, o = jnp.split(a + h @ weight_HG, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        if live is not None:
            h, c = h * live, c * live
        return (h, c), h

    state, outputs = lax.scan(step, state, (a_TBG, live_TB1), reverse=reverse, unroll=UNROLL)
    return outputs, state


def batch_norm(z_TBF: Array, gamma: Array, beta: Array, axes: tuple[int, ...], live_TB1: Array | None = None) -> tuple[Array, Pair]:
    """Normalises over the axes, and returns the mean and the unbiased variance too; where `live` is 0, elements do not count."""
    if live_TB1 is None:
        count = jnp.prod(jnp.array([z_TBF.shape[axis] for axis in axes]))
        mean = z_TBF.mean(axes, keepdims=True)
        variance = jnp.square(z_TBF - mean).mean(axes, keepdims=True)
    else:
        count = live_TB1.sum(axes, keepdims=True)
        mean = (z_TBF * live_TB1).sum(axes, keepdims=True) / count
        variance = (jnp.square(z_TBF - mean) * live_TB1).sum(axes, keepdims=True) / count
    y = (z_TBF - mean) * (gamma * lax.rsqrt(variance + EPSILON)) + beta
    return y, (mean, variance * (count / (count - 1)))


def averaged(running: Pair, batch: Pair) -> Pair:
    """Running mean and variance after a step."""
    return jax.tree.map(lambda old, new: old + MOMENTUM * (lax.stop_gradient(new) - old), running, batch)


def dropout(x: Array, probability: float, key: Array) -> Array:
    return jnp.where(jax.random.bernoulli(key, 1 - probability, x.shape), x / (1 - probability), 0) if probability else x


def cross_entropy(logits_TBV: Array, targets_TB: Array) -> Array:
    """Of each frame, [T, B]."""
    chosen = jnp.take_along_axis(logits_TBV, targets_TB[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(logits_TBV, axis=-1) - chosen
