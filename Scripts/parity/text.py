"""Text to token streams, vocabulary and windows (mathematics.md, section 7)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

END_OF_LINE = "<eos>"
UNKNOWN = "<unk>"


class DataError(Exception):
    """Text that the rules of section 7 refuse."""


def read_tokens(path: str, unit: str) -> list[str]:
    """The tokens of a UTF-8 file; `unit` is `word` or `character` (every Unicode scalar, the newline too)."""
    with open(path, "rb") as file:
        text = file.read().decode("utf-8")  # no universal newlines: a carriage return is plain white space
    if unit == "character":
        return list(text)
    lines = text.split("\n")
    tokens: list[str] = []
    for index, line in enumerate(lines):
        tokens.extend(line.split())
        if index + 1 < len(lines):
            tokens.append(END_OF_LINE)
    return tokens


def make_vocabulary(tokens: list[str], size: int) -> list[str]:
    """Types by falling count, then by byte order; at most `size`, the rest becoming `<unk>`."""
    counts = Counter(tokens)
    types = sorted(counts, key=lambda word: (-counts[word], word.encode("utf-8")))
    if len(types) <= size:
        return types
    kept = types[:size]
    if UNKNOWN not in kept:
        kept[-1] = UNKNOWN
    return kept


def encode(tokens: list[str], vocabulary: list[str], path: str) -> np.ndarray:
    """Ids of tokens, [N]."""
    ids = {word: index for index, word in enumerate(vocabulary)}
    unknown = ids.get(UNKNOWN)
    result = np.empty(len(tokens), dtype=np.int64)
    for position, word in enumerate(tokens):
        index = ids.get(word, unknown)
        if index is None:
            raise DataError(f"{path}: token {position}, {word!r}, is not in the vocabulary, which has no {UNKNOWN}")
        result[position] = index
    return result


@dataclass
class TrainingWindows:
    """`B` streams of `L = N / B` tokens; window `w` takes `T` inputs of every stream and targets one later."""

    streams_BL: np.ndarray
    steps: int

    @staticmethod
    def cut(tokens_N: np.ndarray, batch_size: int, steps: int) -> "TrainingWindows":
        length = len(tokens_N) // batch_size
        return TrainingWindows(tokens_N[: length * batch_size].reshape(batch_size, length), steps)

    def __len__(self) -> int:
        return max(0, (self.streams_BL.shape[1] - 1) // self.steps)

    def __getitem__(self, window: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets of a window, [T, B] each."""
        start, stop = window * self.steps, (window + 1) * self.steps
        return self.streams_BL[:, start:stop].T, self.streams_BL[:, start + 1 : stop + 1].T


@dataclass
class TrainingPieces:
    """The minibatches of an epoch of shuffled pieces: `B` pieces at a time in the order given, the rest dropped."""

    tokens_N: np.ndarray
    starts: list[int]
    batch_size: int
    steps: int

    def __len__(self) -> int:
        return len(self.starts) // self.batch_size

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets of a minibatch, [T, B] each."""
        starts = self.starts[index * self.batch_size : (index + 1) * self.batch_size]
        pieces_BT = np.stack([self.tokens_N[start : start + self.steps + 1] for start in starts])
        return pieces_BT[:, :-1].T, pieces_BT[:, 1:].T


def evaluation_runs(count: int, streams: int) -> list[range]:
    """The target positions `1 ..< count` as consecutive runs, the longer ones first."""
    positions = count - 1
    short, longer = divmod(positions, streams)
    runs, start = [], 1
    for index in range(streams):
        length = short + (1 if index < longer else 0)
        runs.append(range(start, start + length))
        start += length
    return runs
