"""Checkpoints as Sources/Training/Checkpoint lays them out, and checked as it checks them."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass

import numpy as np
import xxhash
import yaml

from failures import Damaged
from files import parse_tensors, read

STATE, MODEL = "state.json", "model.safetensors"
FORMAT_VERSION = 1
# The first key of state.json is the checksum of the file without that key's line.
CHECKSUM = re.compile(rb'\{\n  "checksum" : "([0-9a-f]{16})",')
CHECKPOINT_NAME = re.compile(r"step-\d{8,}")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose model is as it was written."""

    path: str
    step: int
    configuration: dict
    statistics: str  # running | population | averaged: what the stored statistics are
    tensors: dict[str, np.ndarray]
    data: dict | list  # features.json, or the tokens of vocabulary.json

    @property
    def files(self) -> list[str]:
        """Paths that no output may take."""
        names = (STATE, MODEL, "training.safetensors", "features.json", "vocabulary.json")
        return [os.path.join(self.path, name) for name in names]


def open_checkpoint(path: str) -> Checkpoint:
    """Opens a checkpoint's directory, a link to one, or a run's best checkpoint."""
    directory = find(path)
    state = parse_state(read(os.path.join(directory, STATE)), os.path.join(directory, STATE))
    try:
        configuration = yaml.safe_load(state["configuration"])
        language = configuration["task"] == "language-model"
        data_file = "vocabulary.json" if language else "features.json"
        contents = {name: verified(directory, name, state["files"]) for name in (MODEL, data_file)}
        data = json.loads(contents[data_file])
        step, statistics = int(state["step"]), str(state["statistics"])
    except (KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise Damaged(f"{directory}: does not hold what a checkpoint holds: {error!r}") from error
    tensors = parse_tensors(contents[MODEL], os.path.join(directory, MODEL))
    return Checkpoint(directory, step, configuration, statistics, tensors, data)


def find(path: str) -> str:
    """The directory of the checkpoint at `path`: its own, or the run's best, else latest."""
    if os.path.exists(os.path.join(path, STATE)):
        return path
    for link in (os.path.join(path, "checkpoints", name) for name in ("best", "latest")):
        # On file systems without links a file names the checkpoint.
        target = pointed(link)
        if target is not None:
            return target
        if os.path.lexists(link):
            return link
    target = pointed(path)
    if target is None:
        raise Damaged(
            f"{path}: neither a checkpoint (a directory with {STATE}) nor a run directory with "
            "checkpoints/best or checkpoints/latest")
    return target


def pointed(path: str) -> str | None:
    """The checkpoint that the file at `path` names; None for anything else."""
    if not os.path.isfile(path) or os.path.getsize(path) > 256:
        return None
    name = read(path).decode(errors="replace").strip()
    if not CHECKPOINT_NAME.fullmatch(name):
        return None
    return os.path.join(os.path.dirname(path) or ".", name)


def parse_state(content: bytes, path: str) -> dict:
    """The keys of state.json, whose checksum is checked."""
    head = CHECKSUM.match(content)
    if head is None:
        raise Damaged(f"{path}: truncated, altered or not a state: no checksum at its beginning")
    plain = b"{" + content[head.end() :]
    if xxhash.xxh3_64(plain).hexdigest() != head[1].decode():
        raise Damaged(f"{path}: is not as it was written: its checksum differs")
    state = json.loads(plain)
    if state.get("formatVersion") != FORMAT_VERSION:
        raise Damaged(f"{path}: format {state.get('formatVersion')}, expected {FORMAT_VERSION}")
    return state


def verified(directory: str, name: str, records: dict) -> bytes:
    """The content of a file of the checkpoint, if it has the size and checksum of its record."""
    path = os.path.join(directory, name)
    content = read(path)
    record = records[name]
    if len(content) != record["bytes"]:
        raise Damaged(f"{path}: {len(content)} bytes, expected {record['bytes']}")
    if xxhash.xxh3_64(content).hexdigest() != record["checksum"]:
        raise Damaged(f"{path}: is not as it was written: its checksum differs")
    return content
