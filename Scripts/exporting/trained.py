"""Models that the self-test trains with the program, and what the program computes with them."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass

import numpy as np
import yaml

import samples
from cases import FRAMES, LANGUAGE, Case

LOSS = re.compile(r"loss (\S+) nats")


class ProgramFailed(Exception):
    """The program ended with another exit code than 0."""


@dataclass(frozen=True)
class Material:
    """The program and the data of the self-test."""

    lockstep: str
    repository: str
    directory: str
    utterances: list[samples.Utterance]
    archives: dict[str, str]
    texts: tuple[str, str]

    @classmethod
    def prepare(cls, lockstep: str, repository: str, directory: str) -> Material:
        utterances = samples.utterances()
        return cls(lockstep, repository, directory, utterances,
                   samples.write_archives(directory, utterances),
                   samples.write_texts(repository, directory))

    def run(self, *arguments: str) -> str:
        """What the program prints."""
        environment = os.environ | {
            "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        done = subprocess.run(
            [self.lockstep, *arguments], capture_output=True, text=True, env=environment,
            timeout=120)
        if done.returncode != 0:
            raise ProgramFailed(
                f"lockstep {arguments[0]}: exit {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def labels(self, task: str) -> str:
        return self.archives["frames" if task == "frame-classification" else "whole"]

    def configuration(self, case: Case) -> dict:
        """The whole configuration of a case, nested."""
        language = case.task == "language-model"
        if language:
            data = {"data.train": self.texts[0], "data.validation": self.texts[1]}
        else:
            source = {"features": self.archives["features"], "labels": self.labels(case.task)}
            data = {"data.train": source, "data.validation": source}
        flat = {"task": case.task, "logging.tensorboard": False, "optimizer.clip_norm": 5}
        flat |= data | (LANGUAGE if language else FRAMES) | case.keys
        if case.keys.get("normalization.method") == "layer":
            del flat["evaluation.frames_per_step"]
        result: dict = {}
        for key, value in flat.items():
            *sections, last = key.split(".")
            place = result
            for section in sections:
                place = place.setdefault(section, {})
            place[last] = value
        return result


@dataclass(frozen=True)
class Run:
    """A trained case."""

    material: Material
    case: Case
    directory: str

    @property
    def config(self) -> str:
        return self.directory + ".yaml"

    @classmethod
    def train(cls, material: Material, case: Case, name: str, *options: str) -> Run:
        run = cls(material, case, os.path.join(material.directory, name))
        with open(run.config, "w") as file:
            yaml.safe_dump(material.configuration(case), file)
        material.run("train", run.config, "--run-directory", run.directory, *options)
        return run

    def log_posteriors(self) -> list[np.ndarray]:
        """The program's, of every utterance: [T, V] each, or [1, V]."""
        path, material = self.directory + ".ark", self.material
        material.run("evaluate", self.directory, "--data", material.archives["features"],
                     "--posteriors", path)
        matrices = samples.read_matrices(path)
        return [matrices[u.key] for u in material.utterances]

    def loss(self) -> float:
        """The program's on the other text, in one stream."""
        printed = self.material.run(
            "evaluate", self.directory, "--data", self.material.texts[1],
            "--set", "evaluation.streams=1")
        return float(LOSS.search(printed)[1])
