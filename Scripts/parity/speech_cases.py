"""The combinations that frame classification is checked for, and the small random archives and weights they start from."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace

import kaldiio
import numpy as np
import yaml
from safetensors.torch import save_file

from case import BaseCase, random_weights, sections
from configuration import complete, shape_of
from shape import RECURRENT_PLACEMENTS
from speech import minibatches

FEATURES, CLASSES = 5, 7
# Statistics of a step over few frames multiply rounding by up to γ/√(v + ε): with two frames x̂ is ±1 whatever their
# distance, and PyTorch in float32 leaves PyTorch in float64 within ten steps (`--noise` shows it). So with `frame` the
# lengths are such that a group has six frames or more at a time step, or one, where the running statistics serve; the
# cases with two or three have a large ε, which bounds the factor.
EVEN_BATCH = 32
LONGEST = 12  # frames of an utterance that training keeps


@dataclass(frozen=True)
class SpeechCase(BaseCase):
    """Classification of frames, or of sequences, on random archives."""

    placement: str = "input"
    learning_rate: float = 0.1
    hidden: int = 6
    batch_size: int = 16
    epochs: int = 5
    task: str = "frame-classification"
    bidirectional: bool = True
    deltas: int = 0
    normalize: str = "global"
    even: bool = False  # nearly equal lengths within a minibatch
    lengths: tuple[int, ...] = (1, 2, 3, 4, 5, 5, 7, 8, 9, 9, 11, 12)  # drawn from where not even; those of one value are ties
    last: tuple[int, ...] = (9, 4)  # lengths of the last minibatch, fewer than shards
    excluded: tuple[int, ...] = (13, 20)  # longer than maximum_frames
    storage: str = "float"  # float | double | compressed | scp


def combinations() -> list[SpeechCase]:
    """Every combination of cell, direction, placement, statistics and scope; the rest varies along with them."""
    cases = []
    for cell in ("lstm", "rnn"):
        for bidirectional in (True, False):
            for placement in ("none", "input", "preactivation"):
                for statistics in ("frame", "sequence") if placement == "input" else ("frame",):
                    for scope in ("global",) if placement == "none" else ("local", 2, "global"):
                        cases.append(_combination(len(cases), cell, bidirectional, placement, statistics, scope))
    return cases


def _combination(index: int, cell: str, bidirectional: bool, placement: str, statistics: str, scope: str | int) -> SpeechCase:
    # The periods have no common factor with each other or with the loops', so that every value meets many of the combinations.
    momentum, clip_norm = (0.0, 0.9)[index // 5 % 2], (None, 1.0)[index // 3 % 2]
    peepholes = ("none", "output", "all")[index % 3] if cell == "lstm" else "none"
    parts = ["speech", cell, "both" if bidirectional else "forward", placement]
    if placement != "none":
        parts += [statistics, f"group{scope}" if isinstance(scope, int) else scope]
    # A momentum of 0.9 moves the weights ten times as far, and clipped gradients bear a larger rate.
    rate = (0.02 if momentum else 0.2) * (1 if clip_norm else 0.5) * (1 if cell == "lstm" else 0.4)
    case = SpeechCase(
        "/".join(parts), seed=5000 + index, cell=cell, bidirectional=bidirectional, placement=placement, statistics=statistics,
        scope=scope, peepholes=peepholes, momentum=momentum, clip_norm=clip_norm, learning_rate=rate,
        deltas=(0, 2)[index // 2 % 2], normalize=("global", "utterance", "none")[index // 4 % 3],
        average_over=("sequences", "frames")[index // 7 % 2])
    if case.average_over == "frames":
        case = replace(case, learning_rate=case.learning_rate * 5)
    return framewise(case) if placement != "none" and statistics == "frame" else case


def framewise(case: SpeechCase) -> SpeechCase:
    """The case with lengths that suit statistics of each time step; recurrent ones learn more slowly, too."""
    rate = case.learning_rate * (0.2 if case.placement in RECURRENT_PLACEMENTS else 0.5)
    # Fewer than shards, and never two in a statistics group.
    last = (7, 1, 12) if case.scope == "local" else (9,)
    return replace(case, even=True, batch_size=EVEN_BATCH, last=last, learning_rate=rate)


def further() -> list[SpeechCase]:
    """What the combinations leave out: optimizers, schedule, storage, odd minibatches, groups and lengths."""
    base, sequence = framewise(SpeechCase("", seed=0)), SpeechCase("", seed=0, statistics="sequence")
    few = replace(base, even=False, batch_size=16, last=(9, 4), epsilon=0.1)
    alone = replace(sequence, batch_size=4, scope="local", epsilon=0.1)
    cases = [
        replace(base, name="adam/frames", method="adam", learning_rate=0.002, average_over="frames"),
        replace(sequence, name="rmsprop/momentum0.9/clip", method="rmsprop", learning_rate=0.002, momentum=0.9, clip_norm=1.0),
        replace(sequence, name="accumulate2", accumulate_steps=2, learning_rate=0.05),
        replace(base, name="decay", decay=(2.0, 2)),
        replace(base, name="deltas1/double", deltas=1, storage="double"),
        replace(base, name="deltas2/compressed", deltas=2, storage="compressed"),
        replace(sequence, name="deltas2/utterance/scp", deltas=2, normalize="utterance", storage="scp"),
        replace(base, name="one-layer/population-batches2", layers=1, population_batches=2),
        replace(sequence, name="three-layers/peepholes-all", layers=3, peepholes="all"),
        replace(sequence, name="group4-of-8-shards", shards=8, scope=4),
        replace(base, name="group3-of-4-shards", scope=3),
        replace(few, name="few-frames/local", scope="local"),
        replace(few, name="few-frames/group2", scope=2),
        replace(few, name="few-frames/global"),
        replace(few, name="few-frames/global/preactivation", placement="preactivation", learning_rate=0.02),
        replace(few, name="one-utterance-a-shard/local", batch_size=4, scope="local", last=(5,)),
        replace(alone, name="one-utterance-a-shard/local/sequence", last=(5,), lengths=(2, 5, 7, 9)),
        replace(alone, name="single-frames-a-shard/local/sequence", last=(1,), lengths=(1, 1, 6)),
        replace(base, name="last-is-one-frame/global", last=(1,)),
        replace(sequence, name="last-is-one-frame/global/sequence", last=(1,)),
        replace(sequence, name="full-last-minibatch", last=(12, 12, 3, 3) * 4, excluded=()),
        replace(sequence, name="norm-momentum0.3/epsilon0.001", norm_momentum=0.3, epsilon=1e-3, scope="local"),
    ]
    return [replace(case, name=f"speech/{case.name}", seed=9500 + index) for index, case in enumerate(cases)]


def quick() -> list[SpeechCase]:
    """Some twelve cases in which each value of each dimension, and each placement with each of its scopes, occurs."""
    wanted, chosen = set(), []
    # Spread over the list, so that the dimensions vary together.
    for case in sorted(combinations(), key=lambda c: (c.seed * 7919) % 1009):
        features = {
            (case.cell, case.placement), (case.placement, case.statistics, case.scope),
            (case.bidirectional, case.placement, case.statistics), (case.bidirectional, case.peepholes), case.normalize, case.deltas, case.average_over,
        }
        if features - wanted:
            wanted |= features
            chosen.append(case)
    return sorted(chosen, key=lambda c: c.seed) + [case for case in further() if case.name.endswith(("/adam/frames", "shard/local"))]


# -- what a case starts from ------------------------------------------------------------------------------------


def configuration(case: SpeechCase, folder: str) -> dict:
    """The configuration file's content, in the keys of interfaces.md."""
    suffix = ".scp" if case.storage == "scp" else ".ark"
    paths = lambda name: {part: os.path.join(folder, f"{name}-{part}{suffix}") for part in ("features", "labels")}
    config = {"task": case.task} | sections(case)
    config["data"] = {
        "train": paths("train"), "validation": paths("validation"), "classes": CLASSES, "deltas": case.deltas,
        "maximum_frames": LONGEST, "normalize": case.normalize}
    config["model"]["bidirectional"] = case.bidirectional
    config["training"]["shuffle"] = False
    return config


def write(case: SpeechCase, folder: str, steps: int) -> tuple[dict, str]:
    """Writes archives, weights and configuration into `folder`; returns the configuration and the weights' path."""
    random = np.random.default_rng(case.seed)
    config, corpus = configuration(case, folder), Corpus.drawn(random)
    count = math.ceil(steps / case.epochs) * case.accumulate_steps
    lengths = [length for _ in range(count - 1) for length in _minibatch_lengths(random, case)]
    if lengths:
        # In place of the first minibatch's longest, so that no second one stands out there.
        lengths[int(np.argmax(lengths[: case.batch_size]))] = LONGEST
    lengths += case.last
    assert len(minibatches(len(lengths), case.batch_size)) == count
    longest = max(lengths)
    for length in case.excluded:
        lengths.insert(int(random.integers(0, len(lengths))), length)
    corpus.write(random, config["data"]["train"], "train", lengths, case)
    # Longer and shorter ones than in training.
    corpus.write(random, config["data"]["validation"], "validation", [1, 6, LONGEST + 3, LONGEST, 2, 9, 2 * LONGEST], case)
    inputs = FEATURES * (case.deltas + 1)
    weights = random_weights(shape_of(complete(config), CLASSES, inputs, longest), case.seed)
    path = os.path.join(folder, "initial.safetensors")
    save_file(weights, path)
    with open(os.path.join(folder, "config.yaml"), "w") as file:
        yaml.safe_dump(config, file, sort_keys=False)
    return config, path


def _minibatch_lengths(random: np.random.Generator, case: SpeechCase) -> list[int]:
    """Lengths of a full minibatch. If even, two of a shard are shorter than the others, and one of all is longer."""
    if not case.even:
        return [int(random.choice(case.lengths)) for _ in range(case.batch_size)]
    usual = int(random.integers(4, LONGEST - 1))
    lengths = [usual] * case.batch_size
    for shard in range(case.shards):
        for place in random.choice(case.batch_size // case.shards, 2, replace=False):
            lengths[place * case.shards + shard] = int(random.integers(1, usual))
    longer = [k for k, length in enumerate(lengths) if length == usual]
    lengths[int(random.choice(longer))] = int(random.integers(usual + 1, LONGEST))
    return lengths


@dataclass(frozen=True)
class Corpus:
    """Classes that stay for a few frames, each with features around a mean of its own."""

    means: np.ndarray  # [V, F]
    offset: np.ndarray  # [F]
    scale: np.ndarray  # [F]

    @staticmethod
    def drawn(random: np.random.Generator) -> "Corpus":
        return Corpus(random.normal(size=(CLASSES, FEATURES)), random.normal(size=FEATURES), random.uniform(0.5, 1.5, FEATURES))

    def write(self, random: np.random.Generator, paths: dict[str, str], prefix: str, lengths: list[int], case: SpeechCase) -> None:
        """Features and labels in archives, with lists beside them for `scp`. A sequence's label is that of its first frame."""
        features, labels = {}, {}
        for index, length in enumerate(lengths):
            key = f"{prefix}-{index:04d}"
            states = np.repeat(random.integers(0, CLASSES, length), random.integers(1, 4, length))[:length]
            noise = random.normal(size=(length, FEATURES)) * 0.7
            array = (self.means[states] + noise) * self.scale + self.offset
            features[key] = array.astype(np.float64 if case.storage == "double" else np.float32)
            labels[key] = states[: 1 if case.task == "sequence-classification" else None].astype(np.int32)
        for what, arrays in (("features", features), ("labels", labels)):
            stem = os.path.splitext(paths[what])[0]
            kaldiio.save_ark(
                stem + ".ark", arrays, scp=stem + ".scp" if case.storage == "scp" else None,
                compression_method=2 if case.storage == "compressed" and what == "features" else None)
