"""The models that are measured: what each program is told to run, on which data, and in which forms of PyTorch."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod

import numpy as np
import yaml

from sizes import SIZES, VOCABULARY, SpeechSize
from speech_data import BATCH, CLASSES, FEATURES, LENGTHS, MINIBATCHES, minibatch_lengths, write_archives

KINDS = ("plain", "normalized")
LOOPS = {"loop": "loop", "script": "loop, torch.jit.script", "compile": "loop, step by torch.compile", "unroll": "loop, unrolled by torch.compile"}


class Workload(ABC):
    """A model of some name with its data in a folder."""

    unit: str  # what its throughput counts
    steps: int  # timed steps of a measurement
    warm_up: int  # steps before them, in the other systems
    loops: tuple[str, ...]  # forms of the normalised recurrence that are measured where none are asked for

    def __init__(self, name: str):
        self.name = name

    @abstractmethod
    def title(self, kind: str) -> str:
        """What the table's heading says of the model."""

    @abstractmethod
    def lockstep(self, kind: str) -> list[str]:
        """The configuration, and `--set KEY=VALUE` after it."""

    @abstractmethod
    def plain_forms(self) -> list[tuple[str, str]]:
        """Labels and forms of PyTorch without normalisation."""

    def arguments(self) -> list[str]:
        return ["--model", self.name]

    def forms(self, kind: str, chosen: list[str] | None) -> list[tuple[str, str]]:
        if kind == "plain":
            return self.plain_forms()
        return [(label, form) for form, label in LOOPS.items() if form in (chosen or self.loops)]


class Language(Workload):
    """A language model of the paper's table on random words."""

    unit = "words"
    loops = ("loop", "script", "compile", "unroll")
    plans = {"small": (40, 10), "medium": (12, 4), "large": (6, 3)}  # steps and warm-up

    def __init__(self, name: str, folder: str, configs: str):
        super().__init__(name)
        self.configs, self.texts = configs, write_text(folder)
        self.steps, self.warm_up = self.plans[name]

    def title(self, kind: str) -> str:
        size = SIZES[self.name]
        what = "batch-normalised inputs, statistics of each time step" if kind == "normalized" else "plain"
        return f"{self.name}, {what}: {size.layers} × {size.hidden} cells, {size.steps} steps, dropout {size.dropout:g}"

    def lockstep(self, kind: str) -> list[str]:
        command = [os.path.join(self.configs, f"ptb-{self.name}{'-bn' if kind == 'normalized' else ''}.yaml")]
        for key, value in (("data.train", self.texts[0]), ("data.validation", self.texts[1]), ("data.test", self.texts[1]),
                           ("data.vocabulary_size", VOCABULARY)):
            command += ["--set", f"{key}={value}"]
        return command

    def plain_forms(self) -> list[tuple[str, str]]:
        return [("nn.LSTM", "lstm")]


class Speech(Workload):
    """The paper's speech model on random utterances, the same minibatches in the same order for both programs."""

    unit = "frames"
    steps = MINIBATCHES  # each minibatch once
    warm_up = 2  # as `lockstep benchmark` does
    loops = ("loop", "script")

    def __init__(self, name: str, folder: str):
        super().__init__(name)
        self.lengths = name.removeprefix("speech-")
        self.folder = os.path.join(folder, name)
        os.makedirs(self.folder, exist_ok=True)
        paths, size = write_archives(self.folder, minibatch_lengths(self.lengths)), SpeechSize()
        self.config = {
            "task": "frame-classification",
            "data": {"train": paths, "validation": paths, "classes": CLASSES, "deltas": 0, "normalize": "none"},
            "model": {"cell": "lstm", "layers": size.layers, "hidden_size": size.hidden, "bidirectional": True},
            "normalization": {"statistics": "sequence", "scope": "global"},
            "initialization": {"scheme": "uniform", "range": size.initial_range},
            "training": {"batch_size": BATCH, "shuffle": False, "average_over": "sequences"},
            "optimizer": {"method": "sgd", "learning_rate": size.learning_rate, "momentum": size.momentum, "clip_norm": size.clip_norm}}

    def title(self, kind: str) -> str:
        size, every = SpeechSize(), [length for group in minibatch_lengths(self.lengths) for length in group]
        what = "batch-normalised inputs, statistics of all frames" if kind == "normalized" else "plain"
        frames = f"{min(every)} to {max(every)} frames, {np.mean(every):.0f} on average"
        frames = f"{every[0]} frames" if self.lengths == "equal" else frames
        return (f"{self.name}, {what}: {size.layers} × 2 × {size.hidden} cells, {FEATURES} features, {CLASSES} classes, "
                f"{BATCH} utterances of {frames}")

    def lockstep(self, kind: str) -> list[str]:
        path = os.path.join(self.folder, f"{kind}.yaml")
        placement = {"placement": "input" if kind == "normalized" else "none"}
        with open(path, "w") as file:
            yaml.safe_dump(self.config | {"normalization": self.config["normalization"] | placement}, file, sort_keys=False)
        return [path]

    def arguments(self) -> list[str]:
        return ["--model", self.name, "--data", self.folder]

    def plain_forms(self) -> list[tuple[str, str]]:
        return [("nn.LSTM, packed", "packed"), ("nn.LSTM" if self.lengths == "equal" else "nn.LSTM over padding", "padded")]


NAMES = (*SIZES, *(f"speech-{kind}" for kind in LENGTHS))


def make_workload(name: str, folder: str, configs: str) -> Workload:
    """The workload of a name, with its data in the folder."""
    return Language(name, folder, configs) if name in SIZES else Speech(name, folder)


def write_text(folder: str) -> tuple[str, str]:
    """Random text of 10,000 types, `<eos>` one of them, with Zipf's frequencies; every word occurs."""
    random = np.random.default_rng(1)
    words = np.array([f"w{index}" for index in range(VOCABULARY - 1)])
    weights = 1 / np.arange(1, len(words) + 1)
    drawn = random.choice(len(words), 190_000, p=weights / weights.sum())
    paths = []
    for name, ids in (("train", np.concatenate((drawn, np.arange(len(words))))), ("validation", drawn[:5000])):
        paths.append(os.path.join(folder, name + ".txt"))
        with open(paths[-1], "w") as file:
            for start in range(0, len(ids), 20):
                file.write(" ".join(words[ids[start : start + 20]]) + "\n")
    return tuple(paths)
