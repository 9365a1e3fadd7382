"""The combinations that language models are checked for, and the small random texts and weights they start from."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace

import numpy as np
import yaml
from safetensors.torch import save_file

from case import BaseCase, random_weights, sections
from configuration import complete, shape_of
from shape import RECURRENT_PLACEMENTS
from text import make_vocabulary, read_tokens

# Placements of the full grid; cases of the others, and of the other cells and methods, are in variants.py.
PLACEMENTS = ("none", "input", "preactivation")
# Statistics of the recurrence over few sequences multiply rounding by γ/√(v + ε) at each time step. These start from smaller
# γ and learn more slowly, and every group has eight sequences or more, so that single precision can follow at all: with two
# sequences a group x̂ is ±1, and PyTorch in float32 leaves PyTorch in float64 within ten steps (`--noise` shows it).


@dataclass(frozen=True)
class Case(BaseCase):
    """A language model on a random text."""

    unit: str = "word"
    vocabulary_size: int = 1000
    evaluation_streams: int | str = "auto"
    text: str = "plain"  # plain | awkward: white space, carriage returns, composed letters, blank lines
    steps: int = 7
    embedding: int = 12
    windows: str = "continued"
    tied: bool = False


def combinations(placements: tuple[str, ...] = PLACEMENTS) -> list[Case]:
    """Every combination of cell, placement, statistics, scope, peepholes, momentum and clipping that is allowed."""
    cases = []
    for cell in ("lstm", "rnn"):
        for placement in placements:
            for statistics in ("frame", "sequence") if placement == "input" else ("frame",):
                for scope in ("global",) if placement == "none" else ("local", 2, "global"):
                    for peepholes in ("none", "output", "all") if cell == "lstm" else ("none",):
                        for momentum in (0.0, 0.9):
                            for clip_norm in (None, 1.0):
                                cases.append(_combination(len(cases), cell, placement, statistics, scope, peepholes, momentum, clip_norm))
    return cases


def _combination(index, cell, placement, statistics, scope, peepholes, momentum, clip_norm) -> Case:
    parts = [cell, placement]
    if placement != "none":
        parts += [statistics, f"group{scope}" if isinstance(scope, int) else scope]
    if cell == "lstm":
        parts.append(f"peepholes-{peepholes}")
    parts += [f"momentum{momentum:g}", "clip" if clip_norm else "noclip"]
    # A momentum of 0.9 moves the weights ten times as far, and clipped gradients bear a larger rate.
    rate = (0.05 if momentum else 0.5) * (1 if clip_norm else 0.5)
    if placement in RECURRENT_PLACEMENTS:
        rate *= 0.2
    return Case("/".join(parts), seed=1000 + index, cell=cell, placement=placement, statistics=statistics, scope=scope,
                peepholes=peepholes, momentum=momentum, clip_norm=clip_norm, learning_rate=rate)


def further() -> list[Case]:
    """What the combinations leave out: optimizers, averages, accumulation, schedule, text, evaluation, odd groups."""
    base = Case("", seed=0, placement="input", scope="global")
    cases = [
        replace(base, name="adam", method="adam", learning_rate=0.005),
        replace(base, name="adam/clip/group2", method="adam", learning_rate=0.005, clip_norm=1.0, scope=2),
        replace(base, name="rmsprop/momentum0.9", method="rmsprop", learning_rate=0.002, momentum=0.9),
        replace(base, name="average-over-frames", average_over="frames", learning_rate=2.0),
        replace(base, name="accumulate2", accumulate_steps=2, learning_rate=0.1),
        replace(base, name="accumulate2/frames/clip", accumulate_steps=2, average_over="frames", clip_norm=0.3, learning_rate=1.0),
        replace(base, name="decay", decay=(2.0, 2), epochs=5, learning_rate=0.3),
        replace(base, name="unknown-words", vocabulary_size=40),
        replace(base, name="awkward-text", text="awkward"),
        replace(base, name="characters", unit="character", text="awkward", learning_rate=0.1),
        replace(base, name="one-layer", layers=1),
        replace(base, name="three-layers/preactivation", layers=3, placement="preactivation", learning_rate=0.1),
        replace(base, name="one-evaluation-stream", evaluation_streams=1),
        replace(base, name="three-evaluation-streams/population-batches3", evaluation_streams=3, population_batches=3),
        replace(base, name="group4-of-8-shards", shards=8, scope=4),
        replace(base, name="group1-is-local", scope=1),
        replace(base, name="one-sequence-a-shard/local", batch_size=8, shards=8, scope="local"),
        replace(base, name="one-sequence-a-shard/group8", batch_size=8, shards=8, scope=8, learning_rate=0.1),
        replace(base, name="norm-momentum0.3/epsilon0.001", norm_momentum=0.3, epsilon=1e-3, statistics="sequence", scope="local"),
        replace(base, name="wider-batch/peepholes-all/preactivation", batch_size=64, learning_rate=0.1, placement="preactivation", peepholes="all", scope=2),
    ]
    return [replace(case, seed=9000 + index) for index, case in enumerate(cases)]


def quick(placements: tuple[str, ...] = PLACEMENTS) -> list[Case]:
    """Some 20 cases in which each value of each dimension, and each placement with each of its scopes, occurs."""
    wanted, chosen = set(), []
    everything = combinations(placements)
    # Spread over the list, so that peepholes, momentum and clipping vary together with the rest.
    for case in sorted(everything, key=lambda c: (c.seed * 7919) % 1009):
        features = {
            (case.cell, case.placement, case.statistics), (case.placement, case.statistics, case.scope),
            (case.placement, case.peepholes, case.cell), (case.placement, case.momentum), (case.placement, case.clip_norm),
        }
        if features - wanted:
            wanted |= features
            chosen.append(case)
    names = ("adam", "rmsprop/momentum0.9", "accumulate2/frames/clip", "unknown-words", "one-sequence-a-shard/local")
    return sorted(chosen, key=lambda c: c.seed) + [c for c in further() if c.name in names]


# -- what a case starts from ------------------------------------------------------------------------------------


def configuration(case: Case, folder: str) -> dict:
    """The configuration file's content, in the keys of interfaces.md."""
    config = {"task": "language-model"} | sections(case)
    config["data"] = {
        "train": os.path.join(folder, "train.txt"), "validation": os.path.join(folder, "validation.txt"),
        "unit": case.unit, "vocabulary_size": case.vocabulary_size}
    config["model"]["embedding_size"] = case.embedding
    config["training"]["unroll_steps"] = case.steps
    config["evaluation"]["streams"] = case.evaluation_streams
    if case.tied:
        config["model"]["tied_embedding"] = True
    if case.windows != "continued":
        config["training"]["windows"] = case.windows
    return config


def write(case: Case, folder: str, steps: int) -> tuple[dict, str]:
    """Writes texts, weights and configuration into `folder`; returns the configuration and the weights' path."""
    random = np.random.default_rng(case.seed)
    windows = math.ceil(steps / case.epochs) * case.accumulate_steps
    # L − 1 = windows · T + a rest that must be dropped, and a tail of the text that fills no stream.
    tokens = case.batch_size * (windows * case.steps + 1 + int(random.integers(0, case.steps))) + int(random.integers(1, case.batch_size))
    config = configuration(case, folder)
    words = _words(random, case.text, int(random.integers(50, 200)))
    train = _text(random, words, tokens, case)
    # Validation words come from the training text alone, which has every word at least once where it is long enough.
    known = [word for word in words if word in set(train.split())]
    validation = _text(random, known, 203, case)
    for name, text in (("train", train), ("validation", validation)):
        with open(config["data"][name], "wb") as file:
            file.write(text.encode("utf-8"))
    vocabulary = make_vocabulary(read_tokens(config["data"]["train"], case.unit), case.vocabulary_size)
    weights = random_weights(shape_of(complete(config), len(vocabulary), case.embedding, case.steps), case.seed)
    path = os.path.join(folder, "initial.safetensors")
    save_file(weights, path)
    with open(os.path.join(folder, "config.yaml"), "w") as file:
        yaml.safe_dump(config, file, sort_keys=False)
    return config, path


def _words(random: np.random.Generator, style: str, count: int) -> list[str]:
    letters = list("abcdefghijklmnopqrstuvwxyz")
    words = {"".join(random.choice(letters, int(random.integers(1, 6)))) for _ in range(count)}
    if style == "awkward":
        # The two spellings of é are equal as text and differ in bytes: two types, by byte order.
        words |= {"\u00e9t\u00e9", "e\u0301te\u0301", "Zebra", "zebra", "\U0001f600", "\u00df", "1,000", "-", "\u65e5\u672c"}
    return sorted(words)


def _text(random: np.random.Generator, words: list[str], tokens: int, case: Case) -> str:
    """A text of exactly `tokens` tokens, words by Zipf's law in lines of 1 to 12."""
    if case.unit == "character":
        text = ""
        while len(text) < tokens:
            text += " ".join(_draw(random, words, int(random.integers(1, 9)))) + "\n"
        return text[:tokens]
    count, lines = 0, []
    while count < tokens:
        size = min(int(random.integers(1, 13)), tokens - count - 1)
        drawn, count = _draw(random, words, size), count + size + 1
        if case.text == "awkward":
            separators = random.choice([" ", "  ", "\t", " \t "], size)
            line = "".join(w + s for w, s in zip(drawn, separators)) + random.choice(["", "\r"])
        else:
            line = " ".join(drawn)
        lines.append(line)
    return "\n".join(lines) + "\n"


def _draw(random: np.random.Generator, words: list[str], count: int) -> list[str]:
    weights = 1 / np.arange(1, len(words) + 1)
    return [words[i] for i in random.choice(len(words), count, p=weights / weights.sum())]
