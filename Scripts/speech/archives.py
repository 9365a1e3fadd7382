"""Kaldi's archives and the lists beside them, written beside their places and renamed when they are whole."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import kaldiio
import numpy as np

# Kaldi's kSpeechFeature: a byte a value, between four percentiles of each column of an utterance.
SPEECH_FEATURE = 2


@contextlib.contextmanager
def replacing(path: str, mode: str) -> Iterator:
    """A file that takes the place of `path` at the end, and leaves it alone where the block fails."""
    with open(path + ".partial", mode) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".partial", path)


def write_features(file, key: str, matrix: np.ndarray) -> None:
    kaldiio.save_ark(file, {key: matrix}, compression_method=SPEECH_FEATURE)


def write_labels(file, key: str, labels: np.ndarray) -> None:
    kaldiio.save_ark(file, {key: labels.astype(np.int32)})


def write_lines(path: str, lines) -> None:
    with replacing(path, "w") as file:
        file.writelines(f"{line}\n" for line in lines)


def places(path: str) -> dict[str, int]:
    """The offset of each object of an archive, as indices have it: behind its key and a space."""
    result = {}
    with open(path, "rb") as file:
        begin = 0
        for key, _ in kaldiio.load_ark(file):
            result[key] = begin + len(key.encode()) + 1
            begin = file.tell()
    return result
