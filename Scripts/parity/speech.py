"""Utterances in Kaldi archives to normalised features and minibatches (mathematics.md, sections 8 and 9; the keys of `data` in interfaces.md)."""

from __future__ import annotations

from dataclasses import dataclass

import kaldiio
import numpy as np

DELTA_WINDOW = 2  # of Kaldi's add-deltas


class SpeechError(Exception):
    """Archives that do not fit together."""


@dataclass(frozen=True)
class Utterance:
    """Features, [T, F] in float64, and a class for each frame, [T], or one for the utterance, [1]."""

    key: str
    features: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.features)


def read_archive(path: str) -> list[tuple[str, np.ndarray]]:
    """Keys and arrays in the archive's order, from an `.ark`, or an `.scp` that points into some."""
    if path.endswith(".scp"):
        return [(key, array) for key, array in kaldiio.load_scp(path).items()]
    return list(kaldiio.load_ark(path))


def read_utterances(paths: dict[str, str], classes: int, deltas: int, labels_a_frame: bool = True) -> list[Utterance]:
    """The utterances of `{features: …, labels: …}` in the order of the features, deltas appended."""
    labels = dict(read_archive(paths["labels"]))
    utterances = []
    for key, features in read_archive(paths["features"]):
        if key not in labels:
            raise SpeechError(f"{paths['labels']} has no labels of {key}")
        if len(labels[key]) != (len(features) if labels_a_frame else 1):
            raise SpeechError(f"{key} has {len(features)} frames and {len(labels[key])} labels")
        if labels[key].min() < 0 or labels[key].max() >= classes:
            raise SpeechError(f"labels of {key} are outside 0 ..< {classes}")
        utterances.append(Utterance(key, add_deltas(features.astype(np.float64), deltas), labels[key].astype(np.int64)))
    return utterances


def add_deltas(features_TF: np.ndarray, order: int) -> np.ndarray:
    """Appends the derivatives 1 to `order` as Kaldi's add-deltas does, [T, (order + 1) F].

    The filter of derivative k is that of k − 1 convolved with j / Σ j², j from −2 to 2; each is applied to the features
    themselves, with the first and the last frame repeated beyond the ends.
    """
    frames = np.arange(len(features_TF))
    step = np.arange(-DELTA_WINDOW, DELTA_WINDOW + 1) / (2 * sum(j * j for j in range(1, DELTA_WINDOW + 1)))
    parts, taps = [features_TF], np.ones(1)
    for _ in range(order):
        taps = np.convolve(taps, step)
        reach = len(taps) // 2
        parts.append(sum(
            tap * features_TF[np.clip(frames + offset, 0, len(frames) - 1)] for offset, tap in zip(range(-reach, reach + 1), taps)))
    return np.concatenate(parts, axis=1)


def normalize(utterances: list[Utterance], kind: str, training: list[Utterance]) -> list[Utterance]:
    """Mean 0 and (biased) variance 1 of every feature: of all frames of `training`, of each utterance, or as they are."""
    if kind == "none":
        return utterances
    if kind == "global":
        every = np.concatenate([utterance.features for utterance in training])
        return [_standardize(utterance, every) for utterance in utterances]
    if kind == "utterance":
        return [_standardize(utterance, utterance.features) for utterance in utterances]
    raise SpeechError(f"data.normalize {kind!r}")


def _standardize(utterance: Utterance, over: np.ndarray) -> Utterance:
    deviation = over.std(axis=0)
    # A feature without any variance, as in an utterance of one frame, becomes 0.
    deviation[deviation == 0] = 1
    return Utterance(utterance.key, (utterance.features - over.mean(axis=0)) / deviation, utterance.labels)


def minibatches(count: int, batch_size: int) -> list[range]:
    """Without shuffling: utterances `[k·B ..< (k+1)·B)`, the last ones fewer."""
    return [range(start, min(start + batch_size, count)) for start in range(0, count, batch_size)]


def pad(utterances: list[Utterance]) -> tuple[np.ndarray, np.ndarray]:
    """Features, [T, B, F], and lengths, [B]; `T` is the longest one's."""
    lengths = np.array([len(utterance) for utterance in utterances])
    features = np.zeros((lengths.max(), len(utterances), utterances[0].features.shape[1]))
    for b, utterance in enumerate(utterances):
        features[: lengths[b], b] = utterance.features
    return features, lengths
