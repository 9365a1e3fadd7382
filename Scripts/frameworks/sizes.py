"""Shapes and training of the measured models, the same in every framework."""

from __future__ import annotations

from dataclasses import dataclass

VOCABULARY = 10_000


@dataclass(frozen=True)
class Size:
    """A language model: a column of the paper's table."""

    hidden: int
    steps: int
    initial_range: float
    clip_norm: float
    dropout: float
    batch_size: int = 32
    layers: int = 2
    vocabulary: int = VOCABULARY
    learning_rate: float = 0.1
    momentum: float = 0


SIZES = {
    "small": Size(200, 20, 0.1, 10, 0),
    "medium": Size(650, 35, 0.05, 5, 0.5),
    "large": Size(1500, 35, 0.04, 5, 0.65),
}


@dataclass(frozen=True)
class SpeechSize:
    """The paper's speech network."""

    features: int = 123
    classes: int = 3546
    hidden: int = 250
    layers: int = 5
    initial_range: float = 0.05
    learning_rate: float = 1e-3
    momentum: float = 0.9
    clip_norm: float = 10
