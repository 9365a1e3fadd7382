"""Layers as constants alone: normalisation by stored statistics becomes weights and biases.

A layer that is normalised by constants computes an affine function of `W_x x` and `W_h h`, so it
is a layer without normalisation. That holds where all time steps have the same statistics.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from network import Direction, Sizes, Term


@dataclass(frozen=True)
class PlainDirection:
    """A direction without normalisation: `W_x x + b_x` and `W_h h + b_h` enter the cell.

    For LSTMs and plain cells the sum of both biases counts; a GRU's reset gate stands between them.
    """

    input_weight: np.ndarray  # [G, I]
    recurrent_weight: np.ndarray  # [G, H]
    input_bias: np.ndarray  # [G]
    recurrent_bias: np.ndarray  # [G]
    peephole: np.ndarray | None  # [3, H]: i, f, o
    initial_hidden: np.ndarray | None  # [H], where it is learned
    initial_cell: np.ndarray | None  # [H]


class NotPlain(Exception):
    """Why a direction is not a plain one: the key that is responsible, and a reason."""

    def __init__(self, key: str, reason: str):
        super().__init__(f"{key} {reason}")


class DiffersByStep(NotPlain):
    """Statistics differ from one time step to another."""


def plain(direction: Direction, sizes: Sizes, step: int | None = None) -> PlainDirection:
    """The plain direction that computes the same.

    With `step`, one that computes the same at that time step (0-based; later ones than are stored
    mean the last).
    """
    check_products(direction, sizes)
    t, G, H = direction.tensors, sizes.rows, sizes.hidden
    W_x, W_h = t["input_weight"], t["recurrent_weight"]
    b_x, b_h = direction.vector("bias", G), np.zeros(G)
    if sizes.placement == "whitened-input":
        # W_x U (x − c) + b
        W_x = W_x @ t["whitening.matrix"]
        b_x = b_x - W_x @ t["whitening.mean"]
    for name, term in direction.terms.items():
        scale, shift = constants(term, step)
        match name:
            case "input_norm":
                W_x, b_x = scale[:, None] * W_x, b_x + shift
            case "recurrent_norm":
                W_h, b_h = scale[:, None] * W_h, b_h + shift
            case "preactivation_norm":
                W_x, W_h, b_x = scale[:, None] * W_x, scale[:, None] * W_h, b_x + shift
            case _:
                raise AssertionError(name)
    if sizes.cell == "gru":
        b_h = b_h + np.concatenate([np.zeros(2 * H), t["hidden_bias"]])
    else:
        b_x, b_h = b_x + b_h, np.zeros(G)
    return PlainDirection(
        W_x, W_h, b_x, b_h, peepholes(direction, sizes), t.get("initial_hidden"),
        t.get("initial_cell"))


def check_products(direction: Direction, sizes: Sizes) -> None:
    """Throws `NotPlain` where more is normalised than products, by constants."""
    if any(term.mean is None for term in direction.terms.values()):
        raise NotPlain(
            "normalization.method: layer", "takes the mean and variance of each frame by itself")
    placement = f"normalization.placement: {sizes.placement}"
    if "cell_norm" in direction.terms:
        raise NotPlain(placement, "normalises the cell before the output is made of it")
    if "hidden_norm" in direction.terms:
        raise NotPlain(placement, "normalises the output and carries it on normalised")


def constants(term: Term, step: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Scale and shift of a normalised product, [G] each."""
    if step is None and not term.is_constant:
        raise DiffersByStep(
            "normalization.statistics: frame",
            "has a mean and variance of its own for each time step")
    scale, shift = term.folded()
    row = min(step or 0, term.steps - 1)
    return scale[row], shift[row]


def peepholes(direction: Direction, sizes: Sizes) -> np.ndarray | None:
    """p_i, p_f and p_o, [3, H]."""
    match sizes.peepholes:
        case "none":
            return None
        case "output":
            zeros = np.zeros(sizes.hidden)
            return np.stack([zeros, zeros, direction.tensors["peephole"]])
        case _:
            return direction.tensors["peephole"]
