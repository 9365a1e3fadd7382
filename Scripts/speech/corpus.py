"""speechocean762 (Zhang et al. 2021, arXiv 2104.01378): fetched from OpenSLR, and read."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import sys
import tarfile
import urllib.error
import urllib.request
import zlib
from dataclasses import dataclass

URL = "https://www.openslr.org/resources/101/speechocean762.tar.gz"
PAGE = "https://www.openslr.org/101/"
SPLITS = ("train", "test")
# Of each split, as published.
UTTERANCES, SPEAKERS = 2500, 125


class CorpusError(Exception):
    """What is there is not the corpus."""


class DownloadError(Exception):
    """It cannot be fetched from here."""


@dataclass(frozen=True)
class Recording:
    key: str
    speaker: str
    path: str
    text: str


def table(path: str) -> dict[str, str]:
    """Lines of a key, white space and the rest."""
    result: dict[str, str] = {}
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                key, *rest = line.strip().split(maxsplit=1)
                if not rest or key in result:
                    raise CorpusError(f"{path}:{number}: {'comes twice' if rest else 'nothing after the key'}: {key}")
                result[key] = rest[0]
    except (UnicodeDecodeError, ValueError) as error:
        raise CorpusError(f"{path}: expected lines of a key and a value: {error}") from error
    except FileNotFoundError as error:
        raise CorpusError(f"{path}: does not exist, expected the layout of speechocean762") from error
    return result


def recordings(directory: str, split: str) -> list[Recording]:
    """In the order of their keys."""
    waves, texts, speakers = (table(os.path.join(directory, split, name)) for name in ("wav.scp", "text", "utt2spk"))
    for name, other in (("text", texts), ("utt2spk", speakers)):
        if waves.keys() != other.keys():
            key = min(waves.keys() ^ other.keys())
            raise CorpusError(f"{directory}/{split}: {key} is in only one of wav.scp and {name}")
    for path in waves.values():
        if os.path.isabs(path) or ".." in path.split("/"):
            raise CorpusError(f"{directory}/{split}/wav.scp: {path} leads out of the corpus")
    return [Recording(key, speakers[key], os.path.join(directory, waves[key]), texts[key]) for key in sorted(waves)]


def differences(directory: str) -> list[str]:
    """What is not as published; empty for the whole corpus."""
    result = []
    for split in SPLITS:
        found = recordings(directory, split)
        speakers = len({recording.speaker for recording in found})
        if (len(found), speakers) != (UTTERANCES, SPEAKERS):
            result.append(
                f"{directory}/{split}: {len(found):,} utterances of {speakers} speakers; "
                f"speechocean762 has {UTTERANCES:,} of {SPEAKERS}"
            )
    return result


def fetch(folder: str) -> str:
    """The folder of the corpus, downloaded and unpacked where it is not there. What was fetched of an interrupted download is kept.

    The publisher gives no checksum: what is checked is that the archive can be read to its end and holds all utterances."""
    directory = os.path.join(folder, "speechocean762")
    if not os.path.isdir(directory):
        archive = os.path.join(folder, "speechocean762.tar.gz")
        if not os.path.exists(archive):
            _download(archive)
        print(f"{archive}: SHA-256 {_sha256(archive)}", file=sys.stderr)
        unpacked = directory + ".partial"
        try:
            with tarfile.open(archive) as file:
                file.extractall(unpacked, filter="data")
        except (tarfile.TarError, EOFError, zlib.error) as error:
            raise CorpusError(f"{archive}: no archive that can be read to its end, delete it and try again: {error}") from error
        os.rename(os.path.join(unpacked, "speechocean762"), directory)
        shutil.rmtree(unpacked)
    faults = differences(directory)
    if faults:
        raise CorpusError("; ".join(faults))
    return directory


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(path: str) -> None:
    partial = path + ".partial"
    begin = os.path.getsize(partial) if os.path.exists(partial) else 0
    request = urllib.request.Request(URL, headers={"Range": f"bytes={begin}-"} if begin else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            resumed = answer.status == 206
            done = begin if resumed else 0
            total = done + int(answer.headers.get("Content-Length") or 0)
            with open(partial, "ab" if resumed else "wb") as file:
                while block := answer.read(1 << 20):
                    file.write(block)
                    done += len(block)
                    if done // (25 << 20) != (done - len(block)) // (25 << 20):
                        print(f"{URL}: {done >> 20} of {total >> 20} MiB", file=sys.stderr)
            if total and done < total:
                raise DownloadError(f"{URL}: ended after {done:,} of {total:,} bytes; call again to go on")
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        # Nothing is behind what is there: it was fetched to its end, and only its renaming is missing; or it is of another file.
        if begin and isinstance(error, urllib.error.HTTPError) and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            if error.headers.get("Content-Range") != f"bytes */{begin}":
                raise DownloadError(f"{partial}: {begin:,} bytes are no beginning of {URL}, delete it and try again") from error
            os.rename(partial, path)
            return
        reason = getattr(error, "reason", error)
        raise DownloadError(f"{URL}: {reason}; fetch it from {PAGE} elsewhere, unpack it, and name its folder") from error
    os.rename(partial, path)
