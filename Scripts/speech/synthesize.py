"""Synthesises speech of which every frame's phone is known, as Kaldi archives. Scripts/make-speech-synthetic calls it.

The labels are exact: the synthesiser says at which sample each phone begins. A class is a third of a phone (silence is one class).
Sentences are pieces of the embedded text, voices are espeak-ng's; those of the validation part, and its sentences, are not in the
training part. Noise is added at 15 to 35 dB below the speech.

Into the output folder go {train,valid}_feats.ark (41 columns, compressed), {train,valid}_ali.ark, classes.txt (name and number)
and {train,valid}_utterances.txt (key, voice, words a minute, pitch, noise in dB, words)."""

from __future__ import annotations

import argparse
import collections
import importlib.metadata
import itertools
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

import archives
import espeak
import features

USAGE_ERROR, MISSING, INPUT_OUTPUT_ERROR = 64, 69, 74

DATA = os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "..", "Configs", "data")
ACCENTS = ("gmw/en-US", "gmw/en", "gmw/en-GB-x-rp", "gmw/en-GB-scotland")
# A speaker is a variant of a voice; none speaks in both parts.
SPEAKERS = {
    "train": ("m1 m2 m3 m5 m6 m8 f1 f2 f3 f5 Alex Alicia Andrea Andy Gene Marco Mario Michael adam linda").split(),
    "valid": "m4 m7 f4 steph john belinda".split(),
}
PARTS = tuple(SPEAKERS)
SILENCE = "sil"


@dataclass(frozen=True)
class Task:
    """One utterance. Everything random in it comes from (seed, part, number)."""

    seed: int
    part: str
    number: int
    speaker: str
    text: str

    def generator(self) -> np.random.Generator:
        return np.random.default_rng([self.seed, PARTS.index(self.part), self.number])


@dataclass
class Utterance:
    key: str
    matrix: np.ndarray  # [frames, 41]
    phones: list[tuple[str, int]]  # of each frame: phone and third
    description: str


def pieces(path: str, shortest: int, longest: int, seed: int) -> list[str]:
    """Runs of known words of the text's lines, cut to `shortest` to `longest` words and shuffled."""
    generator = np.random.default_rng([seed, 77])
    found = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            for run in line.replace(" 's", "'s").split("<unk>"):
                words = run.split()
                while len(words) >= shortest:
                    length = int(generator.integers(shortest, longest + 1))
                    found.append(" ".join(words[:length]))
                    words = words[length:]
    found = list(dict.fromkeys(piece for piece in found if len(piece.split()) >= shortest))  # The last of a line may be shorter.
    if not found:
        sys.exit(f"{path}: no {shortest} words in a row, expected a text with a sentence a line")
    generator.shuffle(found)
    return found


def tasks(part: str, text: str, options: argparse.Namespace) -> Iterator[Task]:
    """Without end: each round says all sentences, and each sentence with another speaker than in the round before."""
    sentences = pieces(text, options.words[0], options.words[1], options.seed)
    speakers = SPEAKERS[part]
    for number in itertools.count():
        turn, place = divmod(number, len(sentences))
        yield Task(options.seed, part, number, speakers[(place + turn) % len(speakers)], sentences[place])


synthesizer: espeak.Synthesizer | None = None


def synthesize(task: Task) -> Utterance:
    """In a process of its own: see espeak.Synthesizer."""
    assert synthesizer is not None
    generator = task.generator()
    accent = ACCENTS[int(generator.integers(len(ACCENTS)))]
    words_a_minute, pitch = int(generator.integers(140, 211)), int(generator.integers(35, 71))
    decibels = float(generator.uniform(15, 35))
    before, after = (int(s) for s in generator.uniform(0.05, 0.15, 2) * synthesizer.rate)
    speech, events = synthesizer.say(task.text, f"{accent}+{task.speaker}", words_a_minute, pitch)

    wave = np.concatenate([np.zeros(before), speech.astype(np.float64), np.zeros(after)])
    power = np.mean(speech.astype(np.float64) ** 2)
    wave += generator.normal(size=len(wave)) * np.sqrt(power * 10 ** (-decibels / 10))
    matrix = features.log_mel(np.clip(np.round(wave), -32768, 32767), synthesizer.rate)

    # A phone lasts until the next begins; what is before the first and behind the speech is silence.
    starts = [0] + [before + sample for sample, _ in events] + [before + len(speech), len(wave)]
    names = [SILENCE] + [espeak.plain_phone(name) for _, name in events] + [SILENCE]
    centres = ((np.arange(len(matrix)) + 0.5) * features.SHIFT * synthesizer.rate).astype(int)
    at = np.clip(np.searchsorted(starts, centres, side="right") - 1, 0, len(names) - 1)
    phones = []
    for centre, i in zip(centres, at):
        third = min(2, 3 * (centre - starts[i]) // max(1, starts[i + 1] - starts[i]))
        phones.append((names[i], 0 if names[i] == SILENCE else int(third)))
    key = f"{task.part}-{task.number:06d}-{task.speaker}"
    description = "\t".join([key, accent, str(words_a_minute), str(pitch), f"{decibels:.1f}", task.text])
    return Utterance(key, matrix, phones, description)


def write_part(part: str, classes: dict[tuple[str, int], int] | None, options: argparse.Namespace) -> dict[tuple[str, int], int]:
    """Synthesises until there are as many minutes as are wanted. The classes are those of the training part, in the order of their
    names: of later parts, an utterance with another one is left out."""
    text = {"train": options.text, "valid": options.validation_text}[part]
    minutes = {"train": options.minutes, "valid": options.validation_minutes}[part]
    wanted, frames, left_out, begin, shown = minutes * 60 / features.SHIFT, 0, 0, time.monotonic(), 0.0
    labels: list[tuple[str, list[tuple[str, int]]]] = []
    descriptions = []
    source = tasks(part, text, options)
    # A process an utterance, so that its samples depend on no other.
    pool = multiprocessing.get_context("fork").Pool(options.processes, maxtasksperchild=1)
    with archives.replacing(os.path.join(options.output, f"{part}_feats.ark"), "wb") as file, pool:
        while frames < wanted:
            for utterance in pool.map(synthesize, itertools.islice(source, 8 * options.processes), chunksize=1):
                if frames >= wanted:
                    break
                if classes is not None and any(phone not in classes for phone in utterance.phones):
                    left_out += 1
                    if left_out > 1000 and frames == 0:
                        sys.exit(f"{text}: none of {left_out} utterances has only the classes of the training part")
                    continue
                archives.write_features(file, utterance.key, utterance.matrix)
                labels.append((utterance.key, utterance.phones))
                descriptions.append(utterance.description)
                frames += len(utterance.matrix)
            if time.monotonic() - shown > 5:
                shown = time.monotonic()
                print(f"{part}: {frames / 6000:.1f} of {minutes:g} minutes", file=sys.stderr)
    if classes is None:
        classes = {phone: i for i, phone in enumerate(sorted({phone for _, phones in labels for phone in phones}))}
    with archives.replacing(os.path.join(options.output, f"{part}_ali.ark"), "wb") as file:
        for key, phones in labels:
            archives.write_labels(file, key, np.array([classes[phone] for phone in phones]))
    archives.write_lines(os.path.join(options.output, f"{part}_utterances.txt"), descriptions)

    counts = collections.Counter(phone for _, phones in labels for phone in phones)
    (name, third), most = counts.most_common(1)[0]
    silence = counts[(SILENCE, 0)]
    print(
        f"{part}: {len(labels):,} utterances, {frames:,} frames, {len(counts)} of {len(classes)} classes, "
        f"largest {class_name(name, third)} with {100 * most / frames:.1f} %, silence {100 * silence / frames:.1f} %, "
        f"{left_out} left out for a class that is not in training, {time.monotonic() - begin:.0f} s"
    )
    return classes


def class_name(phone: str, third: int) -> str:
    return phone if phone == SILENCE else f"{phone}_{third}"


def word_range(text: str) -> tuple[int, int]:
    shortest, _, longest = text.partition("-")
    result = int(shortest), int(longest or shortest)
    if not 1 <= result[0] <= result[1]:
        raise ValueError
    return result


def positive(text: str) -> float:
    if not float(text) > 0:
        raise ValueError
    return float(text)


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.print_usage(sys.stderr)
        self.exit(USAGE_ERROR, f"{self.prog}: {message}\n")


def main() -> int:
    parser = Parser(prog="make-speech-synthetic", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    embedded = os.path.normpath(os.path.join(DATA, "speech-synthetic"))
    parser.add_argument("output", nargs="?", default=embedded, help="folder; default %(default)s")
    parser.add_argument("--minutes", type=positive, default=2.9, help="of training; default %(default)s, 60 is an hour (16 MB)")
    parser.add_argument("--validation-minutes", type=positive, default=0.5, help="default %(default)s")
    parser.add_argument("--words", type=word_range, default=(4, 8), metavar="FEWEST-MOST", help="of an utterance; default 4-8")
    parser.add_argument("--text", default=os.path.join(DATA, "kjv.train.txt"), help="a sentence a line; default: the embedded text")
    parser.add_argument("--validation-text", default=os.path.join(DATA, "kjv.valid.txt"), help="of other sentences")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="default: all cores; changes nothing in the result")
    options = parser.parse_args()
    if options.seed < 0 or options.processes < 1:
        parser.error("--seed is 0 or more, --processes 1 or more")

    global synthesizer
    for text in (options.text, options.validation_text):
        if not os.path.isfile(text):
            parser.error(f"{text}: no such file")
    try:
        synthesizer = espeak.Synthesizer()
        os.makedirs(options.output, exist_ok=True)
        classes = write_part("train", None, options)
        write_part("valid", classes, options)
        names = [f"{class_name(*phone)} {i}" for phone, i in classes.items()]
        archives.write_lines(os.path.join(options.output, "classes.txt"), names)
    except espeak.SpeechError as error:
        print(f"make-speech-synthetic: {error}", file=sys.stderr)
        return MISSING
    except OSError as error:
        print(f"make-speech-synthetic: {error}", file=sys.stderr)
        return INPUT_OUTPUT_ERROR
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("kaldi-native-fbank", "kaldiio", "numpy"))
    print(f"{options.output}: {len(classes)} classes; espeak-ng {synthesizer.version}, {packages}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
