"""Turns HDF5 files of features and labels into Kaldi archives.

Two layouts are read. RETURNN's: `inputs` [frames of all sequences, features], `seqLengths` [sequences, 1 or more], `seqTags`, and
labels in `targets/data/classes`. Or one dataset for each utterance, whose name is its key: matrices [frames, features] are features;
vectors of integers, and single integers, are labels, in a file or a group of their own."""

import argparse
import os
import struct
import sys

import h5py
import numpy


class ImportFault(Exception):
    """What cannot be turned into archives, in words for the user."""


class Archive:
    """A Kaldi archive with its index, which take their places when they are whole."""

    def __init__(self, path):
        self.path = path
        self.keys = set()
        self.file = open(path + ".partial", "wb")
        self.index = open(os.path.splitext(path)[0] + ".scp.partial", "w", encoding="utf-8")

    def begin(self, key):
        if not key or any(character.isspace() for character in key) or len(key.encode()) > 4096:
            raise ImportFault(f"{self.path}: the key {key!r} is empty, too long or has white space")
        if key in self.keys:
            raise ImportFault(f"{self.path}: the key {key!r} comes twice")
        self.keys.add(key)
        self.file.write(f"{key} ".encode())
        self.index.write(f"{key} {os.path.abspath(self.path)}:{self.file.tell()}\n")

    def write_matrix(self, key, values):
        values = numpy.ascontiguousarray(values, dtype="<f4")
        self.begin(key)
        self.file.write(b"\0BFM " + struct.pack("<bibi", 4, values.shape[0], 4, values.shape[1]))
        self.file.write(values.tobytes())

    def write_integers(self, key, values):
        values = numpy.asarray(values)
        if values.size and (values.min() < -2**31 or values.max() >= 2**31):
            raise ImportFault(f"{self.path}: a label of {key!r} needs more than 32 bits")
        self.begin(key)
        elements = numpy.empty(values.size, dtype=[("size", "i1"), ("value", "<i4")])
        elements["size"], elements["value"] = 4, values.reshape(-1)
        self.file.write(b"\0B" + struct.pack("<bi", 4, values.size) + elements.tobytes())

    def close(self, is_whole):
        for file in (self.file, self.index):
            file.close()
            if is_whole and self.keys:
                os.replace(file.name, file.name.removesuffix(".partial"))
            else:
                os.remove(file.name)


def text(value):
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def import_returnn(path, file, targets, features, labels):
    """RETURNN's layout."""
    inputs, lengths = file["inputs"], file["seqLengths"][()]
    tags = [text(tag) for tag in file["seqTags"][()]] if "seqTags" in file else [f"sequence-{number}" for number in range(len(lengths))]
    lengths = lengths.reshape(len(lengths), -1)
    if inputs.ndim != 2 or not numpy.issubdtype(inputs.dtype, numpy.floating):
        raise ImportFault(f"{path}: inputs has the shape {inputs.shape} of {inputs.dtype}, expected [frames, features] of floats")
    if len(tags) != len(lengths):
        raise ImportFault(f"{path}: {len(tags)} seqTags and {len(lengths)} seqLengths")
    group = file.get("targets/data")
    classes = None
    if group is not None:
        if targets not in group:
            raise ImportFault(f"{path}: targets/data has {', '.join(group) or 'nothing'}, not {targets}: choose by --targets")
        classes = group[targets]
        # Columns of seqLengths: inputs first, then the targets by their names.
        column = min(1 + sorted(group).index(targets), lengths.shape[1] - 1)
        if classes.ndim != 1 or not numpy.issubdtype(classes.dtype, numpy.integer):
            raise ImportFault(f"{path}: targets/data/{targets} has the shape {classes.shape} of {classes.dtype}, expected a vector of integers")
    for name, data, ends in [("inputs", inputs, lengths[:, 0].sum())] + ([(f"targets/data/{targets}", classes, lengths[:, column].sum())] if classes is not None else []):
        if data.shape[0] != ends:
            raise ImportFault(f"{path}: {name} has {data.shape[0]} rows, and seqLengths sum to {ends}")
    start = label_start = 0
    for tag, row in zip(tags, lengths):
        features.write_matrix(tag, inputs[start:start + row[0]])
        start += row[0]
        if classes is not None:
            labels.write_integers(tag, classes[label_start:label_start + row[column]])
            label_start += row[column]


def import_datasets(path, file, features, labels):
    """A dataset for each utterance; the key is the last part of its name."""
    found = []
    file.visititems(lambda name, item: found.append((name, item)) if isinstance(item, h5py.Dataset) else None)
    for name, item in found:
        key = name.rsplit("/", 1)[-1]
        if item.ndim == 2 and numpy.issubdtype(item.dtype, numpy.number) and not numpy.issubdtype(item.dtype, numpy.complexfloating):
            features.write_matrix(key, item[()])
        elif item.ndim <= 1 and numpy.issubdtype(item.dtype, numpy.integer):
            labels.write_integers(key, item[()])
        else:
            raise ImportFault(f"{path}: {name} has the shape {item.shape} of {item.dtype}, expected [frames, features], or integers [frames]")


def main():
    parser = argparse.ArgumentParser(prog="Scripts/import-hdf5", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE.h5", help="files that make one data set")
    parser.add_argument("--output", metavar="PREFIX", required=True, help="archives are PREFIX_feats.ark and PREFIX_labels.ark, indices PREFIX_feats.scp and PREFIX_labels.scp")
    parser.add_argument("--targets", default="classes", metavar="NAME", help="labels of RETURNN's layout (default: classes)")
    options = parser.parse_args()
    is_whole, archives = False, []
    try:
        archives.append(Archive(f"{options.output}_feats.ark"))
        archives.append(Archive(f"{options.output}_labels.ark"))
        for path in options.files:
            try:
                file = h5py.File(path, "r")
            except OSError as error:
                raise ImportFault(f"{path}: cannot be opened as HDF5: {error}") from None
            with file:
                if "inputs" in file and "seqLengths" in file:
                    import_returnn(path, file, options.targets, *archives)
                else:
                    import_datasets(path, file, *archives)
        if not archives[0].keys:
            raise ImportFault(f"{options.files[0]}: holds no matrix of features")
        is_whole = True
    except (ImportFault, OSError) as error:
        sys.exit(f"import-hdf5: {error}")
    finally:
        for archive in archives:
            archive.close(is_whole)
    for archive, words in zip(archives, ("matrices of features", "vectors of labels")):
        if archive.keys:
            print(f"{archive.path}: {len(archive.keys)} {words}")


if __name__ == "__main__":
    main()
