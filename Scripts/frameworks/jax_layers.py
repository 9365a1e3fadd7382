"""Layers that the models in JAX share: the recurrence, batch normalisation of its input, dropout and the loss.

T time steps, B sequences, I inputs, H cells, G = 4H gates (i, f, g, o), V words or classes; all arrays are time-major. Weights
are [outputs, inputs], as in PyTorch.
"""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

EPSILON, MOMENTUM = 1e-5, 0.1  # of batch normalisation
# Time steps in one pass of a loop. With 4 and 20 a step of the small model took as long, on one core of an Intel Xeon (Emerald
# Rapids), and compiling 1.5 and 12 times as long.
UNROLL = 1
Pair = tuple[Array, Array]


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def lstm(a_TBG: Array, state: Pair, weight_GH: Array, live_TB1: Array | None, reverse: bool) -> tuple[Array, Pair]:
    """Outputs, [T, B, H], and the state after the last step, from the input projections of all time steps.

    Where `live` is 0 the state becomes 0: a backward direction begins at the last frame of each sequence.
    """
    return lstm_forward(a_TBG, state, weight_GH, live_TB1, reverse)[0]


def lstm_forward(a_TBG: Array, state: Pair, weight_GH: Array, live_TB1: Array | None, reverse: bool):
    weight_HG = weight_GH.T

    def step(state: Pair, inputs: tuple[Array, Array | None]):
        (h, before), (a, live) = state, inputs
        i, f, g, o = jnp.split(a + h @ weight_HG, 4, axis=-1)
        i, f, g, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)
        c = f * before + i * g
        squashed = jnp.tanh(c)
        h = o * squashed
        if live is not None:
            h, c = h * live, c * live
        return (h, c), (h, before, squashed, jnp.concatenate((i, f, g, o), axis=-1))

    after, (outputs, *saved) = lax.scan(step, state, (a_TBG, live_TB1), reverse=reverse, unroll=UNROLL)
    return (outputs, after), (state[0], outputs, saved, weight_GH, live_TB1)


def lstm_backward(reverse: bool, saved, derivative: tuple[Array, Pair]):
    """jax.grad of the scan would add to the weight's gradient at every step; here it is one product of all steps.

    That saves a tenth of the CPU time of the medium and of the large model (one thread, Intel Xeon, Emerald Rapids).
    """
    first, outputs, (before, squashed, gates), weight_GH, live_TB1 = saved
    dh_TBH, state = derivative

    def step(state: Pair, inputs):
        (dh, dc), (dh_here, before, squashed, gates, live) = state, inputs
        i, f, g, o = jnp.split(gates, 4, axis=-1)
        dh = dh + dh_here
        if live is not None:
            dh, dc = dh * live, dc * live
        dc = dc + dh * o * (1 - squashed * squashed)
        da = jnp.concatenate(
            (dc * g * i * (1 - i), dc * before * f * (1 - f), dc * i * (1 - g * g), dh * squashed * o * (1 - o)), axis=-1)
        return (da @ weight_GH, dc * f), da

    state, da_TBG = lax.scan(step, state, (dh_TBH, before, squashed, gates, live_TB1), reverse=not reverse, unroll=UNROLL)
    earlier = (outputs[1:], first[None]) if reverse else (first[None], outputs[:-1])
    return da_TBG, state, jnp.einsum("tbg,tbh->gh", da_TBG, jnp.concatenate(earlier)), None


lstm.defvjp(lstm_forward, lstm_backward)


def batch_norm(z_TBF: Array, gamma: Array, beta: Array, axes: tuple[int, ...], live_TB1: Array | None) -> tuple[Array, Pair]:
    """Normalises over the axes, without elements where `live` is 0. Returns the mean and the unbiased variance too."""
    if live_TB1 is None:
        count = math.prod(z_TBF.shape[axis] for axis in axes)
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
    """Each element is 0 with the probability; the others are scaled up."""
    return jnp.where(jax.random.bernoulli(key, 1 - probability, x.shape), x / (1 - probability), 0) if probability else x


def cross_entropy(logits_TBV: Array, targets_TB: Array) -> Array:
    """Of each frame, [T, B]."""
    chosen = jnp.take_along_axis(logits_TBV, targets_TB[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(logits_TBV, axis=-1) - chosen
