"""Checks Scripts/import-hdf5: both layouts, by what `lockstep inspect` and a reader of its own find in the archives, and faults."""

import argparse
import os
import struct
import subprocess
import sys
import tempfile

import h5py
import numpy

FAILURES = []


def check(is_right, words):
    if not is_right:
        FAILURES.append(words)
        print(f"FAILED: {words}")


def entries(path):
    """Keys and values of an archive that import_hdf5 has written."""
    with open(path, "rb") as file:
        content = file.read()
    found, place = {}, 0
    while place < len(content):
        end = content.index(b" ", place)
        key, place = content[place:end].decode(), end + 1
        if content[place:place + 5] == b"\0BFM ":
            rows, columns = struct.unpack("<xixi", content[place + 5:place + 15])
            place += 15
            found[key] = numpy.frombuffer(content, "<f4", rows * columns, place).reshape(rows, columns)
            place += 4 * rows * columns
        else:
            check(content[place:place + 2] == b"\0B", f"{path}: an object at {place}")
            count = struct.unpack("<xi", content[place + 2:place + 7])[0]
            place += 7
            found[key] = numpy.frombuffer(content, [("size", "i1"), ("value", "<i4")], count, place)["value"]
            place += 5 * count
    return found


def convert(folder, *arguments):
    here = os.path.dirname(os.path.abspath(__file__))
    return subprocess.run([sys.executable, f"{here}/import_hdf5.py", *arguments], cwd=folder, capture_output=True, text=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lockstep", metavar="PATH", help="the program, which inspects the archives")
    options = parser.parse_args()
    draw = numpy.random.RandomState(1)
    utterances = {f"utterance-{number}": (draw.randn(length, 3).astype("f4"), draw.randint(0, 5, length)) for number, length in enumerate([4, 1, 7])}
    with tempfile.TemporaryDirectory() as folder:
        with h5py.File(f"{folder}/returnn.h5", "w") as file:
            file["inputs"] = numpy.concatenate([features for features, _ in utterances.values()])
            file["seqLengths"] = numpy.array([[len(labels)] * 2 for _, labels in utterances.values()])
            file["seqTags"] = numpy.array(list(utterances), dtype="S")
            file["targets/data/classes"] = numpy.concatenate([labels for _, labels in utterances.values()])
        with h5py.File(f"{folder}/datasets.h5", "w") as file:
            for key, (features, labels) in utterances.items():
                file[f"features/{key}"], file[f"labels/{key}"] = features.astype("f8"), labels.astype("u1")
        for name in ("returnn", "datasets"):
            done = convert(folder, f"{name}.h5", "--output", name)
            check(done.returncode == 0 and "3 matrices of features" in done.stdout and "3 vectors of labels" in done.stdout, f"{name}: {done}")
            features, labels = entries(f"{folder}/{name}_feats.ark"), entries(f"{folder}/{name}_labels.ark")
            check(set(features) == set(labels) == set(utterances), f"{name}: keys")
            for key, (values, classes) in utterances.items():
                check(numpy.array_equal(features[key], values) and numpy.array_equal(labels[key], classes), f"{name}: {key}")
            if options.lockstep:
                for kind in ("feats.ark", "feats.scp", "labels.ark", "labels.scp"):
                    seen = subprocess.run([options.lockstep, "inspect", f"{folder}/{name}_{kind}"], capture_output=True, text=True)
                    check(seen.returncode == 0 and "3" in seen.stdout, f"inspect {name}_{kind}: {seen}")
        # Features alone; faults leave nothing behind.
        with h5py.File(f"{folder}/alone.h5", "w") as file:
            file["a"] = numpy.zeros((2, 3))
        check(convert(folder, "alone.h5", "--output", "alone").returncode == 0 and not os.path.exists(f"{folder}/alone_labels.ark"), "features alone")
        with h5py.File(f"{folder}/short.h5", "w") as file:
            file["inputs"], file["seqLengths"] = numpy.zeros((5, 2)), numpy.array([[3], [3]])
        with h5py.File(f"{folder}/odd.h5", "w") as file:
            file["x"] = numpy.zeros((2, 3, 4))
        with open(f"{folder}/text.h5", "w", encoding="utf-8") as file:
            file.write("no HDF5\n")
        for files, words in ((["short.h5"], "has 5 rows, and seqLengths sum to 6"), (["odd.h5"], "x has the shape (2, 3, 4)"), (["text.h5"], "cannot be opened as HDF5"),
                             (["alone.h5", "alone.h5"], "the key 'a' comes twice"), (["missing.h5"], "missing.h5: cannot be opened")):
            failed = convert(folder, *files, "--output", "fault")
            check(failed.returncode == 1 and words in failed.stderr and failed.stderr.count("\n") == 1, f"{files}: {failed}")
            check(not any(name.startswith("fault") for name in os.listdir(folder)), f"{files}: files are left")
    print("import-hdf5: all checks passed" if not FAILURES else f"import-hdf5: {len(FAILURES)} checks failed")
    sys.exit(bool(FAILURES))


if __name__ == "__main__":
    main()
