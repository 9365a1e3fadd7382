"""Random utterances as all programs read them: Kaldi archives in the order of their minibatches (`training.shuffle: false`).

Speed depends on how long utterances are, not on what they say. Lengths of `long` are those of read newspaper text: 200 to
1300 frames, some 700 on average; those of `mixed` are shorter, 100 to 500 frames, some 300 on average; those of `equal` are all
the same. Minibatches hold utterances of similar length, as grouping a large training set gives them.
"""

from __future__ import annotations

import os

import kaldiio
import numpy as np

from sizes import SpeechSize

FEATURES, CLASSES, BATCH = SpeechSize.features, SpeechSize.classes, 24
LENGTHS = ("mixed", "long", "equal")
MINIBATCHES = 4
EQUAL_LENGTH = 300
SPREADS = {"mixed": (100, 500, 300, 100), "long": (200, 1300, 700, 230)}  # shortest, longest, mean and deviation before the cut
POOL = 10  # minibatches of the imagined training set for each that is kept


def minibatch_lengths(kind: str, count: int = MINIBATCHES, batch: int = BATCH) -> list[list[int]]:
    """Lengths of each minibatch's utterances, not sorted."""
    random = np.random.default_rng(7)
    if kind == "equal":
        return [[EQUAL_LENGTH] * batch] * count
    shortest, longest, mean, deviation = SPREADS[kind]
    drawn = random.normal(mean, deviation, 4 * POOL * count * batch)
    drawn = drawn[(drawn >= shortest) & (drawn <= longest)][: POOL * count * batch].astype(int)
    groups = np.sort(drawn).reshape(POOL * count, batch)[POOL // 2 :: POOL]
    return [random.permutation(group).tolist() for group in random.permutation(groups)]


def write_archives(folder: str, lengths: list[list[int]], features: int = FEATURES, classes: int = CLASSES) -> dict[str, str]:
    """`features.ark` and `labels.ark` of all minibatches one after the other; returns their paths."""
    random = np.random.default_rng(8)
    paths = {part: os.path.join(folder, f"{part}.ark") for part in ("features", "labels")}
    with kaldiio.WriteHelper(f"ark:{paths['features']}") as features_file, kaldiio.WriteHelper(f"ark:{paths['labels']}") as labels_file:
        for index, length in enumerate(length for group in lengths for length in group):
            features_file(f"{index:06d}", random.standard_normal((length, features), dtype=np.float32))
            labels_file(f"{index:06d}", random.integers(0, classes, length, dtype=np.int32))
    return paths


def read_utterances(folder: str, batch: int = BATCH) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    """Features and labels of each minibatch's utterances, in the order of the archives."""
    labels = dict(kaldiio.load_ark(os.path.join(folder, "labels.ark")))
    utterances = [(array, labels[key]) for key, array in kaldiio.load_ark(os.path.join(folder, "features.ark"))]
    return [utterances[start : start + batch] for start in range(0, len(utterances), batch)]
