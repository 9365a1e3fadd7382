"""Prepares speechocean762, real speech of 250 speakers, for frame classification. Scripts/prepare-open-speech calls it.

DIRECTORY is the unpacked corpus; without it, it is fetched from OpenSLR (some 520 MB) into the output folder. Into that folder go

    {train,test}_alignment.jsonl       a line an utterance: key and [phone, state, senone, frames] in the order of time;
                                       or why there is none
    {train,test}_fbank41_cm.ark        log energy and 40 log-mel filters, 25 ms every 10 ms, compressed
    {train,test}_ali_senone.ark        classes by forced alignment: the model's tied triphone states; senones.txt has senone and class
    {train,test}_ali_phonestate.ark    the same for phones and their three states; phone_states.txt has name and class
    {train,test}_utt2spk               key and speaker
    {train,valid}_feats.scp, {train,valid}_ali_{senone,phonestate}.scp
                                       every tenth speaker of the training part is for validation; they name archives beside them

Called again it goes on: utterances that are aligned and archives that are there are kept. Delete a file to have it made again."""

from __future__ import annotations

import argparse
import collections
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterable

import kaldiio
import numpy as np

import alignment
import archives
import corpus
import features

USAGE_ERROR, DATA_ERROR, MISSING, INPUT_OUTPUT_ERROR = 64, 65, 69, 74
# Of the speakers of the training part in the order of their names, the fifth of every ten.
EVERY, FIRST = 10, 4
LABELS = ("senone", "phonestate")

aligner: alignment.Aligner | None = None


def align(recording: corpus.Recording) -> dict:
    """In a process of its own: see alignment.Aligner."""
    assert aligner is not None
    try:
        return {"key": recording.key, "states": aligner.align(alignment.read_wave(recording.path), recording.text)}
    except (alignment.AlignmentError, OSError) as error:
        return {"key": recording.key, "problem": str(error)}


def compute_features(recording: corpus.Recording) -> tuple[str, np.ndarray]:
    return recording.key, features.log_mel(alignment.read_wave(recording.path), alignment.RATE)


def parallel(work: Callable, items: list, processes: int, what: str) -> Iterable:
    """Results in the order of the items, each from a process of its own; says every ten seconds how far it is."""
    if not items:
        return
    begin = shown = time.monotonic()
    with multiprocessing.get_context("fork").Pool(min(processes, len(items)), maxtasksperchild=1) as pool:
        for done, result in enumerate(pool.imap(work, items, chunksize=1), 1):
            yield result
            now = time.monotonic()
            if now - shown > 10:
                shown = now
                left = (now - begin) / done * (len(items) - done)
                print(f"{what}: {done:,} of {len(items):,}, {left:.0f} s to go", file=sys.stderr)


def read_alignments(path: str) -> dict[str, dict]:
    """By key. A last line that was not written to its end is cut off, so that appending can go on."""
    found: dict[str, dict] = {}
    if not os.path.exists(path):
        return found
    with open(path, "r+b") as file:
        whole = 0
        for line in file:
            if not line.endswith(b"\n"):
                break
            try:
                entry = json.loads(line)
                found[entry["key"]] = entry
            except (ValueError, KeyError, TypeError) as error:
                raise corpus.CorpusError(f"{path}: byte {whole}: no alignment, delete the file: {error}") from error
            whole += len(line)
        file.truncate(whole)
    return found


def align_split(split: str, recordings: list[corpus.Recording], options: argparse.Namespace) -> dict[str, dict]:
    path = os.path.join(options.output, f"{split}_alignment.jsonl")
    found = read_alignments(path)
    missing = [recording for recording in recordings if recording.key not in found]
    if missing:
        global aligner
        aligner = aligner or alignment.Aligner()
        with open(path, "a", encoding="utf-8") as file:
            for entry in parallel(align, missing, options.processes, f"{split}, alignment"):
                found[entry["key"]] = entry
                file.write(json.dumps(entry, separators=(",", ":")) + "\n")
                file.flush()
    keys = [recording.key for recording in recordings]
    problems = [found[key] for key in keys if "problem" in found[key]]
    for entry in problems:
        print(f"{split}: {entry['key']} is left out: {entry['problem']}", file=sys.stderr)
    if len(problems) == len(keys):
        raise corpus.CorpusError(f"{split}: no utterance could be aligned")
    return {key: found[key] for key in keys if "states" in found[key]}


def frame_labels(states: Iterable, rows: int) -> list:
    """The state of each row of features. Frames of the aligner are centred 12.8 ms behind their start, ours 5 ms: row t is nearest
    to its frame t - 1. At the ends the first and last are repeated."""
    frames = [(phone, state, senone) for phone, state, senone, count in states for _ in range(count)]
    return [frames[min(max(t - 1, 0), len(frames) - 1)] for t in range(rows)]


def path_of(options: argparse.Namespace, name: str) -> str:
    return os.path.join(options.output, name)


def products(split: str) -> list[str]:
    return [f"{split}_fbank41_cm.ark", f"{split}_utt2spk"] + [f"{split}_ali_{kind}.ark" for kind in LABELS]


def make_archives(options: argparse.Namespace) -> None:
    directory = options.directory or corpus.fetch(options.output)
    for fault in corpus.differences(directory):
        print(f"note: {fault}", file=sys.stderr)
    recordings = {split: corpus.recordings(directory, split) for split in corpus.SPLITS}
    aligned = {split: align_split(split, recordings[split], options) for split in corpus.SPLITS}

    # The classes are those of both parts: they are the states of the model, whichever part has them.
    states = [state for split in aligned.values() for entry in split.values() for state in entry["states"] if state[3] > 0]
    senones = {senone: i for i, senone in enumerate(sorted({state[2] for state in states}))}
    phone_states = {name: i for i, name in enumerate(sorted({f"{state[0]}_{state[1]}" for state in states}))}
    for split in corpus.SPLITS:
        chosen = [recording for recording in recordings[split] if recording.key in aligned[split]]
        archive = path_of(options, f"{split}_fbank41_cm.ark")
        if not os.path.exists(archive):
            with archives.replacing(archive, "wb") as file:
                for key, matrix in parallel(compute_features, chosen, options.processes, f"{split}, features"):
                    archives.write_features(file, key, matrix)
        rows = {key: len(matrix) for key, matrix in kaldiio.load_ark(archive)}
        if list(rows) != [recording.key for recording in chosen]:
            raise corpus.CorpusError(f"{archive}: has other utterances than are aligned, delete it")
        with (
            archives.replacing(path_of(options, f"{split}_ali_senone.ark"), "wb") as senone_file,
            archives.replacing(path_of(options, f"{split}_ali_phonestate.ark"), "wb") as phone_file,
        ):
            for key, entry in aligned[split].items():
                labels = frame_labels(entry["states"], rows[key])
                archives.write_labels(senone_file, key, np.array([senones[senone] for _, _, senone in labels]))
                archives.write_labels(phone_file, key, np.array([phone_states[f"{phone}_{state}"] for phone, state, _ in labels]))
        archives.write_lines(path_of(options, f"{split}_utt2spk"), [f"{r.key} {r.speaker}" for r in chosen])
    archives.write_lines(path_of(options, "senones.txt"), [f"{name} {i}" for name, i in senones.items()])
    archives.write_lines(path_of(options, "phone_states.txt"), [f"{name} {i}" for name, i in phone_states.items()])


def divide(options: argparse.Namespace) -> dict[str, set[str]]:
    """Writes the indices of training and validation; the keys of each."""
    speaker_of = corpus.table(path_of(options, "train_utt2spk"))
    held_out = set(sorted(set(speaker_of.values()))[FIRST::EVERY])
    parts = {
        "train": {key for key, speaker in speaker_of.items() if speaker not in held_out},
        "valid": {key for key, speaker in speaker_of.items() if speaker in held_out},
    }
    if not all(parts.values()):
        raise corpus.CorpusError(f"{options.output}/train_utt2spk: {len(set(speaker_of.values()))} speakers, expected 5 or more")
    sources = {"feats": "train_fbank41_cm.ark"} | {f"ali_{kind}": f"train_ali_{kind}.ark" for kind in LABELS}
    for name, archive in sources.items():
        places = archives.places(path_of(options, archive))
        if places.keys() != speaker_of.keys():
            raise corpus.CorpusError(f"{options.output}: {archive} and train_utt2spk have not the same keys")
        for part, keys in parts.items():
            lines = [f"{key} {archive}:{place}" for key, place in places.items() if key in keys]
            archives.write_lines(path_of(options, f"{part}_{name}.scp"), lines)
    return parts


def summarize(options: argparse.Namespace, parts: dict[str, set[str]]) -> None:
    rows: dict[str, dict] = {}
    for split in corpus.SPLITS:
        speaker_of = corpus.table(path_of(options, f"{split}_utt2spk"))
        counted = {kind: dict(kaldiio.load_ark(path_of(options, f"{split}_ali_{kind}.ark"))) for kind in LABELS}
        for part in ("train", "valid") if split == "train" else ("test",):
            keys = [key for key in speaker_of if split == "test" or key in parts[part]]
            classes = {kind: collections.Counter(np.concatenate([counted[kind][key] for key in keys]).tolist()) for kind in LABELS}
            frames = sum(classes["senone"].values())
            rows[part] = {
                "utterances": len(keys),
                "speakers": len({speaker_of[key] for key in keys}),
                "frames": frames,
                "longest": max(len(counted["senone"][key]) for key in keys),
            } | {f"{kind}s": len(classes[kind]) for kind in LABELS}
            rows[part] |= {f"largest {kind}": f"{100 * classes[kind].most_common(1)[0][1] / frames:.1f} %" for kind in LABELS}
    print(f"{'':<20}" + "".join(f"{part:>12}" for part in rows))
    for name in rows["train"]:
        values = (f"{row[name]:,}" if isinstance(row[name], int) else row[name] for row in rows.values())
        print(f"{name:<20}" + "".join(f"{value:>12}" for value in values))
    for kind, names in (("senone", "senones.txt"), ("phonestate", "phone_states.txt")):
        print(f"classes by {kind}: {len(corpus.table(path_of(options, names))):,} ({names})")


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.print_usage(sys.stderr)
        self.exit(USAGE_ERROR, f"{self.prog}: {message}\n")


def main() -> int:
    parser = Parser(prog="prepare-open-speech", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", nargs="?", metavar="DIRECTORY", help="holds train, test and WAVE")
    parser.add_argument("output", nargs="?", metavar="OUTPUT", default="Data/so762", help="default %(default)s")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="default: all cores; changes nothing in the result")
    options = parser.parse_args()
    if options.processes < 1:
        parser.error("--processes is 1 or more")
    if options.directory is not None and not os.path.isdir(options.directory):
        parser.error(f"{options.directory}: no such folder")
    try:
        os.makedirs(options.output, exist_ok=True)
        wanted = [name for split in corpus.SPLITS for name in products(split)] + ["senones.txt", "phone_states.txt"]
        if all(os.path.exists(path_of(options, name)) for name in wanted):
            print(f"{options.output}: the archives are there", file=sys.stderr)
        else:
            make_archives(options)
        summarize(options, divide(options))
    except (corpus.CorpusError, alignment.AlignmentError) as error:
        print(f"prepare-open-speech: {error}", file=sys.stderr)
        return DATA_ERROR
    except corpus.DownloadError as error:
        print(f"prepare-open-speech: {error}", file=sys.stderr)
        return MISSING
    except OSError as error:
        print(f"prepare-open-speech: {error}", file=sys.stderr)
        return INPUT_OUTPUT_ERROR
    return 0


if __name__ == "__main__":
    sys.exit(main())
