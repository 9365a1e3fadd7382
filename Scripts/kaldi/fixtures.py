"""Writes small archives in every format, and what kaldiio reads from them.

    python fixtures.py DIRECTORY

`kaldiio-*` are written by kaldiio, `kaldi-*` by kaldi-native-io, which is Kaldi's own code. expected.txt holds, a line each,

    ARCHIVE KEY ROWS COLUMNS VALUE...

with the bits of float32 in hexadecimal for matrices, and decimal numbers for integers. Every archive is read back by both programs:
float, double, text and integers must be equal, compressed values equal but for the rounding of Kaldi's other order of operations.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys

import kaldi_native_io as kaldi
import kaldiio
import numpy as np

SEED = 20260417
# One frame; fewer than the five from which percentiles are taken; more; a key that is not ASCII.
FRAMES = {"one": 1, "four-frames": 4, "ünï": 9, "last_12": 12}
COLUMNS = 3


def matrices(generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Like features: another mean and deviation in each column, one column constant in one utterance."""
    values = {
        key: (generator.normal(size=(frames, COLUMNS)) * [3, 0.5, 40] + [10, -2, 0]).astype(np.float32)
        for key, frames in FRAMES.items()
    }
    values["ünï"][:, 1] = -1.25
    return values


def write_kaldiio(values: dict, labels: dict, generator: np.random.Generator) -> list[str]:
    whole = {key: generator.integers(0, 256, size=value.shape).astype(np.float32) for key, value in values.items()}
    fraction = {key: generator.random(size=value.shape, dtype=np.float32) for key, value in values.items()}
    kaldiio.save_ark("kaldiio-fm.ark", values, scp="kaldiio-fm.scp")
    kaldiio.save_ark("kaldiio-dm.ark", {key: value.astype(np.float64) / 3 for key, value in values.items()})
    kaldiio.save_ark("kaldiio-cm.ark", values, compression_method=2)
    kaldiio.save_ark("kaldiio-cm2.ark", values, compression_method=3)
    kaldiio.save_ark("kaldiio-cm2-signed.ark", values, compression_method=4)
    kaldiio.save_ark("kaldiio-cm3.ark", values, compression_method=5)
    kaldiio.save_ark("kaldiio-cm3-unsigned.ark", whole, compression_method=6)
    kaldiio.save_ark("kaldiio-cm3-fraction.ark", fraction, compression_method=7)
    kaldiio.save_ark("kaldiio-text.ark", values, text=True)
    kaldiio.save_ark("kaldiio-labels.ark", labels)
    kaldiio.save_ark("kaldiio-labels-text.ark", labels, text=True)
    return ["fm", "dm", "cm", "cm2", "cm2-signed", "cm3", "cm3-unsigned", "cm3-fraction", "text"]


def write_kaldi(values: dict, labels: dict) -> list[str]:
    def write(writer, destination: str, items: dict, *arguments) -> None:
        with writer(destination) as archive:
            for key, value in items.items():
                archive.write(key, value, *arguments)

    method = kaldi.CompressionMethod
    write(kaldi.FloatMatrixWriter, "ark,scp:kaldi-fm.ark,kaldi-fm.scp", values)
    write(kaldi.DoubleMatrixWriter, "ark:kaldi-dm.ark", {key: value.astype(np.float64) / 3 for key, value in values.items()})
    write(kaldi.CompressedMatrixWriter, "ark:kaldi-cm.ark", values, method.kSpeechFeature)
    write(kaldi.CompressedMatrixWriter, "ark:kaldi-cm2.ark", values, method.kTwoByteAuto)
    write(kaldi.CompressedMatrixWriter, "ark:kaldi-cm3.ark", values, method.kOneByteAuto)
    write(kaldi.FloatMatrixWriter, "ark,t:kaldi-text.ark", values)
    write(kaldi.Int32VectorWriter, "ark,scp:kaldi-labels.ark,kaldi-labels.scp", {key: value.tolist() for key, value in labels.items()})
    write(kaldi.Int32VectorWriter, "ark,t:kaldi-labels-text.ark", {key: value.tolist() for key, value in labels.items()})
    return ["fm", "dm", "cm", "cm2", "cm3", "text"]


def read_kaldiio(archive: str) -> dict[str, np.ndarray]:
    return {key: value.copy() for key, value in kaldiio.load_ark(archive)}


def check_matrices(archive: str, found: dict[str, np.ndarray]) -> None:
    """Kaldi's own code reads the same."""
    with kaldi.SequentialFloatMatrixReader(f"ark:{archive}") as reader:
        others = {key: value.copy() for key, value in reader}
    assert list(found) == list(others) == list(FRAMES), archive
    for key, value in found.items():
        if "cm" in archive:
            # Eight roundings between the two orders of operations, each of a number within minimum … minimum + range.
            scale = np.abs(value).max() + np.ptp(value)
            assert np.abs(value - others[key]).max() <= 8 * 2.0**-24 * scale, f"{archive} {key}"
        else:
            assert np.array_equal(value.astype(np.float32), others[key]), f"{archive} {key}"


def check_labels(archive: str, found: dict[str, np.ndarray]) -> None:
    with kaldi.SequentialInt32VectorReader(f"ark:{archive}") as reader:
        others = {key: list(value) for key, value in reader}
    assert {key: value.tolist() for key, value in found.items()} == others, archive


def main() -> None:
    os.makedirs(sys.argv[1], exist_ok=True)
    os.chdir(sys.argv[1])
    generator = np.random.default_rng(SEED)
    values = matrices(generator)
    # −1 marks what has no label in some tools, and the largest int32 is one too.
    labels = {key: generator.integers(0, 5000, size=frames, dtype=np.int32) for key, frames in FRAMES.items()}
    labels["four-frames"][:2] = [-1, 2**31 - 1]
    archives = [f"kaldiio-{name}.ark" for name in write_kaldiio(values, labels, generator)]
    archives += [f"kaldi-{name}.ark" for name in write_kaldi(values, labels)]

    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("kaldiio", "kaldi-native-io", "numpy"))
    lines = [f"# Scripts/make-kaldi-fixtures, seed {SEED}: {versions}. ARCHIVE KEY ROWS COLUMNS VALUE..."]
    for archive in archives:
        # A matrix of one row in text is a vector for kaldiio.
        found = {key: np.atleast_2d(value) for key, value in read_kaldiio(archive).items()}
        check_matrices(archive, found)
        for key, value in found.items():
            bits = value.astype(np.float32).view(np.uint32).ravel()
            lines.append(" ".join([archive, key, *map(str, value.shape), *(f"{number:08x}" for number in bits)]))
    for name in ("labels", "labels-text"):
        for writer in ("kaldiio", "kaldi"):
            archive = f"{writer}-{name}.ark"
            found = {key: np.atleast_1d(value) for key, value in read_kaldiio(archive).items()}
            if archive != "kaldiio-labels-text.ark":  # Kaldi does not read brackets around integers.
                check_labels(archive, found)
            for key, value in found.items():
                lines.append(" ".join([archive, key, str(len(value)), "1", *map(str, value)]))
    with open("expected.txt", "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    print(f"{len(archives) + 4} archives in {sys.argv[1]}, read alike by {versions}")


if __name__ == "__main__":
    main()
