"""Which state of which phone is spoken when: forced alignment of a known text with pocketsphinx and the English model that it brings."""

from __future__ import annotations

import wave

import numpy as np
import pocketsphinx

RATE = 16000


class AlignmentError(Exception):
    """An utterance that cannot be aligned: the reason."""


def read_wave(path: str) -> np.ndarray:
    """Samples, int16. Throws AlignmentError for anything but one channel of 16 bits at 16 kHz."""
    try:
        with wave.open(path, "rb") as file:
            kind = file.getnchannels(), 8 * file.getsampwidth(), file.getframerate()
            if kind != (1, 16, RATE):
                raise AlignmentError(f"{kind[0]} channels, {kind[1]} bits, {kind[2]} Hz, expected 1, 16 and {RATE}")
            return np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    except (wave.Error, EOFError) as error:
        raise AlignmentError(f"no WAV file: {error}") from error


class Aligner:
    """The decoder carries state from one utterance to the next (the best Gaussians of the last frame): whoever wants results that depend on
    nothing else aligns each utterance in a fork of its own."""

    def __init__(self) -> None:
        # The mean is taken over the utterance: by default that of the utterances before it is used. Without `bestpath` the last
        # frames are not searched again in the lattice, which fails for a quarter of spontaneous speech.
        self._decoder = pocketsphinx.Decoder(lm=None, bestpath=False, cmn="batch", loglevel="FATAL")

    def align(self, samples: np.ndarray, text: str) -> list[list]:
        """[phone, state, senone, frames] in the order of time, frames of 10 ms; state is 0, 1 or 2, senone one of the model's tied states.

        Throws AlignmentError."""
        decoder, words = self._decoder, text.lower().split()
        unknown = [word for word in words if decoder.lookup_word(word) is None]
        if unknown:
            raise AlignmentError(f"not in the dictionary: {' '.join(unknown)}")
        try:
            # The first pass finds the words, the second their phones and states.
            decoder.set_align_text(" ".join(words))
            self._decode(samples)
            decoder.set_alignment()
            self._decode(samples)
            alignment = decoder.get_alignment()
        except RuntimeError as error:
            raise AlignmentError(f"pocketsphinx: {error}") from error
        states = []
        for word in alignment or ():
            for phone in word:
                states += [[phone.name, number, int(state.name), state.duration] for number, state in enumerate(phone)]
        found, frames = sum(state[3] for state in states), decoder.n_frames()
        # The last frame may be missing.
        if not states or abs(found - frames) > 1:
            raise AlignmentError(f"{found} of {frames} frames are aligned")
        return states

    def _decode(self, samples: np.ndarray) -> None:
        self._decoder.start_utt()
        self._decoder.process_raw(samples.tobytes(), full_utt=True)
        self._decoder.end_utt()
