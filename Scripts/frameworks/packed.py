"""Minibatches of utterances as PyTorch takes them: packed, without padding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from speech_data import BATCH, read_utterances


@dataclass(frozen=True)
class Packed:
    """Some utterances of a minibatch without padding, N frames time-major, the longest first, as PackedSequence holds them."""

    features_NI: Tensor
    labels_N: Tensor
    sizes: list[int]  # sequences that reach each time step
    padded_N: Tensor  # where each frame is in T × B rows
    turned_N: Tensor  # where each frame is when every sequence is reversed
    lengths: list[int]

    @staticmethod
    def of(utterances: list[tuple[np.ndarray, np.ndarray]]) -> "Packed":
        ordered = sorted(utterances, key=lambda utterance: -len(utterance[1]))
        lengths = [len(labels) for _, labels in ordered]
        sizes = [sum(length > t for length in lengths) for t in range(lengths[0])]
        first = np.concatenate(([0], np.cumsum(sizes)))
        steps, sequences = np.repeat(np.arange(len(sizes)), sizes), np.concatenate([np.arange(size) for size in sizes])
        features = np.stack([ordered[b][0][t] for t, b in zip(steps, sequences)])
        labels = np.array([ordered[b][1][t] for t, b in zip(steps, sequences)], dtype=np.int64)
        turned = first[np.array(lengths)[sequences] - 1 - steps] + sequences
        return Packed(torch.from_numpy(features), torch.from_numpy(labels), sizes,
                      torch.from_numpy(steps * len(lengths) + sequences), torch.from_numpy(turned), lengths)


def read_minibatches(folder: str, rank: int = 0, processes: int = 1, batch: int = BATCH) -> tuple[list[Packed], list[int]]:
    """This process's part of each minibatch, utterances `k mod processes`, and the frames of each whole minibatch."""
    groups = read_utterances(folder, batch)
    return [Packed.of(group[rank::processes]) for group in groups], [sum(len(labels) for _, labels in group) for group in groups]
