"""Files that are written beside their places, synced, and renamed when they are whole."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from failures import Damaged, Failure, NotWritten


def check_output(path: str, inputs: Iterable[str]) -> None:
    """Refuses an output that cannot be written, or that is one of `inputs`."""
    if os.path.isdir(path):
        raise Failure(f"--output {path}: is a directory")
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise Failure(f"--output {path}: there is no directory {folder}")
    if os.path.exists(path) and not os.path.isfile(path):
        raise Failure(f"--output {path}: neither a file nor free for one")
    for name in inputs:
        if os.path.exists(path) and os.path.exists(name) and os.path.samefile(path, name):
            raise Failure(f"--output {path}: is {name}, which is read")


def replace(path: str, content: bytes) -> None:
    """Writes `content` to `path`, which is whole or as it was before."""
    temporary = f"{path}.partial-{os.getpid()}"
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise NotWritten(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            os.remove(temporary)


def read(path: str) -> bytes:
    """The content of a file."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise Damaged(f"{path}: cannot be read: {error.strerror}") from error


def write_tensors(path: str, tensors: dict[str, np.ndarray]) -> None:
    """Writes a safetensors file of float32 tensors."""
    whole = {name: np.ascontiguousarray(t, dtype=np.float32) for name, t in tensors.items()}
    replace(path, save(whole, {"format": "pt"}))


def parse_tensors(content: bytes, path: str) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file."""
    try:
        return load(content)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{path}: is no safetensors file: {error}") from error
