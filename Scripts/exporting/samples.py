"""Small data for the self-test: archives of made-up utterances and a piece of the embedded text."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

import numpy as np

FEATURES, CLASSES = 5, 6
UTTERANCES = 30


@dataclass(frozen=True)
class Utterance:
    """Features, [T, F], and a class for each frame, [T], and for all of it."""

    key: str
    features: np.ndarray
    labels: np.ndarray
    label: int


def utterances() -> list[Utterance]:
    """Lengths from 1 to 24; classes follow a slow average of the features."""
    random, result = np.random.default_rng(7), []
    for number in range(UTTERANCES):
        length = 1 + (number * 7) % 24
        noise = random.normal(size=(length, FEATURES))
        average = np.cumsum(noise, axis=0) / np.arange(1, length + 1)[:, None]
        # Unequal means and deviations, so that normalisation matters; a constant feature.
        features = (average + 0.5 * noise) * [1, 3, 0.2, 2, 0] + [0, -4, 1, 10, 2]
        labels = np.argmax(average, axis=1) + (average[:, 0] > 0.3)
        result.append(Utterance(
            f"u{number:02}", features.astype(np.float32).round(3), labels, int(labels[-1])))
    return result


def write_archives(directory: str, data: list[Utterance]) -> dict[str, str]:
    """Kaldi's archives as text: features, labels of frames, labels of utterances; their paths."""
    names = ("features", "frames", "whole")
    paths = {name: os.path.join(directory, name + ".ark") for name in names}
    with open(paths["features"], "w") as file:
        for u in data:
            rows = "\n".join("  " + " ".join(f"{x:.3f}" for x in row) for row in u.features)
            file.write(f"{u.key}  [\n{rows} ]\n")
    with open(paths["frames"], "w") as file:
        file.writelines(f"{u.key} {' '.join(map(str, u.labels))}\n" for u in data)
    with open(paths["whole"], "w") as file:
        file.writelines(f"{u.key} {u.label}\n" for u in data)
    return paths


def read_matrices(path: str) -> dict[str, np.ndarray]:
    """A binary archive of float matrices by their keys."""
    with open(path, "rb") as file:
        content = file.read()
    result, place = {}, 0
    while place < len(content):
        space = content.index(b" ", place)
        key, head = content[place:space].decode(), content[space + 1 : space + 16]
        tag, four, rows, four_again, columns = struct.unpack("<5sbibi", head)
        assert tag == b"\0BFM " and four == four_again == 4, f"{path}: {key} is no float matrix"
        values = np.frombuffer(content, "<f4", rows * columns, space + 16)
        result[key] = values.reshape(rows, columns)
        place = space + 16 + 4 * rows * columns
    return result


def padded(data: list[np.ndarray], filling: float) -> tuple[np.ndarray, np.ndarray]:
    """[T, B, F] and lengths, [B]; padding is `filling`."""
    lengths = np.array([len(x) for x in data])
    result = np.full((lengths.max(), len(data), data[0].shape[1]), filling, np.float32)
    for b, x in enumerate(data):
        result[: len(x), b] = x
    return result, lengths


def prepared(features: np.ndarray, deltas: int, normalize: str) -> np.ndarray:
    """What a caller of the PyTorch model does: differences, and moments of an utterance."""
    parts, frames = [features.astype(np.float64)], np.arange(len(features))
    filters = ([-0.2, -0.1, 0, 0.1, 0.2], np.array([4, 4, 1, -4, -10, -4, 1, 4, 4]) / 100)
    for taps in filters[:deltas]:
        reach = len(taps) // 2
        parts.append(sum(
            tap * parts[0][np.clip(frames + j, 0, len(frames) - 1)]
            for j, tap in zip(range(-reach, reach + 1), taps)))
    x = np.concatenate(parts, axis=1)
    if normalize == "utterance":
        mean, variance = x.mean(axis=0), x.var(axis=0)
        constant = (variance <= 1e-10 * mean**2) | (variance <= 1e-30)
        constant |= np.tile(constant[: features.shape[1]], 1 + deltas)
        x = (x - mean) / np.where(constant, 1, np.sqrt(variance))
    return x.astype(np.float32)


def write_texts(repository: str, directory: str) -> tuple[str, str]:
    """A text to learn from, and another."""
    with open(os.path.join(repository, "Configs/data/kjv.valid.txt")) as file:
        lines = file.readlines()
    paths = (os.path.join(directory, "train.txt"), os.path.join(directory, "other.txt"))
    for path, part in zip(paths, (lines[:30], lines[30:36])):
        with open(path, "w") as file:
            file.writelines(part)
    return paths


def encode(path: str, vocabulary: list[str], unit: str) -> np.ndarray:
    """The tokens of a text, [N]."""
    with open(path) as file:
        text = file.read()
    tokens = list(text) if unit == "character" else text.replace("\n", " <eos> ").split()
    known = {token: number for number, token in enumerate(vocabulary)}
    return np.array([known.get(token, known.get("<unk>")) for token in tokens], np.int64)
